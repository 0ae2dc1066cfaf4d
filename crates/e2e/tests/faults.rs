//! What goes wrong on a cluster, done on purpose: what people run on it must not notice, or must find help.
//!
//! One cluster for all; each fault leaves it whole. `CORACLE_FAULT=text,text` runs only the faults whose name has one of the texts.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::succeeded;
use e2e::load::Tally;
use e2e::{Cluster, Kubectl, cluster, eventually, kubectl, processes};
use serde_json::Value;

const NAME: &str = "e2e-faults";
const NODES: [&str; 3] = ["k8s-master", "k8s-node1", "k8s-node2"];
const NODE1: &str = "172.28.128.10";
/// Of every load: a bound, not a goal.
const REQUESTS_MAX: u64 = 50_000;

#[test]
fn what_runs_on_a_cluster_survives_its_faults() {
    if !cluster::is_root() {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    let before = Traces::of_machine();
    let cluster = Cluster::start(NAME).unwrap();
    let own = cluster::binary();
    let program = match kubectl::of_version("1.36") {
        Some(real) => vec![real],
        None => vec![own, "kubectl".into()],
    };
    let program: Vec<_> = program.iter().filter_map(|word| word.to_str()).collect();
    let faults = Faults { kubectl: cluster.kubectl(&program), cluster: &cluster };
    let mut failures = faults.run_all();
    let namespaces = Traces::namespaces_of_cluster().unwrap();
    let down = succeeded("dev down", &dev(&["down", "--name", NAME]).unwrap());
    // It is gone: there is nothing left for its value to end.
    std::mem::forget(cluster);
    let left = down.and_then(|_| Traces::nothing_left(&before, &namespaces));
    report("`dev down` leaves no process, mount, namespace, cgroup, rule or file", left, &mut failures);
    assert!(failures.is_empty(), "{} faults were noticed:\n{}", failures.len(), failures.join("\n"));
}

fn report(what: &str, outcome: Result<()>, failures: &mut Vec<String>) {
    match outcome {
        Ok(()) => eprintln!("  \u{2713} {what}"),
        Err(error) => {
            eprintln!("  \u{2717} {what}\n    {error:#}");
            failures.push(format!("{what}: {error:#}"));
        }
    }
}

fn dev(arguments: &[&str]) -> Result<Output> {
    Command::new(cluster::binary()).arg("dev").args(arguments).output().context("run coracle dev")
}

struct Faults<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
}

impl<'c> Faults<'c> {
    fn run_all(&self) -> Vec<String> {
        type Fault<'c> = fn(&Faults<'c>) -> Result<()>;
        let faults: [(&str, Fault<'c>); 14] = [
            ("a second `dev up` of the same name is refused, and harms nothing", Self::second_up),
            ("an image that does not exist is named in the pod's status", Self::missing_image),
            ("a container that crashes is restarted with pauses", Self::crashing_container),
            ("a selector that does not match its template is refused", Self::wrong_selector),
            ("a node port that is taken is refused", Self::taken_node_port),
            ("an unknown field is refused", Self::unknown_field),
            ("the application is served", Self::deploy),
            ("SIGKILL of the server: no event lost, nothing restarted", Self::server_dies),
            ("SIGKILL of an agent: its containers run on, and are managed again", Self::agent_dies),
            ("SIGKILL of the network agent: traffic goes on", Self::network_agent_dies),
            ("the service rules are removed: they come back", Self::rules_removed),
            ("a rolling update under load: no failed request", Self::rolling_update),
            ("a worker is cut off: pods are replaced, the Service and its address stay", Self::worker_lost),
            ("the lost worker comes back", Self::worker_back),
        ];
        let wanted = std::env::var("CORACLE_FAULT").unwrap_or_default();
        let mut failures = Vec::new();
        for (what, fault) in faults {
            if wanted.split(',').any(|text| what.contains(text)) || what == "the application is served" {
                report(what, fault(self), &mut failures);
            }
        }
        failures
    }
}

