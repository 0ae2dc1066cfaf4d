//! A dev cluster of our binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::Kubectl;

/// The binary under test: `CORACLE_BIN`, or the release build.
pub fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/x86_64-unknown-linux-gnu/release/coracle");
    std::env::var_os("CORACLE_BIN").map_or_else(built, PathBuf::from)
}

/// The archive of examples/python-web.
pub fn image() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images/python-web.tar");
    std::env::var_os("CORACLE_IMAGE").map_or_else(built, PathBuf::from)
}

/// Whether this process may make namespaces and mounts.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// A dev cluster by its name.
pub struct Cluster {
    pub name: String,
    pub kubeconfig: PathBuf,
    /// Whether it goes with this value.
    owned: bool,
}

impl Cluster {
    /// One that runs already, in the user's kubeconfig.
    pub fn existing(name: &str, kubeconfig: PathBuf) -> Self {
        Self { name: name.to_owned(), kubeconfig, owned: false }
    }

    /// Starts one for a test, with the application's image; it ends with this value, also when the test fails.
    pub fn start(name: &str) -> Result<Self> {
        let kubeconfig = std::env::temp_dir().join(format!("coracle-e2e-{name}.kubeconfig"));
        // What a killed run left.
        let _ = Command::new(binary()).args(["dev", "down", "--name", name]).output();
        let output = Command::new(binary())
            .args(["dev", "up", "--name", name, "--kubeconfig"])
            .arg(&kubeconfig)
            .arg("--import")
            .arg(image())
            .output()
            .with_context(|| format!("run {}", binary().display()))?;
        succeeded("dev up", &output)?;
        Ok(Self { name: name.to_owned(), kubeconfig, owned: true })
    }

    pub fn context(&self) -> String {
        format!("coracle-{}", self.name)
    }

    pub fn kubectl(&self, program: &[&str]) -> Kubectl {
        Kubectl::new(program, &self.kubeconfig, &self.context())
    }

    /// A command on a node.
    pub fn exec(&self, node: &str, command: &[&str]) -> Result<String> {
        let output =
            Command::new(binary()).args(["dev", "exec", "--name", &self.name, node, "--"]).args(command).output()?;
        succeeded(&format!("{command:?} on {node}"), &output)
    }

    /// A command on a machine outside the cluster.
    pub fn client(&self, command: &[&str]) -> Result<String> {
        let output =
            Command::new(binary()).args(["dev", "client", "--name", &self.name, "--"]).args(command).output()?;
        succeeded(&format!("{command:?} on the client"), &output)
    }

    pub fn dev(&self, verb: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(binary()).args(["dev", verb, "--name", &self.name]).args(arguments).output()?;
        succeeded(&format!("dev {verb} {arguments:?}"), &output)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned {
            if std::thread::panicking() {
                self.show_logs();
            }
            let ended = self.dev("down", &[]);
            if let Err(error) = ended {
                eprintln!("the cluster was not removed: {error:#}");
            }
        }
    }
}

impl Cluster {
    /// The ends of the nodes' logs, for a failed test.
    fn show_logs(&self) {
        let nodes = Path::new("/var/lib/coracle/dev").join(&self.name).join("nodes");
        for node in std::fs::read_dir(nodes).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(node.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            eprintln!("--- {}\n{}", node.file_name().to_string_lossy(), last.join("\n"));
        }
    }
}

pub fn succeeded(what: &str, output: &Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}\n{text}{errors}", output.status);
    Ok(text)
}
