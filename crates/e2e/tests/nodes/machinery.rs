//! ResourceQuota, Garbage collector, Namespaces: with pods that run, end and take their time.

use anyhow::{Result, ensure};
use e2e::{PATIENCE, eventually};

use crate::Step;
use crate::user::{SLEEP, User};

pub const STEPS: &[Step] = &[
    ("ResourceQuota: the life of pods that run, and those that ended do not count", quota),
    ("Garbage collector: background, foreground and orphan, with pods that run", garbage),
    ("OrderedNamespaceDeletion: pods end before what they use", namespace),
];

fn quota(user: &User<'_>) -> Result<()> {
    user.kubectl.line("create quota few --hard=pods=2,requests.cpu=200m,count/configmaps=9")?;
    user.until("get quota few -o jsonpath={.status.used.pods}", "0")?;
    let run = |name: &str, cpu: &str, script: &str| {
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "c", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script], "resources": {"requests": {"cpu": cpu}},
            }]},
        });
        user.fed(&["create", "-f", "-"], &pod.to_string())
    };
    run("short", "100m", "exit 0")?.tells(&["pod/short created"])?;
    run("long", "100m", SLEEP)?.tells(&["pod/long created"])?;
    user.until("get pod short -o jsonpath={.status.phase}", "Succeeded")?;
    user.until(
        "get quota few -o jsonpath={.status.used}",
        r#"{"count/configmaps":"1","pods":"1","requests.cpu":"100m"}"#,
    )?;
    run("greedy", "150m", SLEEP)?.refuses(
        "exceeded quota: few, requested: requests.cpu=150m, used: requests.cpu=100m, limited: requests.cpu=200m",
    )?;
    run("second", "100m", SLEEP)?.tells(&["pod/second created"])?;
    run("third", "0", SLEEP)?.refuses("exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2")?;
    user.remove("pod short long second")?;
    user.until("get quota few -o jsonpath={.status.used.pods}", "0")?;
    user.remove("quota few")
}

fn deployment(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": [{
                "name": "c", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", "trap 'sleep 2; exit 0' TERM; sleep 100000 & wait"],
            }]},
        }},
    })
    .to_string()
}

fn garbage(user: &User<'_>) -> Result<()> {
    for how in ["background", "foreground", "orphan"] {
        user.apply(&deployment(how))?;
        user.kubectl.line(&format!("rollout status deployment/{how} --timeout=60s"))?;
        let pods = format!("get pods -l app={how} -o name");
        user.kubectl.line(&format!("delete deployment {how} --cascade={how} --wait=false"))?;
        match how {
            // The owner goes first, the pods when they have ended.
            "background" => {
                user.until("get deployment background --ignore-not-found -o name", "")?;
                ensure!(user.kubectl.line(&pods)?.lines().count() == 2, "the pods were not given their time");
            }
            "foreground" => {
                let blocked = user.kubectl.line("get deployment foreground -o jsonpath={.metadata.finalizers}")?;
                ensure!(blocked == r#"["foregroundDeletion"]"#, "{blocked}");
                eventually("the pods go before their owner", || {
                    let left = user.kubectl.line("get deployment foreground --ignore-not-found -o name")?;
                    let alive = user.kubectl.line(&pods)?;
                    ensure!(!left.is_empty() || alive.is_empty(), "the owner went first: {alive}");
                    Ok(left.is_empty().then_some(()))
                })?;
            }
            _ => {
                user.until("get deployment orphan --ignore-not-found -o name", "")?;
                let owners = "get replicasets -l app=orphan -o jsonpath={.items[*].metadata.ownerReferences}";
                user.until(owners, "")?;
                user.until(
                    "get pods -l app=orphan --no-headers -o custom-columns=P:.status.phase",
                    "Running\nRunning",
                )?;
                user.kubectl.line("delete replicasets -l app=orphan --now")?;
            }
        }
        user.until(&pods, "")?;
    }
    Ok(())
}

/// A pod that reads its ConfigMap's file to the end.
const LAST: &str = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: kept, namespace: ending}
  data: {word: still}
- apiVersion: v1
  kind: Pod
  metadata: {name: last, namespace: ending}
  spec:
    terminationGracePeriodSeconds: 20
    automountServiceAccountToken: false
    volumes: [{name: words, configMap: {name: kept}}]
    containers:
    - name: c
      image: yanbin/python-web:latest
      imagePullPolicy: IfNotPresent
      command: [sh, -c, \"trap 'sleep 3; exit 0' TERM; sleep 100000 & wait\"]
      volumeMounts: [{name: words, mountPath: /words}]
";

fn namespace(user: &User<'_>) -> Result<()> {
    let kubectl = &user.kubectl;
    kubectl.line("create namespace ending")?;
    eventually("the pod may be made", || {
        kubectl.with_input(&["apply", "--namespace=ending", "-f", "-"], LAST).map(Some)
    })?;
    kubectl.line("wait pod/last --namespace=ending --for=condition=Ready --timeout=60s")?;
    kubectl.line("delete namespace ending --wait=false")?;
    let began = std::time::Instant::now();
    let mut seen = false;
    loop {
        let pods = kubectl.line("get pods --namespace=ending -o name")?;
        let maps = kubectl.line("get configmap kept --namespace=ending --ignore-not-found -o name")?;
        // Asked for after the pods: it may only be gone if they were.
        if pods.is_empty() {
            break;
        }
        seen = true;
        let still = kubectl.line("get pods --namespace=ending -o name")?;
        ensure!(!maps.is_empty() || still.is_empty(), "the ConfigMap went before the pod");
        ensure!(began.elapsed() < PATIENCE, "the pod does not end");
    }
    ensure!(seen, "the pod was gone at once");
    user.until("get namespace ending --ignore-not-found -o name", "")
}
