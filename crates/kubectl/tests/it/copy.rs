//! `cp` into and out of a container: files arrive as they were, with either kubectl.

use std::fs;
use std::path::Path;

use super::compare::{Outcome, our_line, real_kubectl, real_line, release};
use super::refusals::{Running, Server};

/// Which kubectl copies.
#[derive(Clone, Copy)]
enum Which<'a> {
    Ours,
    Real(&'a Path),
}

impl Which<'_> {
    async fn run(self, server: &Running, line: &[&str]) -> Outcome {
        let mut words = vec!["--kubeconfig".to_owned(), server.kubeconfig.clone()];
        words.extend(line.iter().map(|word| (*word).to_owned()));
        match self {
            Which::Ours => our_line(words).await,
            Which::Real(kubectl) => real_line(kubectl, words).await,
        }
    }
}

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("sub/empty")).expect("made");
    fs::write(root.join("sub/file"), "content\n").expect("written");
    fs::write(root.join("large"), vec![7; 3 << 20]).expect("written");
    fs::write(root.join("x".repeat(180)), "long name").expect("written");
    std::os::unix::fs::symlink("sub/file", root.join("link")).expect("linked");
}

/// All beneath a directory, by name, with what it is and how large.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("readable").flatten() {
            let metadata = entry.path().symlink_metadata().expect("there");
            let name = entry.path().strip_prefix(root).expect("beneath").display().to_string();
            if metadata.is_dir() {
                found.push(format!("{name}/"));
                left.push(entry.path());
            } else {
                found.push(format!("{name} {} {}", metadata.is_symlink(), metadata.len()));
            }
        }
    }
    found.sort();
    found
}

/// Runs the copies with one kubectl. What it said, and what arrived, with its own directory called DIR.
async fn copies(which: Which<'_>) -> Vec<String> {
    let server = Server::running_commands().await;
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().display().to_string();
    make_tree(&directory.path().join("from"));
    fs::create_dir(directory.path().join("there")).expect("made");
    let mut told = Vec::new();
    for line in [
        "cp DIR/from p:DIR/new",
        "cp DIR/from p:DIR/there",
        "cp DIR/from/sub/file p:DIR/there/other",
        "cp DIR/from/sub/file default/p:DIR/there -c c --no-preserve",
        "cp p:DIR/from DIR/back",
        "cp p:DIR/from/sub/file DIR/one",
        "cp p:DIR/from/sub DIR/again --retries=3",
        "cp p:DIR/nothing DIR/none",
        "cp DIR/from p:DIR/no/such/place",
        "cp p:DIR/from DIR/one/below",
        "cp p:DIR/from DIR/x -c other",
    ] {
        let line = line.replace("DIR", &root);
        let words: Vec<&str> = line.split(' ').collect();
        let mut outcome = which.run(&server, &words).await;
        // The real one may still be sending when the container's tar has given up, and logs that.
        let said_of_itself = |line: &&str| !line.contains("\"Copying stdin failed\"");
        outcome.err = outcome.err.lines().filter(said_of_itself).map(|line| format!("{line}\n")).collect();
        // Either may be gone before it has repeated what the container's tar says by the way.
        let said = format!("{line}\n{outcome:?}").replace("tar: Removing leading `/' from member names\\n", "");
        told.push(said.replace(&root, "DIR").replace("kubectl-1.36", "kubectl"));
    }
    told.extend(tree(directory.path()));
    server.stop().await;
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_copied_both_ways() {
    let ours = copies(Which::Ours).await;
    let expected = [
        "new/sub/file false 8",
        "new/link true 8",
        "new/large false 3145728",
        "there/from/sub/empty/",
        "there/other false 8",
        "there/file false 8",
        "back/sub/empty/",
        "back/large false 3145728",
        "one false 8",
        "again/file false 8",
    ];
    for file in expected {
        assert!(ours.iter().any(|known| known == file), "{file} is missing in {ours:#?}");
    }
    assert!(!ours.iter().any(|known| known.starts_with("back/link")), "a link was followed");
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls say other things by the way");
        return;
    }
    let real = copies(Which::Real(&kubectl)).await;
    // The real one has often left before the container can say that there is nothing.
    let comparable = |all: &[String]| -> Vec<String> {
        all.iter().filter(|line| !line.starts_with("cp p:DIR/nothing")).cloned().collect()
    };
    for (ours, real) in comparable(&ours).iter().zip(&comparable(&real)) {
        assert_eq!(ours, real);
    }
    assert_eq!(ours.len(), real.len());
}
