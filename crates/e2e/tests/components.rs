//! Controllers and scheduler as programs of their own: they speak TLS to an API server that is elsewhere, and need nothing
//! else of it.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use e2e::cluster::binary;
use e2e::eventually;
use e2e::server::{Scratch, Server};
use serde_json::json;

/// A program of the control plane, killed with this value.
struct Component(Child);

impl Component {
    fn start(name: &str, server: &Server, directory: &Path) -> Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(directory.join(name))?;
        let mut command = Command::new(binary());
        command.arg(name).arg("--kubeconfig").arg(&server.kubeconfig);
        // An empty directory of its own: there is no store that it could open.
        command.current_dir(directory).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self(command.spawn().with_context(|| format!("start {name}"))?))
    }

    /// The regular files that it has open.
    fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.0.id()))? {
            // It may have been closed by now.
            let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
            files.push(target.display().to_string());
        }
        Ok(files)
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn node() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "hollow"},
        "status": {
            "allocatable": {"cpu": "8", "memory": "8Gi", "pods": "20"}, "capacity": {"cpu": "8", "memory": "8Gi", "pods": "20"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn deployment() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "busybox"}]},
            },
        },
    })
}

#[test]
fn controllers_and_scheduler_work_over_tls_and_open_no_store() {
    let directory = Scratch::new("components").unwrap();
    let server = Server::start_with(directory.path(), &["--disable=controllers,scheduler"]).unwrap();
    server.ready().unwrap();
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some)).unwrap();
    assert!(server.kubectl("get serviceaccount default").is_err(), "nobody makes it: no controller runs");

    let own = Scratch::new("components-own").unwrap();
    let controllers = Component::start("controller-manager", &server, own.path()).unwrap();
    eventually("the service account", || server.kubectl("get serviceaccount default").map(Some)).unwrap();
    server.create(&node()).unwrap();
    server.create(&deployment()).unwrap();
    let placed = "get pods -l app=web -o jsonpath={.items[*].spec.nodeName}";
    let pods = "get pods -l app=web -o jsonpath={.items[*].metadata.name}";
    let two = |text: String| (text.split_whitespace().count() == 2).then_some(text);
    eventually("two pods", || server.kubectl(pods).map(two)).unwrap();
    assert_eq!(server.kubectl(placed).unwrap(), "", "nobody places them: no scheduler runs");

    let second = Component::start("controller-manager", &server, own.path()).unwrap();
    let scheduler = Component::start("scheduler", &server, own.path()).unwrap();
    let nodes = eventually("two pods are placed", || server.kubectl(placed).map(two)).unwrap();
    assert_eq!(nodes, "hollow hollow");
    let leader = "get lease -n kube-system kube-controller-manager -o jsonpath={.spec.holderIdentity}";
    let first = server.kubectl(leader).unwrap();
    for component in [&controllers, &second, &scheduler] {
        let files = component.files().unwrap();
        assert!(!files.iter().any(|file| file.contains("state.db")), "{files:?}");
    }
    drop(controllers);
    let other = |text: String| (text != first).then_some(text);
    eventually("the second instance leads", || server.kubectl(leader).map(other)).unwrap();
    server.kubectl("delete deployment web").unwrap();
    let none = |text: String| text.is_empty().then_some(());
    let sets = "get replicasets -l app=web -o jsonpath={.items[*].metadata.name}";
    eventually("the second instance's garbage collector works", || server.kubectl(sets).map(none)).unwrap();
    drop((second, scheduler));
    assert!(server.end().unwrap().success());
}
