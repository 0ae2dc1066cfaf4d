//! A server for one test, and the clients that may be there.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::server::{Scratch, Server};
use e2e::{Kubectl, eventually, kubectl};

/// A control plane without nodes, and the directory that goes with it.
pub struct Bare {
    pub server: Server,
    pub scratch: Scratch,
}

impl Bare {
    /// Ready, and with what its controllers make in the namespace `default`.
    pub fn start(what: &str) -> Self {
        let scratch = Scratch::new(what).unwrap();
        let server = Server::start(scratch.path()).unwrap();
        server.ready().unwrap();
        eventually("the service account", || server.kubectl("get serviceaccount default").map(Some)).unwrap();
        Self { server, scratch }
    }

    pub fn kubectl(&self, program: &Path) -> Kubectl {
        let context = self.server.kubectl("config current-context").unwrap();
        Kubectl::new(&[program.to_str().unwrap()], &self.server.kubeconfig, context.trim())
    }

    /// The newest kubectl, else our own.
    pub fn newest_kubectl(&self) -> Kubectl {
        let Some(program) = kubectl_of("1.36") else {
            let context = self.server.kubectl("config current-context").unwrap();
            let own = e2e::cluster::binary();
            return Kubectl::new(&[own.to_str().unwrap(), "kubectl"], &self.server.kubeconfig, context.trim());
        };
        self.kubectl(&program)
    }

    /// A program that finds this server by its environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.server.kubeconfig).current_dir(self.scratch.path());
        for home in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(home, self.scratch.path());
        }
        command
    }
}

/// Where `cargo xtask` puts clients.
fn tools() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from).join("tools")
}

/// A client by its name, with a loud word where there is none.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = tools().join(name);
    if path.exists() {
        return path.canonicalize().ok();
    }
    eprintln!("SKIPPED: no {}: `cargo xtask tools` fetches it", path.display());
    None
}

/// A kubectl of this minor version, with a loud word where there is none.
pub fn kubectl_of(version: &str) -> Option<PathBuf> {
    kubectl::of_version(version).or_else(|| tool(&format!("kubectl-{version}")))
}
