//! Measures the binary under test and prints a Markdown table: `cargo xtask bench`.
//!
//! Starts its own control plane and its own cluster, and ends them. Every load is bounded in count and time; a row whose tool is
//! missing says so. `--only TEXT` measures only the groups whose name has the text.
//!
//! How it measures: throughput with `wrk` over TLS with a service account's token, on the machine that serves (both share its
//! cores); a durable create is a 201 to a POST, which the server sends after its store has synced; a pod's start is the time from
//! before its POST until its phase is Running in a watch, both through `kubectl proxy`; memory is the proportional set size.
#![allow(clippy::disallowed_methods, reason = "black-box measurements run programs and wait for time to pass")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use e2e::cluster::{binary, succeeded};
use e2e::server::{Scratch, Server};
use e2e::{Cluster, Kubectl, eventually, processes};
use serde_json::{Value, json};

const NAME: &str = "e2e-bench";
const NODES: [&str; 3] = ["k8s-master", "k8s-node1", "k8s-node2"];
/// Of each load of a throughput.
const LOAD_SECONDS: u64 = 5;
const IDLE: Duration = Duration::from_secs(10);
const OBJECTS: u64 = 10_000;
const FILL_ROUNDS_MAX: u32 = 20;
const PODS_ONE_BY_ONE: usize = 30;
const PODS_AT_ONCE: usize = 100;
/// Clock ticks a second, in which the kernel counts a process's time for its readers: the same on every Linux.
const TICKS: f64 = 100.0;

#[derive(Parser)]
struct Arguments {
    /// Only the groups whose name has this text: binary, control-plane, idle, pods, dns, rules
    #[arg(long, default_value = "")]
    only: String,
    #[command(subcommand)]
    load: Option<Load>,
}

#[derive(Subcommand)]
enum Load {
    /// Ask over HTTP until standard input ends, and print what became of it
    #[command(hide = true)]
    HttpLoad { address: SocketAddr, at_least: u64, at_most: u64 },
    /// Ask a DNS server, and print the answers per second
    #[command(hide = true)]
    DnsLoad { server: SocketAddr, name: String },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.load {
        Some(Load::HttpLoad { address, at_least, at_most }) => e2e::load::http(address, at_least, at_most),
        Some(Load::DnsLoad { server, name }) => e2e::load::dns(server, &name, 8, Duration::from_secs(LOAD_SECONDS)),
        None => measure(&arguments.only),
    }
}

fn measure(only: &str) -> Result<()> {
    let id = succeeded("id", &Command::new("id").arg("-u").output()?)?;
    ensure!(id.trim() == "0", "a dev cluster needs root");
    let mut table = Table::begin()?;
    let wanted = |group: &str| group.contains(only);
    if wanted("binary") {
        table.row("binary size", &format!("{:.1} MB", fs::metadata(binary())?.len() as f64 / 1e6));
    }
    if wanted("control-plane") {
        table.group("control plane", control_plane);
    }
    if ["idle", "pods", "dns"].into_iter().any(wanted) {
        table.group("cluster", |table| on_cluster(table, &wanted));
    }
    if wanted("rules") {
        table.group("service rules", service_rules);
    }
    Ok(())
}

/// The rows, printed as they come.
struct Table;

impl Table {
    fn begin() -> Result<Self> {
        let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output()?;
        let commit = succeeded("git rev-parse", &commit).unwrap_or_else(|_| "unknown".to_owned());
        println!("Commit {}, `{}`.  ", commit.trim(), binary().file_name().unwrap_or_default().to_string_lossy());
        println!("{}.\n\n| what | measured |\n|---|---|", machine()?);
        Ok(Self)
    }

    fn row(&mut self, what: &str, measured: &str) {
        println!("| {what} | {measured} |");
    }

    /// Rows that stand or fall together: a group that fails says so and leaves the others.
    fn group(&mut self, name: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = measure(self) {
            eprintln!("FAILED: {name}: {error:#}");
            self.row(name, "failed");
        }
    }

    fn skip(&mut self, what: &str, why: &str) {
        eprintln!("SKIPPED: {what}: {why}");
        self.row(what, &format!("skipped: {why}"));
    }
}