/// Bad input.
impl Faults<'_> {
    fn second_up(&self) -> Result<()> {
        let output = dev(&["up", "--name", NAME])?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && errors.contains("exists already"), "{output:?}");
        self.kubectl.line("get --raw /readyz").map(drop)
    }

    fn missing_image(&self) -> Result<()> {
        // Nothing listens there: no packet leaves the node.
        self.kubectl.line("run lost --image=127.0.0.1:9/lost:v1")?;
        self.waits_with("lost", "ImagePullBackOff")?;
        let events = self.kubectl.line("get events --field-selector involvedObject.name=lost -o yaml")?;
        ensure!(events.contains("127.0.0.1:9/lost:v1") && events.contains("reason: Failed"), "{events}");
        self.kubectl.line("delete pod lost").map(drop)
    }

    fn crashing_container(&self) -> Result<()> {
        let image =
            "run crash --image=yanbin/python-web:latest --image-pull-policy=IfNotPresent --command -- /bin/sh -c";
        let words: Vec<_> = image.split_whitespace().chain(["exit 3"]).collect();
        self.kubectl.run(&words)?;
        self.waits_with("crash", "CrashLoopBackOff")?;
        let path =
            "{.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].restartCount}";
        let seen = self.kubectl.words("get pod crash", path)?;
        ensure!(seen[0] == "3" && seen[1] != "0", "exit code and restarts: {seen:?}");
        self.kubectl.line("delete pod crash").map(drop)
    }

    fn waits_with(&self, pod: &str, reason: &str) -> Result<()> {
        let path = format!("--for=jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}");
        self.kubectl.run(&["wait", &format!("pod/{pod}"), &path, "--timeout=90s"]).map(drop)
    }

    fn wrong_selector(&self) -> Result<()> {
        let text = DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: other}");
        self.is_refused(
            &text,
            &["is invalid", "spec.template.metadata.labels", "`selector` does not match template `labels`"],
        )
    }

    fn taken_node_port(&self) -> Result<()> {
        self.apply(&service("first", 30123))?;
        let refused = self.is_refused(
            &service("second", 30123),
            &["is invalid", "spec.ports[0].nodePort", "provided port is already allocated"],
        );
        self.kubectl.line("delete svc first")?;
        refused
    }

    fn unknown_field(&self) -> Result<()> {
        let text = DEPLOYMENT.replace("replicas: 3", "replica: 3");
        self.is_refused(&text, &["strict decoding error", "unknown field \"spec.replica\""])
    }

    fn is_refused(&self, manifest: &str, because: &[&str]) -> Result<()> {
        let Err(error) = self.kubectl.with_input(&["create", "-f", "-"], manifest) else { bail!("it was accepted") };
        let text = error.to_string();
        for part in because {
            ensure!(text.contains(part), "{part:?} is missing in {text}");
        }
        Ok(())
    }
}

