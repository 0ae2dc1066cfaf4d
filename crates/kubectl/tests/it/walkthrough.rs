//! The walk-through's commands, and the ways in which they fail.

use super::compare::{OURS, REAL, Release, compare, ours, real_kubectl, release};
use super::server::Cluster;

const APPLICATION: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}], env: [{name: A, value: \"yes\"}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{port: 80, targetPort: 80}]
";

const CONFIG: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": {
    "a1": "yes", "a10": "a: b", "a9": "- x", "lines": "one\n two\n", "tab": "a\tb", "number": "0644", "empty": "",
    "long": "word word word word word word word word word word word word word word word word word word word word"}}"#;

/// Lines run in order. `{app}` and the like are files.
const LINES: &[&str] = &[
    "create deployment python-web-app --image=yanbin/python-web:latest",
    "create deployment python-web-app --image=yanbin/python-web:latest",
    "create deployment nothing",
    "create deployment dry --image=x --port=80 -r 2 --dry-run=client -o yaml -- sh -c ls",
    "scale deployment python-web-app --replicas=3",
    "scale deployment python-web-app --replicas=3 --current-replicas=7",
    "get deploy",
    "get deploy -o wide",
    "get deploy python-web-app -o yaml",
    "get deploy python-web-app -o json",
    "get deploy,svc,cm -o name",
    "get deploy -o jsonpath={.items[*].metadata.name}",
    "get deploy -o custom-columns=N:.metadata.name,I:.spec.template.spec.containers[*].image,X:.none",
    "get pods",
    "get pods missing",
    "get nonsense",
    "get",
    "get pods/a b",
    "get ns default kube-system --show-labels",
    "expose deployment python-web-app --name=python-web-svc --port 80 --target-port 80 --protocol TCP",
    "expose deployment python-web-app",
    "get svc",
    "describe svc python-web-svc",
    "describe deploy python-web-app",
    "describe pod missing",
    "apply -f {app}",
    "apply -f {app}",
    "apply -f {app4}",
    "get deploy app -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}",
    "apply -f {strict}",
    "apply -f {missing}",
    "create -f {config}",
    "create -f {config}",
    "get cm texts -o yaml",
    "get cm texts -o json",
    "describe cm texts",
    "label deploy app tier=front",
    "label deploy app tier=back",
    "label deploy app tier-",
    "patch deploy app -p {\"spec\":{\"replicas\":2}}",
    "rollout pause deploy/app",
    "rollout resume deploy/app",
    "get --nonsense",
    "delete -f {app4}",
    "delete deploy python-web-app --wait=false",
    "delete deploy python-web-app",
    "delete svc --all",
    "delete svc --all",
    "diff",
    "replace -f {app}",
    "create role r --verb=get,frob --resource=pods,deployments.apps,po/log --resource-name=a --dry-run=client -o yaml",
    "create clusterrole r --verb=get --non-resource-url=/x --resource=nodes --dry-run=client -o yaml",
    "create clusterrole r --aggregation-rule=a=b,c=d --dry-run=client -o yaml",
    "create rolebinding r --role=x --user=a --group=b --serviceaccount=d:s --dry-run=client -o yaml",
    "create rolebinding r --user=a",
    "create ingress i --rule=foo.com/bar=svc1:8080,tls=c --rule=/x*=s:http --class=c --dry-run=client -o yaml",
    "create ingress i --rule=foo",
    "create job j --image=i --dry-run=client -o yaml -- a b",
    "create job j",
    "create cronjob j --image=i --schedule=@daily --dry-run=client -o yaml",
    "create pdb p --selector=a=b --min-available=50% --dry-run=client -o yaml",
    "create priorityclass p --value=5 --description=d --dry-run=client -o yaml",
    "create quota q --hard=cpu=1,pods=2 --scopes=BestEffort --dry-run=client -o yaml",
    "create service nodeport s --tcp=80 --node-port=30123 --dry-run=client -o yaml",
    "create service clusterip s",
    "create service externalname s --external-name=bar.com --dry-run=client -o yaml",
    "create secret docker-registry d --docker-username=a --docker-password=b --dry-run=client -o yaml",
    "create token nosuch",
    "run x --image=i --env=A=b --port=80 --labels=a=b --dry-run=client -o yaml -- a b",
    "run x --image=i --command --expose --port=80 --restart=Never --dry-run=client -o yaml -- a b",
    "run x",
    "auth whoami",
    "auth can-i create pods",
    "auth can-i foo pods",
    "auth can-i get nodes --as joe",
    "auth can-i --list --as joe",
    "auth can-i get",
    "explain pods.spec --recursive",
    "explain pod.spec.containers.ports",
    "explain pods.foo",
    "explain nosuch",
];

