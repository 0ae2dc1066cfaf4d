//! A worker as any kubelet is one: it joins with a bootstrap token and the certificates API, and its own server asks the API server
//! who may call it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use e2e::processes;
use serde_json::{Value, json};

use crate::Step;
use crate::user::User;

pub const STEPS: &[Step] = &[
    ("a node's own server lets in whom the API server knows and allows", who_may_call),
    ("a worker joins with a bootstrap token and signed requests, and comes back without asking again", bootstrap),
];

const NODE: &str = "k8s-node2";
const TOKEN: &str = "abcdef.0123456789abcdef";
const ROLES: &str = "
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: abcdef
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: 'true'
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: joining-ask}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:node-bootstrapper'}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:bootstrappers'}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: joining-approve}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:certificates.k8s.io:certificatesigningrequests:nodeclient'}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:bootstrappers'}]
";

fn address(user: &User<'_>, node: &str) -> Result<String> {
    user.kubectl.line(&format!("get node {node} -o jsonpath={{.status.addresses[0].address}}"))
}

/// What the server of a node answers to the bearer of a token.
fn ask(user: &User<'_>, token: Option<&str>, path: &str) -> Result<crate::user::Said> {
    let server = format!("--server=https://{}:10250", address(user, "k8s-node1")?);
    let mut words = vec!["coracle", "kubectl", "--kubeconfig=/dev/null", &server, "--insecure-skip-tls-verify"];
    let given = token.map(|token| format!("--token={token}"));
    words.extend(given.as_deref());
    words.extend(["get", "--raw", path]);
    user.on_client(&words)
}

fn who_may_call(user: &User<'_>) -> Result<()> {
    let account = format!("{}:reader", user.namespace);
    user.kubectl.line("create serviceaccount reader")?;
    user.kubectl.line("create clusterrole metrics-reader --verb=get --resource=nodes/metrics,nodes/stats")?;
    let token = user.kubectl.line("create token reader")?;
    ask(user, Some(&token), "/metrics/resource")?.refuses("orbidden")?;
    user.kubectl.line(&format!(
        "create clusterrolebinding metrics-reader --clusterrole=metrics-reader --serviceaccount={account}"
    ))?;
    // A refusal is remembered for half a minute; another account has none.
    user.kubectl.line("create serviceaccount other")?;
    user.kubectl.line(&format!(
        "create clusterrolebinding other --clusterrole=metrics-reader --serviceaccount={}:other",
        user.namespace
    ))?;
    let other = user.kubectl.line("create token other")?;
    let told = ask(user, Some(&other), "/metrics/resource")?;
    ensure!(told.code == Some(0) && told.out.contains("container_cpu_usage_seconds_total"), "{told:?}");
    ask(user, Some(&other), "/pods")?.refuses("orbidden")?;
    ask(user, Some("nonsense"), "/metrics/resource")?.refuses("nauthorized")?;
    ask(user, None, "/metrics/resource")?.refuses("nauthorized")
}

/// The file with what a node is started with.
fn spec_file(user: &User<'_>) -> PathBuf {
    directory(user).join("spec.json")
}

fn directory(user: &User<'_>) -> PathBuf {
    PathBuf::from("/var/lib/coracle/dev").join(&user.cluster.name).join("nodes").join(NODE)
}

/// Turns the flags of Coracle's own join into a kubelet's, and leaves nothing of the join.
fn join_as_kubelets_do(user: &User<'_>) -> Result<()> {
    let mut spec: Value = serde_json::from_slice(&std::fs::read(spec_file(user))?)?;
    let words: Vec<String> = serde_json::from_value(spec["arguments"].clone())?;
    let server = words.iter().find_map(|word| word.strip_prefix("--server=")).context("the worker has a server")?;
    let ca = user.kubectl.line("get configmap kube-root-ca.crt -n kube-system -o jsonpath={.data.ca\\.crt}")?;
    let data = directory(user).join("data");
    std::fs::write(data.join("ca.crt"), ca)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "c", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(data.join("bootstrap.kubeconfig"), config.to_string())?;
    let kept = words.iter().filter(|word| !word.starts_with("--server=") && !word.starts_with("--token="));
    let own = [
        "--bootstrap-kubeconfig=/var/lib/coracle/bootstrap.kubeconfig",
        "--kubeconfig=/var/lib/coracle/kubelet.kubeconfig",
        "--rotate-server-certificates",
    ];
    spec["arguments"] = kept.cloned().chain(own.map(str::to_owned)).collect();
    std::fs::write(spec_file(user), spec.to_string())?;
    Ok(std::fs::remove_dir_all(data.join("agent"))?)
}

/// Names of requests to a signer, by what is said of them.
fn requests(user: &User<'_>, signer: &str) -> Result<Vec<String>> {
    let path = format!("{{range .items[?(@.spec.signerName==\"kubernetes.io/{signer}\")]}}{{.metadata.name}} {{end}}");
    user.kubectl.words("get csr", &path)
}

fn bootstrap(user: &User<'_>) -> Result<()> {
    user.kubectl.with_input(&["apply", "-n", "kube-system", "-f", "-"], ROLES)?;
    user.cluster.dev("stop", &[NODE])?;
    join_as_kubelets_do(user)?;
    user.cluster.dev("start", &[NODE])?;
    let asked =
        eventually("the node asks for a certificate to serve with", || Ok(requests(user, "kubelet-serving")?.pop()))?;
    let asker = user.kubectl.line(&format!("get csr {asked} -o jsonpath={{.spec.username}}"))?;
    ensure!(asker == format!("system:node:{NODE}"), "{asker} asks");
    ensure!(requests(user, "kube-apiserver-client-kubelet")?.len() == 1, "one request of the bootstrap token's owner");
    user.kubectl.line(&format!("certificate approve {asked}"))?;
    user.kubectl.run(&["wait", &format!("node/{NODE}"), "--for=condition=Ready", "--timeout=60s"])?;
    runs_a_pod(user, "joined")?;

    let agent = processes::with_role(&user.cluster.name, NODE, "agent")?.pop().context("an agent runs")?;
    processes::kill(&agent)?;
    runs_a_pod(user, "again")?;
    for (signer, count) in [("kube-apiserver-client-kubelet", 1), ("kubelet-serving", 1)] {
        let found = requests(user, signer)?;
        ensure!(found.len() == count, "it asked {signer} again: {found:?}");
    }
    Ok(())
}

/// A pod on the node is run, and reached through the node's server.
fn runs_a_pod(user: &User<'_>, name: &str) -> Result<()> {
    crate::agents::pod_on(user, NODE, name)?;
    let pod = format!("{name}-{NODE}");
    // The certificate may be signed a moment after its approval.
    eventually("the node's server is trusted", || user.shell(&pod, "true").map(Some))?;
    let log = user.kubectl.line(&format!("logs {pod}"))?;
    ensure!(log == "started\n", "{log:?}");
    user.remove(&format!("pod {pod}"))
}