fn machine() -> Result<String> {
    let value = |path: &str, name: &str| -> Result<String> {
        let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    let memory = value("/proc/meminfo", "MemTotal")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {cores}, {memory}, Linux {}", value("/proc/cpuinfo", "model name")?, kernel.trim()))
}

// ---- the control plane alone ----

fn control_plane(table: &mut Table) -> Result<()> {
    let directory = Scratch::new("bench")?;
    let (began, server) = (Instant::now(), Server::start(directory.path())?);
    server.ready()?;
    table.row("time to API ready, fresh", &milliseconds(began.elapsed()));
    server_idle(&server, table, "control plane alone")?;
    match wrk_token(&server) {
        Ok(token) => loaded(table, server, &token, directory.path()),
        Err(error) => {
            table.skip("GET, LIST, creates, restart", &format!("{error:#}"));
            server.end().map(drop)
        }
    }
}

fn loaded(table: &mut Table, server: Server, token: &str, directory: &Path) -> Result<()> {
    let script = directory.join("create.lua");
    fs::write(&script, CREATE)?;
    throughput(table, &server, token, &script)?;
    let count = fill(&server, token, &script)?;
    server.end()?;
    let (began, server) = (Instant::now(), Server::start(directory)?);
    server.ready()?;
    table.row(&format!("time to API ready, restarted with {count} objects"), &milliseconds(began.elapsed()));
    server.end().map(drop)
}

fn server_idle(server: &Server, table: &mut Table, what: &str) -> Result<()> {
    let find = || processes::all().remove(&server.pid()).context("the server ended");
    let began = find()?;
    std::thread::sleep(IDLE);
    let now = find()?;
    let memory = now.proportional_memory().context("read the server's memory")?;
    table.row(&format!("idle, {what}"), &usage(memory, now.ticks - began.ticks));
    Ok(())
}

/// A token that may do everything, since wrk presents no certificate.
fn wrk_token(server: &Server) -> Result<String> {
    ensure!(Command::new("wrk").arg("-v").output().is_ok(), "wrk is not on this machine");
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some))?;
    let kind = |kind: &str, version: &str, name: &str| json!({"kind": kind, "apiVersion": version, "metadata": {"name": name}});
    let mut account = kind("ServiceAccount", "v1", "bench");
    account["metadata"]["namespace"] = "default".into();
    server.create(&account)?;
    let mut binding = kind("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "bench");
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "bench", "namespace": "default"}]);
    server.create(&binding)?;
    let request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"audiences": [], "expirationSeconds": 3600}});
    let proxy = Proxy::start(&server.kubeconfig, None)?;
    let answer = proxy.post("/api/v1/namespaces/default/serviceaccounts/bench/token", &request)?;
    Ok(answer["status"]["token"].as_str().with_context(|| format!("no token in {answer}"))?.to_owned())
}

/// Makes objects until there are enough for the restart, and says how many there are.
fn fill(server: &Server, token: &str, script: &Path) -> Result<u64> {
    let proxy = Proxy::start(&server.kubeconfig, None)?;
    for _ in 0..FILL_ROUNDS_MAX {
        let list = proxy.get("/api/v1/namespaces/default/configmaps?limit=1")?;
        let count = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) + 1;
        if count >= OBJECTS {
            return Ok(count);
        }
        wrk(&server.url("/api/v1/namespaces/default/configmaps"), token, Some(script))?;
    }
    bail!("{FILL_ROUNDS_MAX} loads did not make {OBJECTS} objects")
}

fn throughput(table: &mut Table, server: &Server, token: &str, script: &Path) -> Result<()> {
    let config_map = |name: String| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "kube-public"}, "data": {"key": "value"}});
    eventually("the namespace kube-public", || server.kubectl("get namespace kube-public").map(Some))?;
    let items: Vec<_> = (0..100).map(|number| config_map(format!("item-{number}"))).collect();
    server.create(&json!({"kind": "List", "apiVersion": "v1", "items": items}))?;
    let path = "/api/v1/namespaces/kube-public/configmaps";
    table.row("GET of a ConfigMap, 32 connections", &wrk(&server.url(&format!("{path}/item-1")), token, None)?);
    table.row("LIST of 100 ConfigMaps, 32 connections", &wrk(&server.url(path), token, None)?);
    let creates = wrk(&server.url("/api/v1/namespaces/default/configmaps"), token, Some(script))?;
    table.row("durable creates of a ConfigMap, 32 connections", &creates);
    Ok(())
}