/// Faults of the cluster's own programs.
impl Faults<'_> {
    fn deploy(&self) -> Result<()> {
        self.apply(&format!("{DEPLOYMENT}---\n{SERVICE}---\n{PROBER}"))?;
        self.rolled_out()?;
        self.kubectl.line("wait pod/prober --for=condition=Ready --timeout=60s")?;
        let address: SocketAddr = format!("{NODE1}:{}", self.node_port()?).parse()?;
        // The rules follow the endpoints in no time, but after them.
        eventually("the first answer", || Ok(self.cluster.client(&["curl", "-sSf", &address.to_string()]).ok()))?;
        Load::start(address, 100)?.finish()?.none_failed(100)
    }

    fn server_dies(&self) -> Result<()> {
        let before = self.containers()?;
        let inside = self.identities()?;
        let text = self.kubectl.line("get --raw /api/v1/namespaces/default/configmaps?limit=1")?;
        let list: Value = serde_json::from_str(&text)?;
        let revision = list["metadata"]["resourceVersion"].as_str().context("a list has a revision")?.to_owned();
        let watched = {
            let (kubectl, revision) = (self.kubectl.clone(), revision.clone());
            std::thread::spawn(move || follow(&kubectl, &revision))
        };
        let server = self.only_process("k8s-master", "server")?;
        for number in 0..MARKS {
            if number == MARKS / 3 {
                processes::kill(&server)?;
            }
            self.mark(number)?;
        }
        let expected: Vec<_> = (0..MARKS).map(mark_name).collect();
        let seen = watched.join().map_err(|_| anyhow::anyhow!("the watch panicked"))??;
        ensure!(seen == expected, "a watch across the fault saw {seen:?}");
        let again = follow(&self.kubectl, &revision)?;
        ensure!(again == expected, "a watch from before the fault saw {again:?}");
        ensure!(self.only_process("k8s-master", "server")?.began != server.began, "the server is a new process");
        self.all_ready()?;
        self.manages("k8s-master")?;
        self.same(&before, &inside)?;
        self.kubectl.line("delete configmap -l fault=server").map(drop)
    }

    /// Makes a config map, however often that takes.
    fn mark(&self, number: u32) -> Result<()> {
        let name = mark_name(number);
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default, labels: {{fault: server}}}}\n"
        );
        eventually(&name, || match self.kubectl.with_input(&["create", "--validate=false", "-f", "-"], &text) {
            Err(error) if !error.to_string().contains("AlreadyExists") => Err(error),
            _ => Ok(Some(())),
        })
    }

    fn agent_dies(&self) -> Result<()> {
        let (before, inside) = (self.containers()?, self.identities()?);
        let load = self.load()?;
        let agent = self.only_process("k8s-node1", "agent")?;
        processes::kill(&agent)?;
        eventually(
            "a new agent",
            || Ok((self.only_process("k8s-node1", "agent")?.began != agent.began).then_some(())),
        )?;
        self.manages("k8s-node1")?;
        self.same(&before, &inside)?;
        load.finish()?.none_failed(200)?;
        self.kubectl.line("cordon k8s-node2")?;
        let replaced = self.replace_pod_on("k8s-node1");
        self.kubectl.line("uncordon k8s-node2")?;
        replaced
    }

    fn replace_pod_on(&self, node: &str) -> Result<()> {
        let pods = self.pods_on(node)?;
        self.kubectl.line(&format!("delete pod {}", pods[0]))?;
        self.rolled_out()?;
        let now = self.pods_on(node)?;
        ensure!(now.len() == pods.len() && !now.contains(&pods[0]), "{pods:?} became {now:?}");
        Ok(())
    }

    fn network_agent_dies(&self) -> Result<()> {
        let pod = self.network_agent("k8s-node1")?;
        let restarts = || {
            self.kubectl.words(&format!("get pod {pod} -n kube-system"), "{.status.containerStatuses[0].restartCount}")
        };
        let before: u32 = restarts()?[0].parse()?;
        let load = self.load()?;
        processes::kill(&self.only_process("k8s-node1", "network-agent")?)?;
        eventually("it is restarted", || Ok((restarts()? == [(before + 1).to_string()]).then_some(())))?;
        self.kubectl.line(&format!("wait pod/{pod} -n kube-system --for=condition=Ready --timeout=60s"))?;
        load.finish()?.none_failed(200)
    }

    fn rules_removed(&self) -> Result<()> {
        let load = self.load()?;
        let began = Instant::now();
        self.cluster.exec("k8s-node1", &["nft", "delete", "table", "ip", "coracle-services"])?;
        eventually("the rules are restored", || {
            Ok(self.cluster.exec("k8s-node1", &["nft", "list", "table", "ip", "coracle-services"]).ok())
        })?;
        let restored = began.elapsed();
        let tally = load.finish()?;
        eprintln!(
            "    restored after {} ms at most, {} requests failed meanwhile, the longest gap was {} ms",
            restored.as_millis(),
            tally.failed,
            tally.longest_gap_ms
        );
        let agent = self.network_agent("k8s-node1")?;
        eventually("the log says so", || {
            let log = self.kubectl.line(&format!("logs {agent} -n kube-system --tail=30"))?;
            Ok(log.contains("restoring").then_some(()))
        })?;
        self.load()?.finish()?.none_failed(200)
    }

    fn rolling_update(&self) -> Result<()> {
        let outside = Load::start(self.entrance()?, 1000)?;
        let address = self.service("{.spec.clusterIP}")?;
        let script = PROBE.replace("ADDRESS", &address);
        let mut inside = self.kubectl.background(&["exec", "prober", "--", "/bin/sh", "-c", &script])?;
        let before = self.pods()?;
        self.kubectl.line("rollout restart deployment web")?;
        self.rolled_out()?;
        eventually("the old pods are gone", || Ok(self.pods()?.is_disjoint(&before).then_some(())))?;
        self.kubectl.line("exec prober -- touch /stop")?;
        let mut text = String::new();
        std::io::Read::read_to_string(inside.0.stdout.as_mut().context("its output is piped")?, &mut text)?;
        self.kubectl.line("exec prober -- rm /stop")?;
        outside.finish()?.none_failed(1000).context("NodePort, from outside")?;
        let counts: Vec<u64> = text.split_whitespace().take(2).filter_map(|word| word.parse().ok()).collect();
        ensure!(
            counts.len() == 2 && counts[0] >= 1000 && counts[1] == 0,
            "ClusterIP, from a pod: asked, failed = {text}"
        );
        eprintln!("    {} requests from a pod, none failed", counts[0]);
        Ok(())
    }
}

