//! A control plane without nodes, for one test.

use std::path::PathBuf;
use std::sync::Arc;

use apiserver::{Config, Server, Storage};
use rt::TaskSet;

pub struct Cluster {
    pub kubeconfig: PathBuf,
    directory: tempfile::TempDir,
    tasks: TaskSet,
}

impl Cluster {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pki = Arc::new(auth::pki::Pki::open(&directory.path().join("pki")).expect("a PKI"));
        let config = Config {
            listeners: vec![Arc::new(std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port"))],
            storage: Storage::Memory,
            pki: Some(pki.clone()),
            ..Config::default()
        };
        let tasks = TaskSet::new();
        let server = Server::start(config, &tasks).await.expect("a server");
        let admin = pki.admin().expect("credentials");
        let endpoint = client::Endpoint {
            server: format!("https://{}", server.address().expect("an address")),
            ca_pem: pki.ca_pem().into(),
            identity: client::Identity::Certificate { cert_pem: admin.cert_pem.into(), key_pem: admin.key_pem.into() },
        };
        let kubeconfig = directory.path().join("kubeconfig");
        client::kubeconfig::Kubeconfig::single("it", &endpoint).write(&kubeconfig).expect("written");
        Self { kubeconfig, directory, tasks }
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    /// Where files of the test go.
    pub fn directory(&self) -> String {
        self.directory.path().display().to_string()
    }

    pub async fn stop(self) {
        self.tasks.shutdown().await;
    }
}
