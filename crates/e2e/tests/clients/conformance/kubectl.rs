//! Kubectl client: what upstream's tests ask of kubectl and the transcript of every version does not: its proxy, controllers, pods.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use e2e::{Kubectl, eventually};
use serde_json::Value;

use crate::bare::Bare;

const CONTROLLER: &str = "apiVersion: v1
kind: ReplicationController
metadata: {name: primary, labels: {app: store, role: primary}}
spec:
  replicas: 1
  selector: {app: store, role: primary}
  template:
    metadata: {labels: {app: store, role: primary}}
    spec: {containers: [{name: primary, image: 'example.org/store:1', ports: [{name: store, containerPort: 6379}]}]}
";

fn lines(kubectl: &Kubectl, line: &str, wanted: usize) -> Vec<String> {
    let ask = || {
        let printed: Vec<_> = kubectl.line(line)?.lines().map(str::to_owned).collect();
        Ok((printed.len() == wanted).then_some(printed))
    };
    eventually(line, ask).unwrap()
}

fn contains(kubectl: &Kubectl, line: &str, texts: &[&str]) {
    let printed = kubectl.line(line).unwrap();
    for text in texts {
        assert!(printed.contains(text), "kubectl {line} lacks {text:?}:\n{printed}");
    }
}

#[test]
fn kubectl_describes_exposes_annotates_and_scales_a_replication_controller() {
    let bare = Bare::start("conformance-kubectl-controller");
    let kubectl = bare.newest_kubectl();
    kubectl.with_input(&["create", "-f", "-"], CONTROLLER).unwrap();
    let pods = lines(&kubectl, "get pods -l app=store -o name", 1);
    let describe =
        ["Name:", "primary", "Controlled By:    ReplicationController/primary", "example.org/store:1", "Status:"];
    contains(&kubectl, &format!("describe {}", pods[0]), &describe);
    let describe = [
        "Selector:     app=store,role=primary",
        "Replicas:     1 current / 1 desired",
        "Pods Status:",
        "SuccessfulCreate",
    ];
    contains(&kubectl, "describe rc primary", &describe);
    contains(
        &kubectl,
        "describe service kubernetes",
        &["Labels:", "component=apiserver", "IP:", "Endpoints:", "Session Affinity:"],
    );
    contains(
        &kubectl,
        "describe namespace default",
        &["Name:         default", "Status:       Active", "No resource quota.", "No LimitRange resource."],
    );
    kubectl.line("expose rc primary --name=rm2 --port=1234 --target-port=6379").unwrap();
    kubectl.line("expose service rm2 --name=rm3 --port=2345 --target-port=6379").unwrap();
    contains(&kubectl, "get service rm3 -o jsonpath={.spec.ports[0].port}:{.spec.ports[0].targetPort}", &["2345:6379"]);
    kubectl.run(&["patch", &pods[0], "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#]).unwrap();
    contains(&kubectl, &format!("get {} -o jsonpath={{.metadata.annotations.x}}", pods[0]), &["y"]);
    labelled(&kubectl, &pods[0]);
    kubectl.line("scale rc primary --replicas=3").unwrap();
    lines(&kubectl, "get pods -l app=store -o name", 3);
    kubectl.line("scale rc primary --replicas=1 --current-replicas=3").unwrap();
    lines(&kubectl, "get pods -l app=store -o name", 1);
    kubectl.line("delete rc primary --grace-period=0 --force").unwrap();
    lines(&kubectl, "get pods -l app=store -o name", 0);
}

fn labelled(kubectl: &Kubectl, pod: &str) {
    kubectl.line(&format!("label {pod} testing-label=testing-label-value")).unwrap();
    contains(kubectl, &format!("get {pod} -L testing-label"), &["testing-label-value"]);
    kubectl.line(&format!("label {pod} testing-label-")).unwrap();
    let printed = kubectl.line(&format!("get {pod} -L testing-label")).unwrap();
    assert!(!printed.contains("testing-label-value"), "{printed}");
}

#[test]
fn kubectl_runs_replaces_and_tries_changes_of_a_pod() {
    let bare = Bare::start("conformance-kubectl-pod");
    let kubectl = bare.newest_kubectl();
    kubectl.line("run web --restart=Never --image=example.org/web:1 --labels=run=web").unwrap();
    contains(&kubectl, "get pod web -o jsonpath={.spec.restartPolicy}", &["Never"]);
    let mut pod: Value = serde_json::from_str(&kubectl.line("get pod web -o json").unwrap()).unwrap();
    pod["spec"]["containers"][0]["image"] = "example.org/web:2".into();
    kubectl.with_input(&["replace", "-f", "-"], &pod.to_string()).unwrap();
    let image = "get pod web -o jsonpath={.spec.containers[0].image}";
    contains(&kubectl, image, &["example.org/web:2"]);
    let patch = r#"{"spec":{"containers":[{"name":"web","image":"example.org/web:3"}]}}"#;
    kubectl.run(&["patch", "pod", "web", "-p", patch, "--dry-run=server"]).unwrap();
    contains(&kubectl, image, &["example.org/web:2"]);
}

#[test]
fn kubectl_proxies_on_a_port_of_its_choice_and_on_a_socket() {
    let bare = Bare::start("conformance-kubectl-proxy");
    let kubectl = bare.newest_kubectl();
    let mut proxy = kubectl.background(&["proxy", "--port=0", "--disable-filter"]).unwrap();
    let mut said = String::new();
    BufReader::new(proxy.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("Starting to serve on ").unwrap_or_else(|| panic!("{said}")).to_owned();
    let output = Command::new("curl").args(["-sS", &format!("http://{address}/api/")]).output().unwrap();
    versions(&String::from_utf8(output.stdout).unwrap());
    drop(proxy);
    let socket = bare.scratch.path().join("proxy.sock");
    let mut proxy = kubectl.background(&["proxy", &format!("--unix-socket={}", socket.display())]).unwrap();
    said.clear();
    BufReader::new(proxy.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    versions(&answer[answer.find('{').unwrap()..=answer.rfind('}').unwrap()]);
}

fn versions(text: &str) {
    let versions: Value = serde_json::from_str(text).unwrap();
    assert_eq!(versions["kind"], "APIVersions", "{text}");
    assert_eq!(versions["versions"], serde_json::json!(["v1"]));
}