const CREATE: &str = r#"
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"generateName":"load-"},"data":{"key":"value"}}'
"#;

/// Requests per second, of which every one went well.
fn wrk(url: &str, token: &str, script: Option<&Path>) -> Result<String> {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-c32",
        &format!("-d{LOAD_SECONDS}s"),
        "--latency",
        "-H",
        &format!("Authorization: Bearer {token}"),
    ]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let text = succeeded("wrk", &command.arg(url).output()?)?;
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim).unwrap_or("?");
    ensure!(!text.contains("Non-2xx"), "requests to {url} failed:\n{text}");
    if text.contains("Socket errors") {
        eprintln!("note: {url}: {}", value("Socket errors:"));
    }
    Ok(format!("{} /s (p50 {}, p99 {})", value("Requests/sec:"), value("50%"), value("99%")))
}

// ---- a cluster ----

fn on_cluster(table: &mut Table, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start(NAME)?;
    table.row("`dev up` of three nodes until ready", &seconds(began.elapsed()));
    let own = binary();
    let kubectl = cluster.kubectl(&[own.to_str().context("the binary's path is text")?, "kubectl"]);
    served(table, &cluster, &kubectl, began)?;
    if wanted("idle") {
        table.group("idle", idle);
    }
    if wanted("dns") {
        table.group("DNS", |table| dns(table, &cluster));
    }
    if wanted("pods") {
        table.group("pods", |table| pods(table, &cluster));
    }
    Ok(())
}

fn served(table: &mut Table, cluster: &Cluster, kubectl: &Kubectl, began: Instant) -> Result<()> {
    let service =
        include_str!("../../../../examples/python-web/service.yaml").replace("spec:\n", "spec:\n  type: NodePort\n");
    let text = format!("{}---\n{service}", include_str!("../../../../examples/python-web/deployment.yaml"));
    let applied = Instant::now();
    kubectl.with_input(&["apply", "-f", "-"], &text)?;
    let port = kubectl.words("get svc python-web-svc", "{.spec.ports[0].nodePort}")?.pop().context("a node port")?;
    let url = format!("172.28.128.10:{port}");
    eventually(&url, || Ok(cluster.client(&["curl", "-sSf", "-m", "2", &url]).ok()))?;
    table.row("`kubectl apply` until the application answers from outside", &seconds(applied.elapsed()));
    table.row("`dev up` until the application answers from outside", &seconds(began.elapsed()));
    kubectl.with_input(&["delete", "-f", "-"], &text).map(drop)
}

/// What each kind of process uses while nobody asks for anything.
fn idle(table: &mut Table) -> Result<()> {
    let read = || -> Result<Vec<processes::Process>> {
        let all = NODES.iter().map(|node| processes::of_node(NAME, node)).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().flatten().collect())
    };
    let before: BTreeMap<u32, u64> = read()?.iter().map(|process| (process.pid, process.ticks)).collect();
    std::thread::sleep(IDLE);
    let mut kinds: BTreeMap<String, (u32, u64, u64)> = BTreeMap::new();
    for process in read()? {
        let (Some(role), Some(ticks), Some(memory)) =
            (process.role(), before.get(&process.pid), process.proportional_memory())
        else {
            continue;
        };
        let kind = kinds.entry(role.to_owned()).or_default();
        *kind = (kind.0 + 1, kind.1 + memory, kind.2 + process.ticks - ticks);
    }
    for (kind, (count, memory, ticks)) in kinds {
        table.row(
            &format!("idle, each of {count} `{kind}`"),
            &usage(memory / u64::from(count), ticks / u64::from(count)),
        );
    }
    Ok(())
}

fn usage(memory: u64, ticks: u64) -> String {
    let share = ticks as f64 / TICKS / IDLE.as_secs_f64() * 100.0;
    format!("{:.1} MB, {share:.1} % of a core", memory as f64 / 1e6)
}

fn dns(table: &mut Table, cluster: &Cluster) -> Result<()> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("the benchmark's path is text")?;
    let name = "kubernetes.default.svc.cluster.local";
    let rate = cluster.exec("k8s-node1", &[own, "dns-load", "10.96.0.10:53", name])?;
    table.row("DNS through the ClusterIP, 8 at a time", &format!("{} /s", rate.trim()));
    Ok(())
}

