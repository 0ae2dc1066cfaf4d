//! Somebody with one kubectl and a namespace of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::terminal::Modes;
use e2e::{Cluster, Kubectl, Terminal, eventually};

use crate::Step;

pub const IMAGE: &str = "--image=yanbin/python-web:latest";
/// The image has no registry: it is there or nowhere.
pub const PULL: &str = "--image-pull-policy=IfNotPresent";

pub struct User<'a> {
    pub cluster: &'a Cluster,
    pub kubectl: Kubectl,
    pub namespace: String,
    program: PathBuf,
    words: Vec<String>,
}

/// What a command left.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl<'a> User<'a> {
    /// `words` stand before all others.
    pub fn new(cluster: &'a Cluster, namespace: &str, program: &Path, words: &[&str]) -> Self {
        let own = ["--namespace", namespace];
        let words: Vec<String> = words.iter().chain(&own).map(|&word| word.to_owned()).collect();
        let all: Vec<&str> = program.to_str().into_iter().chain(words.iter().map(String::as_str)).collect();
        let kubectl = cluster.kubectl(&all);
        kubectl.run(&["create", "namespace", namespace]).unwrap();
        eventually("the service account", || kubectl.line("get serviceaccount default").map(Some)).unwrap();
        Self { cluster, kubectl, namespace: namespace.to_owned(), program: program.to_owned(), words }
    }

    pub fn run_all(&self, steps: &[Step], failures: &mut Vec<String>) {
        let wanted = std::env::var("CORACLE_NODES").unwrap_or_default();
        for (what, step) in steps.iter().filter(|(what, _)| wanted.split(',').any(|text| what.contains(text))) {
            let began = std::time::Instant::now();
            match step(self) {
                Ok(()) => eprintln!("  \u{2713} {}: {what} ({:.1} s)", self.namespace, began.elapsed().as_secs_f32()),
                Err(error) => {
                    eprintln!("  \u{2717} {}: {what}\n    {error:#}", self.namespace);
                    failures.push(format!("{}: {what}: {error:#}", self.namespace));
                }
            }
        }
    }

    /// Everything of a command line but the program.
    fn line(&self, arguments: &[&str]) -> Vec<String> {
        let kubeconfig = self.cluster.kubeconfig.display().to_string();
        let context = self.cluster.context();
        let common = ["--kubeconfig", &kubeconfig, "--context", &context];
        let all = self.words.iter().map(String::as_str).chain(common).chain(arguments.iter().copied());
        all.map(str::to_owned).collect()
    }

    pub fn terminal(&self, arguments: &[&str]) -> Result<(Terminal, Modes)> {
        let line = self.line(arguments);
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        Terminal::start(&self.program, &words, (24, 80))
    }

    /// Runs to the end with this on its standard input.
    pub fn fed(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let mut command = Command::new(&self.program);
        command.args(self.line(arguments)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("its input is piped")?.write_all(input.as_bytes())?;
        Ok(said(&child.wait_with_output()?))
    }

    pub fn says(&self, arguments: &[&str]) -> Result<Said> {
        Ok(said(&self.kubectl.output(arguments)?))
    }

    /// Runs a command on a machine outside the cluster.
    pub fn on_client(&self, command: &[&str]) -> Result<Said> {
        let words = ["dev", "client", "--name", &self.cluster.name, "--"];
        Ok(said(&Command::new(e2e::cluster::binary()).args(words).args(command).output()?))
    }

    /// The same for a line without quotes.
    pub fn says_line(&self, line: &str) -> Result<Said> {
        self.says(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl.with_input(&["apply", "-f", "-"], manifest)
    }

    /// A pod that sleeps, ready.
    pub fn sleeper(&self, name: &str) -> Result<()> {
        self.kubectl.run(&["run", name, IMAGE, PULL, "--command", "--", "sh", "-c", SLEEP])?;
        self.kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]).map(drop)
    }

    /// Runs a script in a pod.
    pub fn shell(&self, pod: &str, script: &str) -> Result<String> {
        self.kubectl.run(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Until a line of kubectl prints this, but for white space around it.
    pub fn until(&self, line: &str, wanted: &str) -> Result<()> {
        let mut last = String::new();
        let found = eventually(line, || {
            last = self.kubectl.line(line)?;
            Ok((last.trim() == wanted).then_some(()))
        });
        found.with_context(|| format!("it says {last:?} rather than {wanted:?}"))
    }

    pub fn remove(&self, what: &str) -> Result<()> {
        self.kubectl.line(&format!("delete {what} --now")).map(drop)
    }
}

/// Ends when it is asked to.
pub const SLEEP: &str = "trap 'exit 0' TERM; echo started; sleep 100000 & wait";

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Said {
    pub fn is(&self, code: i32, out: &str) -> Result<()> {
        ensure!(self.code == Some(code) && self.out == out, "rather than {code} and {out:?}: {self:?}");
        Ok(())
    }

    pub fn refuses(&self, text: &str) -> Result<()> {
        ensure!(self.code != Some(0) && self.err.contains(text), "lacks {text:?}: {self:?}");
        Ok(())
    }

    pub fn tells(&self, texts: &[&str]) -> Result<()> {
        ensure!(self.code == Some(0), "{self:?}");
        for text in texts {
            ensure!(self.out.contains(text), "lacks {text:?}: {self:?}");
        }
        Ok(())
    }
}
