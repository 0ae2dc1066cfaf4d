//! Any kubectl.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::cluster::succeeded;

/// A kubectl of this minor version, if this machine has one: `KUBECTL_1_36` names one, others lie beside each other.
pub fn of_version(version: &str) -> Option<PathBuf> {
    const BESIDE: &str = "/usr/lib/google-cloud-sdk/bin";
    let named = std::env::var_os(format!("KUBECTL_{}", version.replace('.', "_"))).map(PathBuf::from);
    named.or_else(|| Some(Path::new(BESIDE).join(format!("kubectl.{version}")))).filter(|path| path.exists())
}

#[derive(Clone)]
pub struct Kubectl {
    program: Vec<String>,
    kubeconfig: PathBuf,
    context: String,
}

impl Kubectl {
    pub fn new(program: &[&str], kubeconfig: &Path, context: &str) -> Self {
        let program = program.iter().map(|&word| word.to_owned()).collect();
        Self { program, kubeconfig: kubeconfig.to_owned(), context: context.to_owned() }
    }

    pub fn name(&self) -> String {
        self.program.join(" ")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--context", &self.context]).args(arguments);
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().with_context(|| format!("run {}", self.name()))
    }

    /// What it prints; an error when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        succeeded(&format!("kubectl {}", arguments.join(" ")), &self.output(arguments)?)
    }

    /// The same for a command line written as a person types it.
    pub fn line(&self, line: &str) -> Result<String> {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("its input is piped")?.write_all(input.as_bytes())?;
        succeeded(&format!("kubectl {}", arguments.join(" ")), &child.wait_with_output()?)
    }

    /// One that goes on until it is dropped.
    pub fn background(&self, arguments: &[&str]) -> Result<Background> {
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        Ok(Background(child))
    }

    /// A JSONPath of objects, in words.
    pub fn words(&self, arguments: &str, path: &str) -> Result<Vec<String>> {
        let mut all: Vec<&str> = arguments.split_whitespace().collect();
        let output = format!("jsonpath={path}");
        all.extend(["-o", &output]);
        Ok(self.run(&all)?.split_whitespace().map(str::to_owned).collect())
    }
}

/// A kubectl that runs until this value is dropped.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
