//! Templates over one object: `annotate --local` needs no server, so that hundreds are compared in seconds.
//!
//! What depends on the order in which Go walks a map is left out, or compared without its order.

use futures::StreamExt;

use super::compare::{Outcome, our_line, real_kubectl, real_line, release};

const OBJECT: &str = include_str!("templates/object.yaml");
const GO: &str = include_str!("templates/go.txt");
const JSON_PATH: &str = include_str!("templates/jsonpath.txt");

/// So many programs run at once.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_apply_templates_alike() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls were made with another Go");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object.yaml");
    std::fs::write(&file, OBJECT).unwrap();
    let of = |format: &'static str, templates: &'static str| {
        let strict = templates.lines().filter(|template| template.contains("no")).map(|template| (template, false));
        let all = templates.lines().map(|template| (template, true)).chain(strict);
        all.map(move |(template, allow)| (format, template, allow))
    };
    let lines = of("go-template", GO).chain(of("jsonpath", JSON_PATH)).map(|(format, template, allow)| {
        let words = ["--kubeconfig", "/dev/null", "annotate", "--local", "none-", "-f"];
        let mut line: Vec<String> = words.map(str::to_owned).into();
        line.extend([file.display().to_string(), format!("-o={format}={template}")]);
        line.push(format!("--allow-missing-template-keys={allow}"));
        line
    });
    let compared = futures::stream::iter(lines.map(|line| {
        let kubectl = kubectl.clone();
        async move {
            let (theirs, own) = (real_line(&kubectl, line.clone()).await, our_line(line.clone()).await);
            let (theirs, own) = (settled(theirs, &line), settled(own, &line));
            (theirs != own).then(|| format!("{line:?}\n--- real: {theirs:#?}\n--- ours: {own:#?}"))
        }
    }));
    let differences: Vec<String> = compared.buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// A recursive descent goes through maps as Go happens to.
fn settled(mut outcome: Outcome, line: &[String]) -> Outcome {
    if line.iter().any(|word| word.starts_with("-o=jsonpath=") && word.contains("..")) {
        let mut words: Vec<&str> = outcome.out.split(' ').collect();
        words.sort_unstable();
        outcome.out = words.join(" ");
    }
    outcome
}