/// Parts of commands whose layout changed, and the first minor version that prints today's: objects of a client's dry
/// run had a `creationTimestamp: null`.
const CHANGED: &[(&str, u32)] = &[("--dry-run=client -o yaml", 34), ("describe ", 36)];

/// Complaints about flags, which wrappers of kubectl word themselves.
const OF_FLAGS: &[&str] = &["create deployment nothing", "get --nonsense", "run x"];

pub fn is_of(release: Release, line: &str) -> bool {
    let laid_out = CHANGED.iter().all(|(part, since)| release.minor >= *since || !line.contains(part));
    laid_out && (release.plain || !OF_FLAGS.contains(&line))
}

fn files(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let more = APPLICATION.replace("replicas: 3", "replicas: 4").replace("image: nginx", "image: nginx:2");
    let strict = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nunknown: 1\n";
    vec![
        ("{app}", cluster.file("app.yaml", APPLICATION)),
        ("{app4}", cluster.file("app4.yml", &more)),
        ("{config}", cluster.file("config.json", CONFIG)),
        ("{strict}", cluster.file("strict.yaml", strict)),
        ("{missing}", "/nonexistent/file.yaml".into()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_print_the_same() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    let release = release(&kubectl).await.expect("a kubectl knows its version");
    let cluster = Cluster::start().await;
    for namespace in [REAL, OURS] {
        let made = ours(&cluster, "default", &["create", "namespace", namespace]).await;
        assert_eq!((made.out, made.code), (format!("namespace/{namespace} created\n"), 0), "{}", made.err);
    }
    let files = files(&cluster);
    let mut differences = Vec::new();
    for line in LINES {
        if !is_of(release, line) {
            eprintln!("SKIPPED: {release:?} words {line:?} in another way");
            continue;
        }
        let line = files.iter().fold((*line).to_owned(), |line, (name, path)| line.replace(name, path));
        let words: Vec<&str> = line.split(' ').collect();
        differences.extend(compare(&kubectl, &cluster, &words).await.err());
    }
    cluster.stop().await;
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), LINES.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_made_shown_and_deleted() {
    let cluster = Cluster::start().await;
    let made = ours(&cluster, "default", &["create", "deployment", "web", "--image=nginx", "--replicas=2"]).await;
    assert_eq!((made.out.as_str(), made.err.as_str(), made.code), ("deployment.apps/web created\n", "", 0));
    let shown = ours(&cluster, "default", &["get", "deploy", "-A", "--no-headers"]).await;
    assert!(shown.out.starts_with("default   web   0/2   0     0     "), "{}", shown.out);
    let deleted = ours(&cluster, "default", &["delete", "deploy/web", "--timeout=30s"]).await;
    assert_eq!(deleted.out, "deployment.apps \"web\" deleted from default namespace\n", "{}", deleted.err);
    let gone = ours(&cluster, "default", &["get", "deploy", "web"]).await;
    assert_eq!(
        (gone.err.as_str(), gone.code),
        ("Error from server (NotFound): deployments.apps \"web\" not found\n", 1)
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_with_the_creation() {
    let cluster = Cluster::start().await;
    let seen = ours(&cluster, "default", &["create", "configmap", "one", "--from-literal=a=b"]).await;
    assert_eq!(seen.code, 0, "{}", seen.err);
    let waiting = ours(&cluster, "default", &["wait", "--for=create", "configmap/two", "--timeout=30s"]);
    let making = async { ours(&cluster, "default", &["create", "configmap", "two"]).await };
    let (waited, made) = tokio::join!(waiting, making);
    assert_eq!((waited.out.as_str(), made.code), ("configmap/two condition met\n", 0), "{}", waited.err);
    cluster.stop().await;
}
