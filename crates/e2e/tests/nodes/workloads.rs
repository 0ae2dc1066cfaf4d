//! Kubectl client: its applications, with pods that run.

use anyhow::{Result, ensure};
use e2e::eventually;

use crate::Step;
use crate::user::{IMAGE, PULL, User};

pub const STEPS: &[Step] = &[
    ("Guestbook: a front end finds a back end by its Service's name", guestbook),
    ("Update Demo: a replication controller is created, scaled and replaced", update_demo),
    ("Kubectl run pod, replace: another image in a pod that runs", run_and_replace),
    ("Kubectl describe: of a controller, its pod, the node, the namespace, a cron job", describe),
    ("Kubectl patch, label, expose: every pod of a controller", every_pod),
    ("Kubectl logs: filters", logs),
];

const STORE: &str = "
import http.server
notes = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith(\"/add/\"): notes.append(self.path[5:])
        self.send_response(200); self.end_headers(); self.wfile.write(\",\".join(notes).encode())
http.server.ThreadingHTTPServer((\"\", 6379), Handler).serve_forever()
";

const FRONT: &str = "
import http.server, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = urllib.request.urlopen(\"http://store:6379\" + self.path, timeout=10).read()
        self.send_response(200); self.end_headers(); self.wfile.write(b\"notes: \" + answer)
http.server.ThreadingHTTPServer((\"\", 80), Handler).serve_forever()
";

fn tier(name: &str, replicas: u32, port: u16, program: &str) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"tier": name}},
            "template": {"metadata": {"labels": {"tier": name}}, "spec": {"terminationGracePeriodSeconds": 1,
                "containers": [{"name": name, "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", program],
                    "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}}]}},
        }},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"tier": name}, "ports": [{"port": port}]}},
    ]})
    .to_string()
}

fn guestbook(user: &User<'_>) -> Result<()> {
    user.kubectl.with_input(&["create", "-f", "-"], &tier("store", 1, 6379, STORE))?;
    user.kubectl.with_input(&["create", "-f", "-"], &tier("front", 3, 80, FRONT))?;
    for name in ["store", "front"] {
        user.kubectl.line(&format!("rollout status deployment/{name} --timeout=60s"))?;
    }
    let proxy = format!("/api/v1/namespaces/{}/services/front:80/proxy", user.namespace);
    let ask = |path: &str| user.kubectl.run(&["get", "--raw", &format!("{proxy}{path}")]);
    eventually("the front end answers", || Ok((ask("/")? == "notes: ").then_some(())))?;
    ensure!(ask("/add/first")? == "notes: first", "the note is not kept");
    ensure!(ask("/")? == "notes: first", "another front end knows nothing of it");
    user.remove("deployment,service store front")
}

const CONTROLLER: &str = "apiVersion: v1
kind: ReplicationController
metadata: {name: demo}
spec:
  replicas: 2
  selector: {name: demo, version: nautilus}
  template:
    metadata: {labels: {name: demo, version: nautilus}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: demo, image: 'yanbin/python-web:latest', imagePullPolicy: IfNotPresent, ports: [{containerPort: 80}]}
";

const RUNNING: &str = "get pods -l name=demo --no-headers -o custom-columns=P:.status.phase";

fn update_demo(user: &User<'_>) -> Result<()> {
    user.kubectl.with_input(&["create", "-f", "-"], CONTROLLER)?;
    user.until(RUNNING, "Running\nRunning")?;
    user.kubectl.line("scale rc demo --replicas=1 --timeout=5m")?;
    user.until(RUNNING, "Running")?;
    user.kubectl.line("scale rc demo --replicas=2 --timeout=5m")?;
    user.until(RUNNING, "Running\nRunning")?;
    for pod in user.kubectl.words("get pods -l name=demo", "{.items[*].metadata.name}")? {
        let proxied = format!("/api/v1/namespaces/{}/pods/{pod}:80/proxy/", user.namespace);
        let answer = eventually(&proxied, || user.kubectl.run(&["get", "--raw", &proxied]).map(Some))?;
        ensure!(answer.starts_with(&format!("Served by {pod}/")), "{answer}");
    }
    user.kubectl.with_input(&["delete", "--grace-period=0", "--force", "-f", "-"], CONTROLLER)?;
    user.until("get rc,pods -l name=demo -o name", "")
}