/// A worker is lost.
impl Faults<'_> {
    fn worker_lost(&self) -> Result<()> {
        let (address, worker) = self.address_on_worker()?;
        let worker = worker.as_str();
        eprintln!("    {worker} announces {address}, and is cut off");
        let began = Instant::now();
        self.cluster.dev("stop", &[worker])?;
        self.kubectl.line(&format!("wait node/{worker} --for=condition=Ready=Unknown --timeout=120s"))?;
        eprintln!("    noticed after {:.0} s", began.elapsed().as_secs_f64());
        within(60, "its endpoints are out of the Service", || {
            let slices = "get endpointslices -l kubernetes.io/service-name=web";
            let path = format!("{{.items[*].endpoints[?(@.nodeName==\"{worker}\")].conditions.ready}}");
            Ok((!self.kubectl.words(slices, &path)?.iter().any(|ready| ready == "true")).then_some(()))
        })?;
        within(90, "its pods are replaced", || {
            let ready = self.kubectl.words("get deploy web", "{.status.readyReplicas} {.status.availableReplicas}")?;
            Ok((ready == ["3", "3"]).then_some(()))
        })?;
        eprintln!("    replaced after {:.0} s", began.elapsed().as_secs_f64());
        within(30, "the address answers", || Ok(self.cluster.client(&["curl", "-sSf", "-m", "2", &address]).ok()))?;
        ensure!(self.holder(&address)? != worker, "the address is still announced by {worker}");
        Load::start(format!("{address}:80").parse()?, 200)?.finish()?.none_failed(200).context("the address")?;
        let other = if worker == "k8s-node1" { "172.28.128.11" } else { NODE1 };
        let port = format!("{other}:{}", self.node_port()?).parse()?;
        Load::start(port, 200)?.finish()?.none_failed(200).context("the node port")
    }

    fn worker_back(&self) -> Result<()> {
        for node in ["k8s-node1", "k8s-node2"] {
            let status = self.cluster.dev("status", &[])?;
            let line = status.lines().find(|line| line.contains(node)).context("a line for each node")?;
            if line.trim_end().ends_with("off") {
                self.cluster.dev("start", &[node])?;
            }
        }
        self.all_ready()?;
        self.rolled_out()?;
        let set = "rollout status daemonset network-agent -n kube-system --timeout=90s";
        self.kubectl.line(set)?;
        within(60, "no pod of before is left", || {
            let left = self.kubectl.words("get pods -A", "{.items[?(@.metadata.deletionTimestamp)].metadata.name}")?;
            Ok(left.is_empty().then_some(()))
        })?;
        self.load()?.finish()?.none_failed(200)
    }

    /// An address that a worker announces. Which node announces which is drawn from the address, so a few are made.
    fn address_on_worker(&self) -> Result<(String, String)> {
        for number in 1..=6 {
            let name = format!("web-{number}");
            self.apply(&SERVICE.replace("name: web}", &format!("name: {name}}}")))?;
            let address = eventually("an external address", || {
                Ok(self.kubectl.words(&format!("get svc {name}"), LOAD_BALANCER)?.pop())
            })?;
            within(30, "the address answers", || Ok(self.cluster.client(&["curl", "-sSf", "-m", "2", &address]).ok()))?;
            let holder = self.holder(&address)?;
            if holder != "k8s-master" {
                return Ok((address, holder));
            }
        }
        bail!("of six addresses no worker announces one")
    }

    /// The node that answers for an address on the LAN, by its hardware address.
    fn holder(&self, address: &str) -> Result<String> {
        self.cluster.client(&["ip", "neigh", "flush", "to", address])?;
        let _ = self.cluster.client(&["curl", "-sS", "-m", "2", address]);
        let neighbour = self.cluster.client(&["ip", "neigh", "show", "to", address])?;
        let mut words = neighbour.split_whitespace();
        let hardware = words.find(|word| *word == "lladdr").and_then(|_| words.next());
        let hardware = hardware.with_context(|| format!("nobody answers for {address}: {neighbour:?}"))?;
        for node in NODES {
            if nsenter(node, &["ip", "link", "show", "eth0"])?.contains(hardware) {
                return Ok(node.to_owned());
            }
        }
        bail!("no node has the hardware address {hardware}")
    }
}