// ---- pods ----

fn pods(table: &mut Table, cluster: &Cluster) -> Result<()> {
    let proxy = Proxy::start(&cluster.kubeconfig, Some(&cluster.context()))?;
    let running = proxy.watch_running()?;
    let mut times = Vec::new();
    for number in 0..PODS_ONE_BY_ONE {
        let name = format!("one-{number}");
        let began = Instant::now();
        proxy.post("/api/v1/namespaces/default/pods", &pod(&name))?;
        times.push(running_at(&running, &name)? - began);
        proxy.delete(&format!("/api/v1/namespaces/default/pods/{name}"))?;
    }
    table.row(&format!("pod create→Running, one at a time, {PODS_ONE_BY_ONE} pods"), &percentiles(&mut times));
    let began = Instant::now();
    let created = (0..PODS_AT_ONCE).map(|number| {
        let now = Instant::now();
        let name = format!("many-{number}");
        proxy.post("/api/v1/namespaces/default/pods", &pod(&name)).map(|_| (name, now))
    });
    let mut created: BTreeMap<String, Instant> = created.collect::<Result<_>>()?;
    let mut times = Vec::new();
    while !created.is_empty() {
        let (name, at) = running
            .recv_timeout(Duration::from_secs(60))
            .with_context(|| format!("{} pods do not run", created.len()))?;
        times.extend(created.remove(&name).map(|began| at - began));
    }
    let all = began.elapsed();
    let row = format!("{}, all after {}", percentiles(&mut times), seconds(all));
    table.row(&format!("pod create→Running, {PODS_AT_ONCE} at once"), &row);
    Ok(())
}

fn running_at(running: &Receiver<(String, Instant)>, name: &str) -> Result<Instant> {
    loop {
        let (seen, at) =
            running.recv_timeout(Duration::from_secs(60)).with_context(|| format!("{name} does not run"))?;
        if seen == name {
            return Ok(at);
        }
    }
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "it", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sleep", "600"]}],
    }})
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    format!("p50 {}, p99 {}", milliseconds(at(50)), milliseconds(at(99)))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A `kubectl proxy`: the API as plain HTTP on the loopback.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(kubeconfig: &Path, context: Option<&str>) -> Result<Self> {
        let mut command = Command::new(binary());
        command.arg("kubectl").arg("--kubeconfig").arg(kubeconfig);
        command.args(context.into_iter().flat_map(|context| ["--context", context]));
        let mut child =
            command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().context("start kubectl proxy")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("its output is piped")?).read_line(&mut line)?;
        let address = line.split_whitespace().last().and_then(|word| word.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = (child.kill(), child.wait());
                bail!("kubectl proxy says {line:?}")
            }
        }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let length = body.len();
        // HTTP/1.0: the answer ends with the connection and comes in one piece.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes())?;
        Ok(stream)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut answer = String::new();
        self.send(method, path, body)?.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
        let good = head.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2'));
        ensure!(good, "{method} {path}: {answer}");
        serde_json::from_str(body).with_context(|| format!("{method} {path}"))
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.ask("POST", path, &object.to_string())
    }

    fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", path, "")
    }

    /// Each pod when it is first seen Running. The queue holds more than are ever made.
    fn watch_running(&self) -> Result<Receiver<(String, Instant)>> {
        let stream = self.send("GET", "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=600", "")?;
        stream.set_read_timeout(None)?;
        let (sender, receiver) = sync_channel(2 * (PODS_ONE_BY_ONE + PODS_AT_ONCE));
        std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let now = Instant::now();
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let object = &event["object"];
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if object["status"]["phase"] == "Running"
                    && seen.insert(name.clone())
                    && sender.send((name, now)).is_err()
                {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the service proxy ----

fn service_rules(table: &mut Table) -> Result<()> {
    let Some(load) = std::env::var_os("CORACLE_SERVICE_LOAD") else {
        table.skip("service rules", "CORACLE_SERVICE_LOAD names no program; `cargo xtask bench` builds it");
        return Ok(());
    };
    for services in ["1000", "5000"] {
        let text = succeeded("the load of services", &Command::new(&load).args([services, "2"]).output()?)?;
        text.lines().for_each(|line| table.row(&format!("rules of {services} services"), line));
    }
    Ok(())
}
