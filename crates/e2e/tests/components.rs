//! Controllers and scheduler as programs of their own: they speak TLS to an API server that is elsewhere, and need nothing
//! else of it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "black-box tests run programs, and may panic")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::cluster::{binary, succeeded};
use e2e::eventually;
use e2e::server::{Scratch, Server};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

/// A program of the control plane, killed with this value.
struct Component(Child);

impl Component {
    fn start(name: &str, server: &Server, directory: &Path) -> Result<Self> {
        Self::start_with(name, &server.kubeconfig, directory, &[])
    }

    fn start_with(name: &str, kubeconfig: &Path, directory: &Path, flags: &[String]) -> Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(directory.join(name))?;
        let mut command = Command::new(binary());
        command.arg(name).arg("--kubeconfig").arg(kubeconfig).args(flags);
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

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "hollow"},
        "status": {
            "allocatable": {"cpu": "8", "memory": "8Gi", "pods": "20"}, "capacity": {"cpu": "8", "memory": "8Gi", "pods": "20"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn deployment() -> Value {
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
    let log = std::fs::read_to_string(own.path().join("controller-manager")).unwrap();
    for said in ["no certificates are signed", "there is no private key of service accounts"] {
        assert!(log.contains(said), "without keys it says {said:?}: {log}");
    }
    assert!(server.end().unwrap().success());
}

/// Everything but what was received and not yet answered.
const POLICY: &str =
    "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: Metadata}]}";

const ACCOUNTS: &str = "system:serviceaccount:kube-system:";

/// The requests recorded so far, of whoever is a controller.
fn recorded(log: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log).context("read the audit log")?;
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let of_controllers = |event: &Value| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        user.starts_with(ACCOUNTS) || user == "system:kube-controller-manager"
    };
    Ok(events.filter(of_controllers).collect())
}

fn is_write(event: &Value) -> bool {
    event["verb"]
        .as_str()
        .is_some_and(|verb| ["create", "update", "patch", "delete", "deletecollection"].contains(&verb))
}

/// `user verb resource`, for writes.
fn written(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = [text(&object["resource"]), text(&object["subresource"])].join("/");
    format!("{} {} {}", text(&event["user"]["username"]), text(&event["verb"]), resource.trim_end_matches('/'))
}

fn certificate_request() -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "jane");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "jane"},
        "spec": {
            "request": BASE64_STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    })
}

fn token_secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "kept", "annotations": {"kubernetes.io/service-account.name": "default"}},
    })
}

/// What the server answers to a token of a secret, as a status code.
fn answer_to(server: &Server, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let arguments = ["-ks", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, &server.url("/api")];
    succeeded("curl", &Command::new("curl").args(arguments).output().unwrap()).unwrap()
}

fn manager_with_keys(directory: &Path, own: &Path) -> Component {
    let server = directory.join("data/server");
    let file = |flag: &str, name: &str| format!("--{flag}={}", server.join("tls").join(name).display());
    let flags = [
        "--use-service-account-credentials".to_owned(),
        file("cluster-signing-cert-file", "ca.crt"),
        file("cluster-signing-key-file", "ca.key"),
        file("service-account-private-key-file", "sa.key"),
        file("root-ca-file", "ca.crt"),
    ];
    Component::start_with("controller-manager", &server.join("controller-manager.kubeconfig"), own, &flags).unwrap()
}

#[test]
fn each_controller_acts_as_a_service_account_of_its_own_and_signs_with_given_keys() {
    let (directory, own) = (Scratch::new("accounts").unwrap(), Scratch::new("accounts-own").unwrap());
    let (policy, log) = (own.path().join("policy.yaml"), own.path().join("audit.log"));
    std::fs::write(&policy, POLICY).unwrap();
    let audit = [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", log.display())];
    let flags = ["--disable=controllers,scheduler", &audit[0], &audit[1]];
    let server = Server::start_with(directory.path(), &flags).unwrap();
    server.ready().unwrap();
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some)).unwrap();
    let _manager = manager_with_keys(directory.path(), own.path());
    eventually("the service account", || server.kubectl("get serviceaccount default").map(Some)).unwrap();

    for object in [deployment(), certificate_request(), token_secret()] {
        server.create(&object).unwrap();
    }
    server.kubectl("certificate approve jane").unwrap();
    let filled = |what: &str, query: &str| {
        eventually(what, || Ok(Some(server.kubectl(query)?).filter(|text| !text.is_empty()))).unwrap()
    };
    filled("the certificate", "get csr jane -o jsonpath={.status.certificate}");
    let token = filled("the secret's token", "get secret kept -o jsonpath={.data.token}");
    let token = String::from_utf8(BASE64_STANDARD.decode(token).unwrap()).unwrap();
    assert_eq!([answer_to(&server, &token), answer_to(&server, "forged")], ["200", "401"]);
    filled("the pods", "get pods -l app=web -o jsonpath={.items[1].metadata.name}");
    server.kubectl("create namespace short").unwrap();
    server.kubectl("delete namespace short").unwrap();

    for wanted in [
        "deployment-controller create replicasets",
        "replicaset-controller create pods",
        "service-account-controller create serviceaccounts",
        "root-ca-cert-publisher create configmaps",
        "certificate-controller update certificatesigningrequests/status",
        "namespace-controller update namespaces/finalize",
    ] {
        let wanted = format!("{ACCOUNTS}{wanted}");
        eventually(&wanted, || {
            let events = recorded(&log)?;
            let seen = events.iter().any(|event| is_write(event) && written(event) == wanted);
            Ok(seen.then_some(()))
        })
        .unwrap();
    }
    let events = recorded(&log).unwrap();
    let is_forbidden = |event: &&Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
    let forbidden: Vec<_> = events.iter().filter(is_forbidden).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let own_writes = ["leases", "serviceaccounts", "serviceaccounts/token", "secrets", "events"];
    let by_manager = events.iter().filter(|event| is_write(event)).map(written);
    let by_manager: Vec<_> = by_manager.filter(|write| write.starts_with("system:kube-controller-manager ")).collect();
    assert!(
        by_manager.iter().all(|write| own_writes.iter().any(|own| write.ends_with(&format!(" {own}")))),
        "{by_manager:?}"
    );
    assert!(server.end().unwrap().success());
}

#[test]
fn a_controller_manager_refuses_keys_that_do_not_go_together() {
    let directory = Scratch::new("signing-keys").unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let cluster = json!({"name": "c", "cluster": {"server": "https://127.0.0.1:1"}});
    let context = json!({"name": "c", "context": {"cluster": "c", "user": "c"}});
    let user = json!({"name": "c", "user": {"token": "t"}});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [cluster], "contexts": [context], "users": [user],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let refused = |flags: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["controller-manager", "--kubeconfig"]).arg(&kubeconfig).args(flags);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let common = ["--cluster-signing-cert-file=ca.crt", "--cluster-signing-key-file=ca.key"];
    let serving = "--cluster-signing-kubelet-serving-cert-file=serving.crt";
    let both = refused(&[common[0], common[1], serving]);
    assert!(both.contains("cannot specify default and per controller certs at the same time"), "{both}");
    let half = refused(&[serving]);
    assert!(half.contains("failed to start kubernetes.io/kubelet-serving certificate controller"), "{half}");
    let absent = refused(&common);
    assert!(absent.contains("failed to start kubernetes.io/kube-apiserver-client certificate controller"), "{absent}");
}