/// What the faults ask for.
impl Faults<'_> {
    fn apply(&self, text: &str) -> Result<String> {
        self.kubectl.with_input(&["apply", "-f", "-"], text)
    }

    /// Whether the deployment is complete; what its pods look like when it is not.
    fn rolled_out(&self) -> Result<()> {
        let status = self.kubectl.line("rollout status deployment web --timeout=60s");
        status.map(drop).map_err(|error| {
            let show = |line| self.kubectl.line(line).unwrap_or_default();
            error.context(format!("{}{}", show("get pods -o wide"), show("describe pods -l app=web")))
        })
    }

    fn all_ready(&self) -> Result<()> {
        self.kubectl.line("wait node --all --for=condition=Ready --timeout=90s").map(drop)
    }

    fn service(&self, path: &str) -> Result<String> {
        self.kubectl.words("get svc web", path)?.pop().with_context(|| format!("{path} is empty"))
    }

    fn node_port(&self) -> Result<String> {
        self.service("{.spec.ports[0].nodePort}")
    }

    fn entrance(&self) -> Result<SocketAddr> {
        Ok(format!("{NODE1}:{}", self.node_port()?).parse()?)
    }

    fn load(&self) -> Result<Load> {
        Load::start(self.entrance()?, 200)
    }

    fn pods(&self) -> Result<BTreeSet<String>> {
        Ok(self.kubectl.words("get pods -l app=web", "{.items[*].metadata.name}")?.into_iter().collect())
    }

    fn pods_on(&self, node: &str) -> Result<Vec<String>> {
        let which = format!("get pods -l app=web --field-selector spec.nodeName={node}");
        let pods = self.kubectl.words(&which, "{.items[*].metadata.name}")?;
        ensure!(!pods.is_empty(), "no pod of the application is on {node}");
        Ok(pods)
    }

    fn network_agent(&self, node: &str) -> Result<String> {
        let which = format!("get pods -n kube-system -l k8s-app=network-agent --field-selector spec.nodeName={node}");
        self.kubectl.words(&which, "{.items[*].metadata.name}")?.pop().context("each node has a network agent")
    }

    /// The node's agent does what it is asked: a command runs in a container that it has taken over.
    fn manages(&self, node: &str) -> Result<()> {
        let pod = self.network_agent(node)?;
        let words = ["exec", &pod, "-n", "kube-system", "--", "/coracle", "--version"];
        eventually(&format!("exec on {node}"), || self.kubectl.run(&words).map(Some)).map(drop)
    }

    fn only_process(&self, node: &str, role: &str) -> Result<processes::Process> {
        let mut found = processes::with_role(NAME, node, role)?;
        ensure!(found.len() == 1, "{} processes of {node} are its {role}", found.len());
        Ok(found.remove(0))
    }

    /// Each container of the cluster by its pod: identity and restarts.
    fn containers(&self) -> Result<BTreeMap<String, String>> {
        let path = "{range .items[*]}{.metadata.uid}={.status.containerStatuses[0].containerID}/\
                    {.status.containerStatuses[0].restartCount} {end}";
        let words = self.kubectl.words("get pods -A", path)?;
        Ok(words.iter().filter_map(|word| word.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
    }

    fn identities(&self) -> Result<BTreeSet<(u32, u64)>> {
        let each = NODES.iter().map(|node| processes::container_identities(NAME, node));
        Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The same containers as before, in the API's eyes and in the kernel's.
    fn same(&self, before: &BTreeMap<String, String>, inside: &BTreeSet<(u32, u64)>) -> Result<()> {
        let now = self.containers()?;
        ensure!(now == *before, "the containers were {before:?} and are {now:?}");
        let left = self.identities()?;
        ensure!(inside.is_subset(&left), "the processes were {inside:?} and are {left:?}");
        Ok(())
    }
}

/// A load on the cluster from the machine outside of it.
struct Load(Child);

impl Load {
    fn start(address: SocketAddr, at_least: u64) -> Result<Self> {
        let mut command = Command::new(cluster::binary());
        command.args(["dev", "client", "--name", NAME, "--", env!("CARGO_BIN_EXE_bench"), "http-load"]);
        command.args([address.to_string(), at_least.to_string(), REQUESTS_MAX.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the load")?))
    }

    /// Ends the load, when it has asked often enough.
    fn finish(mut self) -> Result<Outcome> {
        drop(self.0.stdin.take());
        let text = succeeded("the load", &self.0.wait_with_output()?)?;
        Ok(Outcome(Tally::parse(&text)?))
    }
}

struct Outcome(Tally);

impl std::ops::Deref for Outcome {
    type Target = Tally;

    fn deref(&self) -> &Tally {
        &self.0
    }
}

impl Outcome {
    fn none_failed(&self, at_least: u64) -> Result<()> {
        ensure!(self.failed == 0 && self.succeeded >= at_least, "{:?}", self.0);
        eprintln!("    {} requests, none failed, the longest gap was {} ms", self.succeeded, self.longest_gap_ms);
        Ok(())
    }
}

/// The names of the marks in the order in which a client sees them made, that takes up its watch again after each break.
fn follow(kubectl: &Kubectl, from: &str) -> Result<Vec<String>> {
    let (mut revision, mut seen) = (from.to_owned(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(90) {
        let path = format!(
            "/api/v1/namespaces/default/configmaps?watch=true&labelSelector=fault%3Dserver&timeoutSeconds=60&resourceVersion={revision}"
        );
        let mut watch = kubectl.background(&["get", "--raw", &path])?;
        let lines = BufReader::new(watch.0.stdout.take().context("its output is piped")?).lines();
        for line in lines {
            let Ok(event) = serde_json::from_str::<Value>(&line?) else { break };
            let object = &event["object"]["metadata"];
            ensure!(event["type"] == "ADDED", "an event that nobody caused: {event}");
            seen.push(object["name"].as_str().context("an object has a name")?.to_owned());
            revision = object["resourceVersion"].as_str().context("an object has a revision")?.to_owned();
            if seen.last() == Some(&mark_name(MARKS - 1)) {
                return Ok(seen);
            }
        }
    }
    bail!("the last mark did not come; seen: {seen:?}")
}

const MARKS: u32 = 30;

fn mark_name(number: u32) -> String {
    format!("mark-{number:02}")
}

/// Asks until the answer satisfies, for longer or shorter than a minute.
fn within<T>(seconds: u64, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let (began, mut last) = (Instant::now(), None);
    while began.elapsed() < Duration::from_secs(seconds) {
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => last = None,
            Err(error) => last = Some(error),
        }
    }
    let last = last.unwrap_or_else(|| anyhow::anyhow!("the answer was no"));
    Err(last.context(format!("{what}: not within {seconds} s")))
}

fn netns(node: &str) -> String {
    format!("/run/coracle/dev/{NAME}/netns/{node}")
}

/// A command in a node's network, also while the node is off.
fn nsenter(node: &str, command: &[&str]) -> Result<String> {
    let output = Command::new("nsenter").arg(format!("--net={}", netns(node))).args(command).output()?;
    succeeded(&format!("{command:?} in the network of {node}"), &output)
}

/// What a cluster could leave on a machine.
struct Traces {
    links: BTreeSet<String>,
    rules: String,
    files: BTreeSet<String>,
}

/// Where a cluster could write.
const PLACES: [&str; 5] = ["/run", "/run/coracle", "/run/netns", "/var/lib", "/var/lib/coracle"];

impl Traces {
    fn of_machine() -> Self {
        let output = |words: &[&str]| {
            let output = Command::new(words[0]).args(&words[1..]).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let links = output(&["ip", "-brief", "link"]);
        let files = PLACES.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
        Self {
            links: links.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect(),
            rules: output(&["nft", "list", "ruleset"]),
            files: files.map(|file| file.path().to_string_lossy().into_owned()).collect(),
        }
    }

    /// The namespaces in which the cluster's processes are and this one is not.
    fn namespaces_of_cluster() -> Result<BTreeSet<String>> {
        let own = namespaces_of(std::process::id());
        let mut all = BTreeSet::new();
        for node in NODES {
            all.extend(processes::of_node(NAME, node)?.iter().flat_map(|process| namespaces_of(process.pid)));
        }
        ensure!(!all.is_empty(), "the cluster's processes have namespaces");
        Ok(all.difference(&own).cloned().collect())
    }

    fn nothing_left(before: &Self, namespaces: &BTreeSet<String>) -> Result<()> {
        let found = processes::all();
        let cluster = found.values().filter(|process| process.arguments.iter().any(|word| word.contains(NAME)));
        let ours = cluster.filter(|process| process.role().is_some());
        nothing("processes", ours.map(|process| format!("{} {:?}", process.pid, process.arguments)))?;
        // What has ended waits for the machine's own process 1, whose pace is its own.
        let alive = found.values().filter(|process| !(process.ended && process.parent == 1));
        let inside = alive.filter(|process| !namespaces_of(process.pid).is_disjoint(namespaces));
        nothing("processes in its namespaces", inside.map(|process| format!("{process:?}")))?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let left =
            mounts.lines().filter(|line| line.contains(NAME) || namespaces.iter().any(|space| line.contains(space)));
        nothing("mounts", left.map(str::to_owned))?;
        let groups = Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{NAME}*")]).output()?;
        nothing("cgroups", String::from_utf8_lossy(&groups.stdout).lines().map(str::to_owned))?;
        let now = Self::of_machine();
        nothing("links", now.links.difference(&before.links).cloned())?;
        ensure!(now.rules == before.rules, "the machine's rules were\n{}\nand are\n{}", before.rules, now.rules);
        nothing("files", now.files.difference(&before.files).cloned())?;
        let own = ["/var/lib/coracle/dev/", "/run/coracle/dev/"].map(|place| format!("{place}{NAME}"));
        let config = std::env::temp_dir().join(format!("coracle-e2e-{NAME}.kubeconfig")).to_string_lossy().into_owned();
        nothing("files of its own", own.into_iter().chain([config]).filter(|path| Path::new(path).exists()))
    }
}

fn nothing(what: &str, left: impl Iterator<Item = String>) -> Result<()> {
    let left: Vec<_> = left.collect();
    ensure!(left.is_empty(), "{what} are left: {left:?}");
    Ok(())
}

fn namespaces_of(pid: u32) -> BTreeSet<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten();
    links.filter_map(|link| Some(std::fs::read_link(link.path()).ok()?.to_string_lossy().into_owned())).collect()
}

const LOAD_BALANCER: &str = "{.status.loadBalancer.ingress[0].ip}";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 6
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers:
      - name: web
        image: yanbin/python-web:latest
        imagePullPolicy: IfNotPresent
        ports:
        - containerPort: 80
        readinessProbe:
          httpGet: {path: /, port: 80}
          periodSeconds: 1
        lifecycle:
          preStop:
            sleep: {seconds: 3}
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports:
  - {port: 80, targetPort: 80}
";

/// From which the Service is asked inside the cluster.
const PROBER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: prober}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: prober
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
";

/// Asks at least 1,000 times, until told to stop; prints how often it asked, how often in vain, and why last.
const PROBE: &str = "i=0; f=0; why=none
while [ $i -lt 20000 ] && { [ $i -lt 1000 ] || [ ! -e /stop ]; }; do
  said=$(wget -qO- ADDRESS 2>&1) || { f=$((f+1)); why=$said; }
  i=$((i+1))
done
echo $i $f $why";

fn service(name: &str, node_port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: NodePort\n  selector: {{app: x}}\n  \
         ports: [{{port: 80, nodePort: {node_port}}}]\n"
    )
}
