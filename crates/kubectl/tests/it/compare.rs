//! Runs a command line with both, and compares.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use super::server::Cluster;

/// The namespaces in which the two work.
pub const REAL: &str = "side-real";
pub const OURS: &str = "side-ours";

/// What a command left.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub out: String,
    pub err: String,
    pub code: i32,
}

#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no writer panics").clone()).expect("text")
    }
}

/// `{ns}` in a line is the namespace, and the name of what has none.
fn arguments(cluster: &Cluster, namespace: &str, line: &[&str]) -> Vec<String> {
    let kubeconfig = cluster.kubeconfig.display().to_string();
    let mut all = vec!["--kubeconfig".to_owned(), kubeconfig, "--namespace".to_owned(), namespace.to_owned()];
    all.extend(line.iter().map(|word| word.replace("{ns}", namespace)));
    all
}

/// Ours, in this process.
pub async fn ours(cluster: &Cluster, namespace: &str, line: &[&str]) -> Outcome {
    ours_with(cluster, namespace, line, "false").await
}

/// Ours, with an editor.
pub async fn ours_with(cluster: &Cluster, namespace: &str, line: &[&str], editor: &str) -> Outcome {
    let variables = [("KUBE_EDITOR".to_owned(), editor.to_owned()), ("TMPDIR".to_owned(), cluster.directory())];
    run_ours(arguments(cluster, namespace, line), variables.into_iter().collect()).await
}

/// Ours, on a line as it is.
pub async fn our_line(line: Vec<String>) -> Outcome {
    run_ours(line, Variables::new()).await
}

type Variables = std::collections::BTreeMap<String, String>;

async fn run_ours(line: Vec<String>, variables: Variables) -> Outcome {
    let (out, err) = (Sink::default(), Sink::default());
    let streams = kubectl::Streams::new(out.clone(), err.clone()).with_variables(variables);
    let code = kubectl::run(line, streams).await;
    Outcome { out: out.text(), err: err.text(), code: code.into() }
}

/// The real one: what `KUBECTL` names, or one from the path.
pub fn real_kubectl() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECTL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.into_iter().chain(std::env::split_paths(&path).map(|directory| directory.join("kubectl")));
    found.into_iter().find(|path| path.is_file())
}

/// Which kubectl it is.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    pub minor: u32,
    /// Upstream's own, not wrapped in something else.
    pub plain: bool,
}

pub async fn release(kubectl: &Path) -> Option<Release> {
    let line = ["version", "--client", "-o", "json"];
    let output = tokio::process::Command::new(kubectl).args(line).output().await.ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let client = &version["clientVersion"];
    let minor = client["minor"].as_str()?.trim_end_matches('+').parse().ok()?;
    Some(Release { minor, plain: !client["gitVersion"].as_str()?.contains('-') })
}

async fn real(kubectl: &Path, cluster: &Cluster, namespace: &str, line: &[&str], editor: &str) -> Outcome {
    let mut command = tokio::process::Command::new(kubectl);
    command.env("KUBE_EDITOR", editor).env("TMPDIR", cluster.directory());
    run_real(command, arguments(cluster, namespace, line)).await
}

/// The real one, on a line as it is.
pub async fn real_line(kubectl: &Path, line: Vec<String>) -> Outcome {
    run_real(tokio::process::Command::new(kubectl), line).await
}

async fn run_real(mut command: tokio::process::Command, line: Vec<String>) -> Outcome {
    let child = command.args(line).env_remove("KUBECONFIG").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = child.await.expect("kubectl runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Outcome { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap_or(-1) }
}

/// Both on their own namespaces; the names, and what is never twice the same, are made equal.
pub async fn compare(kubectl: &Path, cluster: &Cluster, line: &[&str]) -> Result<(), String> {
    compare_with(kubectl, cluster, line, "false").await
}

/// With a program that edits what an editor gets.
pub async fn compare_with(kubectl: &Path, cluster: &Cluster, line: &[&str], editor: &str) -> Result<(), String> {
    let theirs = ending(real(kubectl, cluster, REAL, line, editor)).await.ok_or("the real one does not end")?;
    let own = ending(ours_with(cluster, OURS, line, editor)).await.ok_or("ours does not end")?;
    let (theirs, own) = (settled(theirs, REAL), settled(own, OURS));
    if theirs == own {
        return Ok(());
    }
    Err(format!("kubectl {}\n--- real: {theirs:#?}\n--- ours: {own:#?}", line.join(" ")))
}

/// No line waits for anything: one that takes so long never ends, and the others shall be compared all the same.
async fn ending(outcome: impl Future<Output = Outcome>) -> Option<Outcome> {
    tokio::time::timeout(std::time::Duration::from_secs(60), outcome).await.ok()
}

fn settled(outcome: Outcome, namespace: &str) -> Outcome {
    let settle = |text: &str| {
        let replaced = VARYING.iter().fold(text.replace(namespace, "NS"), |text, (expression, with)| {
            regex::Regex::new(expression).expect("a fixed expression").replace_all(&text, *with).into_owned()
        });
        // Columns are as wide as what was replaced.
        regex::Regex::new("(?m) +(AGE|NS)?$").expect("a fixed expression").replace_all(&replaced, " $1").into_owned()
    };
    Outcome { out: settle(&outcome.out), err: settle(&outcome.err), code: outcome.code }
}

const VARYING: &[(&str, &str)] = &[
    // The real one says the name of its own file.
    (r"kubectl-1\.[0-9]+ ", "kubectl "),
    (r"debugger-((?:[a-z]+-)*)[b-z2-9]{5}\b", "debugger-${1}LETTERS"),
    ("kube-api-access-[b-z2-9]{5}", "kube-api-access-LETTERS"),
    (r#"[^ "]*/kubectl(-1\.[0-9]+)?-edit-[0-9]+"#, "EDITED"),
    (r#"(resourceVersion\\?":\\?")[0-9]+"#, "${1}RV"),
    ("lastUpdateTime: .*", "lastUpdateTime: TIME"),
    ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r#"resourceVersion"?: ?"?[0-9]+"?"#, "resourceVersion: RV"),
    ("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "TIME"),
    ("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [-+][0-9]{4}", "DATE"),
    (r"10\.(9[6-9]|1[01][0-9])\.[0-9]+\.[0-9]+ *", "IP "),
    ("CLUSTER-IP +", "CLUSTER-IP "),
    ("'kubectl[0-9.]+ ", "'kubectl "),
    (r"\b3[0-2][0-9]{3}/", "NODEPORT/"),
    ("nodePort: [0-9]+", "nodePort: NODEPORT"),
    ("(?m) [0-9]+s$", " AGE"),
    // With columns behind it.
    (" +[0-9]+s +", " AGE "),
    // Younger and older kubectls differ in what they say of a deletion.
    (r#"" deleted from NS namespace"#, "\" deleted"),
];
