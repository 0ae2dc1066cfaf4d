//! `debug` and `cp`, as far as they go without a node: both print the same, and make the same pods.

use super::compare::{OURS, REAL, compare, ours, real_kubectl, release};
use super::server::Cluster;

const PODS: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"a": "b"}, "annotations": {"c": "d"}},
     "spec": {"serviceAccountName": "default", "initContainers": [{"name": "prepare", "image": "i"}], "containers": [
        {"name": "web", "image": "w", "args": ["x"], "livenessProbe": {"tcpSocket": {"port": 80}}},
        {"name": "side", "image": "s"}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"},
     "spec": {"securityContext": {"runAsUser": 1000}, "containers": [{"name": "c", "image": "i"}]}}]}"#;

const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "it-node"}}"#;

/// Run in order. `{custom}` and the like are files.
const LINES: &[&str] = &[
    "debug",
    "debug web",
    "debug nobody --image=busybox",
    "debug deploy/web --image=busybox",
    "debug web --image=Bad:Name:",
    "debug web --image=b --profile=best",
    "debug web --image=b --replace",
    "debug web --image=b --same-node",
    "debug web --image=b --set-image=a=b",
    "debug web --image=b --tty",
    "debug web --image=b --image-pull-policy=Perhaps",
    "debug web --image=b --copy-to=c --target=web",
    "debug web --copy-to=c",
    "debug web --copy-to=c -- sh",
    "debug web --attach --copy-to=c --set-image=a=b",
    "debug web --image=b --custom=/nonexistent",
    "debug web --image=b --custom={renamed}",
    "debug web --image=b -c one",
    "debug web --image=b -c two --target=web --env=A=b --image-pull-policy=Always -- sh -c ls",
    "debug web --image=b -c three --profile=restricted --arguments-only -q -- ls",
    "debug web --image=b -c four --profile=netadmin --custom={custom}",
    "debug web --image=b -c five --profile=sysadmin",
    "debug web --image=b -c six --profile=baseline",
    "debug web --image=b -c seven --profile=legacy",
    "debug web --image=b -c one",
    "debug web --image=b",
    "debug user --image=b -c one",
    "get pod web -o jsonpath={.spec.ephemeralContainers[0:7]}",
    "debug web --copy-to=copy-a --image=b -c extra",
    "get pod copy-a -o yaml",
    "debug web --copy-to=copy-b --image=b -c web --profile=restricted --keep-labels --keep-annotations -- sh",
    "get pod copy-b -o yaml",
    "debug web --copy-to=copy-c --set-image=*=other,side=more --keep-liveness --keep-init-containers=false",
    "get pod copy-c -o yaml",
    "debug web --copy-to=copy-d --image=b -c extra --share-processes=false --profile=sysadmin --custom={custom}",
    "get pod copy-d -o yaml",
    "debug web --copy-to=copy-d --image=b -c extra",
    "debug user --copy-to=copy-e --image=b -c extra --replace",
    "get pods -o name",
    "debug node/it-node --image=b",
    "debug node/it-node --image=b -c own --profile=sysadmin --env=A=b -- sh",
    "debug node/it-node --image=b -q -c quiet --profile=baseline",
    "debug node/nothing --image=b",
    "get pods -l app.kubernetes.io/managed-by=kubectl-debug -o yaml --sort-by={.spec.containers[0].name}",
    "cp a",
    "cp a b",
    "cp a:b c:d",
    "cp :a b",
    "cp a/b/c:d e",
    "cp a: b",
    "cp /nonexistent web:/x",
    "cp {custom} nobody:/x",
    "cp nobody:/x /nonexistent/y",
    "cp other/nobody:/x /nonexistent/y",
    "cp {custom} web:/x -c none",
    "cp web:/x /nonexistent/y -c none",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_debug_the_same() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls debug in another way");
        return;
    }
    let cluster = Cluster::start().await;
    let (pods, node) = (cluster.file("pods.json", PODS), cluster.file("node.json", NODE));
    let made = ours(&cluster, "default", &["create", "-f", &node]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    for namespace in [REAL, OURS] {
        for line in [
            vec!["create", "namespace", namespace],
            vec!["create", "serviceaccount", "default"],
            vec!["create", "-f", &pods],
        ] {
            let made = ours(&cluster, namespace, &line).await;
            assert_eq!(made.code, 0, "{}", made.err);
        }
    }
    let files = [
        ("{custom}", cluster.file("custom.yaml", "env: [{name: X, value: z}]\nsecurityContext: {runAsUser: 0}\n")),
        ("{renamed}", cluster.file("renamed.json", r#"{"name": "other"}"#)),
    ];
    let mut differences = Vec::new();
    for line in LINES {
        let line = files.iter().fold((*line).to_owned(), |line, (name, path)| line.replace(name, path));
        let words: Vec<&str> = line.split(' ').collect();
        differences.extend(compare(&kubectl, &cluster, &words).await.err());
    }
    cluster.stop().await;
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), LINES.len(), differences.join("\n"));
}
