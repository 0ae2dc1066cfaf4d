//! A bare control plane: `coracle server --disable-agent`.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{binary, succeeded};
use crate::eventually;

/// A directory for one run, gone with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("coracle-{what}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// It listens on the loopback, and is killed with this value.
pub struct Server {
    child: Child,
    port: u16,
    pub kubeconfig: PathBuf,
    log: PathBuf,
}

impl Server {
    /// What it keeps is below `directory`; a second one in the same directory goes on from there.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::start_with(directory, &[])
    }

    /// The same with more flags.
    pub fn start_with(directory: &Path, flags: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (kubeconfig, log) = (directory.join("kubeconfig"), directory.join("log"));
        let output = fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(binary());
        command.args(["server", "--disable-agent", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
        command.arg("--config=/dev/null").args(flags);
        command
            .args([format!("--https-listen-port={port}"), format!("--data-dir={}", directory.join("data").display())]);
        command.args([format!("--run-dir={}", directory.join("run").display())]);
        command.arg(format!("--write-kubeconfig={}", kubeconfig.display()));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self { child: command.spawn().context("start the server")?, port, kubeconfig, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    pub fn ready(&self) -> Result<()> {
        let url = self.url("/readyz");
        eventually("the API is ready", || {
            let output = Command::new("curl").args(["-ksf", "-m", "2", &url]).output()?;
            Ok(output.status.success().then_some(()))
        })
    }

    pub fn kubectl(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new(binary());
        command.arg("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(arguments.split_whitespace());
        succeeded(arguments, &command.output()?)
    }

    /// Its administrator, on a connection of its own.
    pub fn client(&self) -> Result<client::Client> {
        // It is written once the server listens.
        let read = || Ok(client::kubeconfig::Kubeconfig::read(&self.kubeconfig).ok());
        let config = eventually("the server's kubeconfig", read)?;
        let directory = self.kubeconfig.parent().context("a file has a directory")?;
        let transport = client::HttpsTransport::new(config.endpoint(None, directory)?)?;
        Ok(client::Client::new(std::sync::Arc::new(transport), "bench"))
    }

    pub fn create(&self, object: &Value) -> Result<()> {
        let mut command = Command::new(binary());
        command.arg("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(["create", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("its input is piped")?.write_all(object.to_string().as_bytes())?;
        succeeded("kubectl create", &child.wait_with_output()?).map(drop)
    }

    /// Asks it to end as a service manager does, and says how it did.
    pub fn end(mut self) -> Result<ExitStatus> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "end the server");
        let ended = eventually("the server ends", || self.child.try_wait().context("wait for the server's end"));
        ended.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
