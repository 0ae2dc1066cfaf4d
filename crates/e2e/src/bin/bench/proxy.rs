//! A `kubectl proxy`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::binary;
use serde_json::Value;

use crate::cluster::PODS_MAX;

/// A `kubectl proxy`: the API as plain HTTP on the loopback.
pub struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    pub fn start(kubeconfig: &Path, context: Option<&str>) -> Result<Self> {
        let mut command = Command::new(binary());
        command.arg("kubectl").arg("--kubeconfig").arg(kubeconfig);
        command.args(context.into_iter().flat_map(|context| ["--context", context]));
        let mut child =
            command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().context("start kubectl proxy")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("its output is piped")?).read_line(&mut line)?;
        let address = line.split_whitespace().last().and_then(|word| word.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = (child.kill(), child.wait());
                bail!("kubectl proxy says {line:?}")
            }
        }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let length = body.len();
        // HTTP/1.0: the answer ends with the connection and comes in one piece.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes())?;
        Ok(stream)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut answer = String::new();
        self.send(method, path, body)?.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
        let good = head.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2'));
        ensure!(good, "{method} {path}: {answer}");
        serde_json::from_str(body).with_context(|| format!("{method} {path}"))
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, "")
    }

    pub fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.ask("POST", path, &object.to_string())
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", path, "")
    }

    /// Each pod when it is first seen Running. The queue holds more than are ever made.
    pub fn watch_running(&self) -> Result<Receiver<(String, Instant)>> {
        let stream = self.send("GET", "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=600", "")?;
        stream.set_read_timeout(None)?;
        let (sender, receiver) = sync_channel(2 * PODS_MAX);
        std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let now = Instant::now();
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let object = &event["object"];
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if object["status"]["phase"] == "Running"
                    && seen.insert(name.clone())
                    && sender.send((name, now)).is_err()
                {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