fn run_and_replace(user: &User<'_>) -> Result<()> {
    user.kubectl.run(&["run", "web", IMAGE, PULL, "--labels=run=web"])?;
    user.until("get pod web -o jsonpath={.status.phase}", "Running")?;
    let before = user.kubectl.line("get pod web -o jsonpath={.status.containerStatuses[0].containerID}")?;
    let pod = user.kubectl.line("get pod web -o json")?;
    let other =
        pod.replace("\"image\": \"yanbin/python-web:latest\"", "\"image\": \"docker.io/yanbin/python-web:latest\"");
    ensure!(other != pod, "{pod}");
    user.kubectl.with_input(&["replace", "-f", "-"], &other)?;
    let image = "get pod web -o jsonpath={.spec.containers[0].image}";
    user.until(image, "docker.io/yanbin/python-web:latest")?;
    let id = "get pod web -o jsonpath={.status.containerStatuses[0].containerID}";
    eventually("the container is made anew", || {
        let now = user.kubectl.line(id)?;
        Ok((!now.is_empty() && now != before).then_some(()))
    })?;
    user.remove("pod web")
}

fn describe(user: &User<'_>) -> Result<()> {
    user.kubectl.with_input(&["create", "-f", "-"], CONTROLLER)?;
    user.until(RUNNING, "Running\nRunning")?;
    let pod = user.kubectl.words("get pods -l name=demo", "{.items[0].metadata.name}")?.remove(0);
    let node = user.kubectl.line(&format!("get pod {pod} -o jsonpath={{.spec.nodeName}}"))?;
    let tells = |line: &str, texts: &[&str]| user.says_line(line)?.tells(texts);
    let of_pod = [
        "Controlled By:  ReplicationController/demo",
        "Status:           Running",
        "Ready:          True",
        "Started    ",
    ];
    tells(&format!("describe pod {pod}"), &of_pod)?;
    tells("describe rc demo", &["Replicas:     2 current / 2 desired", "2 Running / 0 Waiting", "SuccessfulCreate"])?;
    let of_node = [
        "Conditions:",
        "MemoryPressure",
        "Ready            True",
        "Capacity:",
        "System Info:",
        &pod,
        "Allocated resources:",
    ];
    tells(&format!("describe node {node}"), &of_node)?;
    tells(&format!("describe namespace {}", user.namespace), &["Status:       Active", "No resource quota."])?;
    user.kubectl.run(&["create", "cronjob", "daily", IMAGE, "--schedule=@daily"])?;
    tells(
        "describe cronjob daily",
        &["Schedule:                      @daily", "Concurrency Policy:            Allow"],
    )?;
    user.remove("cronjob daily")
}

/// Of the controller of the step before.
fn every_pod(user: &User<'_>) -> Result<()> {
    user.kubectl.line("expose rc demo --name=demo --port=8080 --target-port=80")?;
    for pod in user.kubectl.words("get pods -l name=demo", "{.items[*].metadata.name}")? {
        user.kubectl.run(&["patch", "pod", &pod, "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#])?;
        user.kubectl.line(&format!("label pod {pod} seen=yes"))?;
    }
    user.until("get pods -l seen=yes -o jsonpath={.items[*].metadata.annotations.x}", "y y")?;
    let addresses = user.kubectl.words("get pods -l name=demo", "{.items[*].status.podIP}")?;
    let slices = "get endpointslices -l kubernetes.io/service-name=demo";
    eventually("the service has both", || {
        let mut found = user.kubectl.words(slices, "{.items[*].endpoints[*].addresses[0]}")?;
        let mut wanted = addresses.clone();
        found.sort();
        wanted.sort();
        Ok((found == wanted).then_some(()))
    })?;
    user.kubectl.line("delete service,rc demo --now")?;
    user.until("get pods -l name=demo -o name", "")
}

fn logs(user: &User<'_>) -> Result<()> {
    let script = "for i in 1 2 3; do echo line $i; done; sleep 100000";
    user.kubectl.run(&["run", "talks", IMAGE, PULL, "--command", "--", "sh", "-c", script])?;
    user.until("logs talks", "line 1\nline 2\nline 3")?;
    user.says_line("logs talks --tail=1")?.is(0, "line 3\n")?;
    user.says_line("logs talks talks --limit-bytes=1")?.is(0, "l")?;
    user.says_line("logs talks --since=24h")?.is(0, "line 1\nline 2\nline 3\n")?;
    user.says_line("logs talks --since-time=2999-01-01T00:00:00Z")?.is(0, "")?;
    let stamped = user.kubectl.line("logs talks --tail=1 --timestamps")?;
    ensure!(stamped.ends_with("Z line 3\n") && stamped.len() == 38, "{stamped:?}");
    user.remove("pod talks")
}
