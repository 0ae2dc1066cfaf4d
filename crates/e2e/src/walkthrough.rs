//! The first user's day: deploy an application on three nodes and reach it in every way that a cluster offers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, bail, ensure};

use crate::{Cluster, Kubectl, eventually};

const NODES: [&str; 3] = ["k8s-master", "k8s-node1", "k8s-node2"];
const ADDRESSES: [&str; 3] = ["172.28.128.14", "172.28.128.10", "172.28.128.11"];
const APP: &str = "python-web-app";
const SERVICE: &str = "python-web-svc";
const CURL: [&str; 4] = ["curl", "-sS", "--max-time", "5"];

/// A user at work on a cluster.
pub struct Walk<'a> {
    pub cluster: &'a Cluster,
    pub kubectl: Kubectl,
    /// How often each place asks the Service, to see that the answers are spread.
    pub requests: u32,
}

/// Every step, in order; `tick` is told of each that went well.
pub fn run<'a>(walk: &Walk<'a>, tick: &mut dyn FnMut(&str)) -> Result<()> {
    type Step<'a> = fn(&Walk<'a>) -> Result<()>;
    let steps: [(&str, Step<'a>); 14] = [
        ("three nodes are Ready", Walk::nodes),
        ("a deployment is created and scaled by command, spread over the workers, and deleted", Walk::deploy),
        ("the same from a file, with a Service beside it, edited and applied again", Walk::apply_file),
        ("a shell in a pod: hostname, address, other pods", Walk::shell),
        ("a pod by its own address, from every node", Walk::pod_address),
        ("`coracle ps` lists the containers of a node", Walk::containers),
        ("the Service by its ClusterIP, from every node and every pod", Walk::cluster_ip),
        ("the Service by its names", Walk::names),
        ("the Service by its NodePort, from outside, at every node", Walk::node_port),
        ("the Service by its LoadBalancer address, from outside", Walk::load_balancer),
        ("kubectl proxy, and port-forward", Walk::proxies),
        ("the network agent runs on every node, restores its rules and says so", Walk::network_agent),
        ("describe shows the Service with its endpoints", Walk::describe),
        ("everything is cleaned up", Walk::clean_up),
    ];
    for (what, step) in steps {
        step(walk).with_context(|| format!("step: {what}"))?;
        tick(what);
    }
    Ok(())
}

impl Walk<'_> {
    fn nodes(&self) -> Result<()> {
        let text = self.kubectl.line("get nodes -o wide")?;
        for (name, address) in NODES.iter().zip(ADDRESSES) {
            let line =
                text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name} in\n{text}"))?;
            ensure!(line.contains(" Ready ") && line.contains(address), "{line}");
        }
        ensure!(text.contains("control-plane") && text.contains("CONTAINER-RUNTIME"), "{text}");
        Ok(())
    }

    fn deploy(&self) -> Result<()> {
        self.kubectl.line(&format!("create deployment {APP} --image=yanbin/python-web:latest"))?;
        self.kubectl.line(&format!("scale -n default deployment {APP} --replicas=3"))?;
        self.pods_ready(3)?;
        let text = self.kubectl.line("get deploy -A")?;
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        ensure!(words(&row(APP))[2..5] == ["3/3", "3", "3"], "{text}");
        ensure!(words(&row("coredns"))[..3] == ["kube-system", "coredns", "2/2"], "{text}");
        let nodes = self.kubectl.words(&format!("get pods -l app={APP}"), "{.items[*].spec.nodeName}")?;
        ensure!(
            nodes.iter().any(|node| node == "k8s-node1") && nodes.iter().any(|node| node == "k8s-node2"),
            "{nodes:?}"
        );
        ensure!(!nodes.iter().any(|node| node == "k8s-master"), "{nodes:?}");
        self.kubectl.line(&format!("delete deploy {APP}"))?;
        self.no_pods(&format!("app={APP}"))
    }

    fn apply_file(&self) -> Result<()> {
        let made = self.apply(&manifest(3, "ClusterIP"))?;
        ensure!(made.contains(&format!("deployment.apps/{APP} created")), "{made}");
        ensure!(made.contains(&format!("service/{SERVICE} created")), "{made}");
        self.pods_ready(3)?;
        let again = self.apply(&manifest(4, "ClusterIP"))?;
        ensure!(again.contains("configured") && again.contains(&format!("service/{SERVICE} unchanged")), "{again}");
        self.pods_ready(4)?;
        self.kubectl.with_input(&["delete", "-f", "-"], &manifest(4, "ClusterIP"))?;
        self.no_pods("app=python-web")?;
        self.apply(&deployment(3))?;
        self.pods_ready(3)?;
        self.kubectl
            .line(&format!("expose deployment {APP} --name={SERVICE} --port 80 --target-port 80 --protocol TCP"))?;
        // Running says that the processes run, not that they listen: the pods of the walk-through have no probes.
        for address in self.addresses()? {
            eventually(&address, || Ok(self.cluster.exec("k8s-node1", &[&CURL[..], &[&address]].concat()).ok()))?;
        }
        Ok(())
    }

    fn shell(&self) -> Result<()> {
        let (pods, addresses) = (self.pods()?, self.addresses()?);
        let script = format!(
            "hostname; ifconfig | grep 10.244; wget -qO- {}:80; wget -qO- localhost; ping -c 1 {}",
            addresses[1], addresses[2]
        );
        let text = self.kubectl.run(&["exec", &pods[0], "--", "/bin/sh", "-c", &script])?;
        let lines: Vec<_> = text.lines().collect();
        ensure!(lines.first() == Some(&pods[0].as_str()), "hostname: {text}");
        ensure!(text.contains(&addresses[0]), "ifconfig: {text}");
        ensure!(text.contains(&format!("Served by {}/", pods[1])), "another pod: {text}");
        ensure!(text.contains(&format!("Served by {}/", pods[0])), "itself: {text}");
        ensure!(text.contains("1 packets received"), "ping: {text}");
        let failed = self.kubectl.output(&["exec", &pods[0], "--", "/bin/sh", "-c", "exit 7"])?;
        ensure!(failed.status.code() == Some(7), "the exit code comes through: {failed:?}");
        Ok(())
    }

    fn pod_address(&self) -> Result<()> {
        for (pod, address) in self.pods()?.iter().zip(self.addresses()?) {
            for node in NODES {
                let text = self.cluster.exec(node, &[&CURL[..], &[&address]].concat())?;
                ensure!(text.starts_with(&format!("Served by {pod}/")), "{node} to {address}: {text}");
            }
        }
        Ok(())
    }

    fn containers(&self) -> Result<()> {
        let text = self.cluster.exec("k8s-node1", &["coracle", "ps"])?;
        ensure!(text.starts_with("CONTAINER ID") && text.contains("yanbin/python-web"), "{text}");
        Ok(())
    }

    fn cluster_ip(&self) -> Result<()> {
        let services = self.kubectl.line("get svc")?;
        let own = services.lines().find(|line| line.starts_with("kubernetes ")).unwrap_or_default();
        ensure!(words(own)[2..5] == ["10.96.0.1", "<none>", "443/TCP"], "{services}");
        let address = self.service("{.spec.clusterIP}")?;
        for node in NODES {
            self.spread(&address, |command| self.cluster.exec(node, command))?;
        }
        for pod in self.pods()? {
            let script = format!("for i in $(seq {}); do wget -qO- {address}; done", self.requests);
            let text = self.kubectl.run(&["exec", &pod, "--", "/bin/sh", "-c", &script])?;
            self.is_spread(&text)?;
        }
        Ok(())
    }

    fn names(&self) -> Result<()> {
        let pod = self.pods()?.remove(0);
        let shell = |script: &str| self.kubectl.run(&["exec", &pod, "--", "/bin/sh", "-c", script]);
        let resolver = shell("cat /etc/resolv.conf")?;
        let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
        for line in ["nameserver 10.96.0.10", search, "options ndots:5"] {
            ensure!(resolver.lines().any(|found| found == line), "{line:?} is missing in\n{resolver}");
        }
        for name in [SERVICE, &format!("{SERVICE}.default"), &format!("{SERVICE}.default.svc.cluster.local")] {
            let text = shell(&format!("wget -qO- {name}"))?;
            ensure!(text.starts_with("Served by "), "{name}: {text}");
        }
        let address = self.service("{.spec.clusterIP}")?;
        let text = shell(&format!("ping -c 1 -W 1 {SERVICE} || true"))?;
        ensure!(text.contains(&address), "ping resolves the name: {text}");
        let dns = self.kubectl.line("get pods -n kube-system -o wide")?;
        ensure!(
            dns.lines().filter(|line| line.starts_with("coredns-") && line.contains("Running")).count() == 2,
            "{dns}"
        );
        Ok(())
    }

    fn node_port(&self) -> Result<()> {
        let before = self.service("{.spec.clusterIP}")?;
        self.apply(&service("NodePort"))?;
        ensure!(self.service("{.spec.clusterIP}")? == before, "changing the type keeps the ClusterIP");
        let port = self.service("{.spec.ports[0].nodePort}")?;
        ensure!((30000..=32767).contains(&port.parse::<u32>()?), "{port}");
        ensure!(self.kubectl.line("get svc")?.contains(&format!("80:{port}/TCP")), "shown as 80:{port}/TCP");
        for address in ADDRESSES {
            let url = format!("{address}:{port}");
            eventually(&url, || Ok(Some(self.cluster.client(&[&CURL[..], &[&url]].concat())?)))?;
            self.spread(&url, |command| self.cluster.client(command))?;
        }
        Ok(())
    }

    fn load_balancer(&self) -> Result<()> {
        self.apply(&service("LoadBalancer"))?;
        let path = "{.status.loadBalancer.ingress[0].ip}";
        let address = eventually("an external address", || Ok(Some(self.service(path)?)))?;
        ensure!(self.kubectl.line("get svc")?.contains(&address), "EXTERNAL-IP shows {address}");
        eventually(&address, || Ok(Some(self.cluster.client(&[&CURL[..], &[&address]].concat())?)))?;
        self.spread(&address, |command| self.cluster.client(command))
    }

    fn proxies(&self) -> Result<()> {
        let mut proxy = self.kubectl.background(&["proxy", "--port=0"])?;
        let port = announced_port(&mut proxy.0)?;
        let url = format!("http://127.0.0.1:{port}/api/v1/namespaces/default/services/{SERVICE}:80/proxy/");
        let text = curl(&url)?;
        ensure!(text.starts_with("Served by "), "{url}: {text}");
        let pod = self.pods()?.remove(0);
        let mut forward = self.kubectl.background(&["port-forward", &format!("pod/{pod}"), ":80"])?;
        let port = announced_port(&mut forward.0)?;
        let text = curl(&format!("http://127.0.0.1:{port}/"))?;
        ensure!(text.starts_with(&format!("Served by {pod}/")), "port-forward: {text}");
        Ok(())
    }

    fn network_agent(&self) -> Result<()> {
        let text = self.kubectl.line("get pods -n kube-system -o wide -l k8s-app=network-agent")?;
        for node in NODES {
            ensure!(text.lines().any(|line| line.contains(node) && line.contains("Running")), "{node}: {text}");
        }
        let path = "{.items[?(@.spec.nodeName==\"k8s-node1\")].metadata.name}";
        let agent = self.kubectl.words("get pods -n kube-system -l k8s-app=network-agent", path)?.remove(0);
        ensure!(
            self.kubectl.line(&format!("logs {agent} -n kube-system"))?.contains("watching"),
            "it says what it watches"
        );
        self.cluster.exec("k8s-node1", &["nft", "delete", "table", "ip", "coracle-services"])?;
        eventually("the rules are restored", || {
            Ok(self.cluster.exec("k8s-node1", &["nft", "list", "table", "ip", "coracle-services"]).ok())
        })?;
        eventually("the log says so", || {
            let log = self.kubectl.line(&format!("logs {agent} -n kube-system --tail=15"))?;
            Ok(log.contains("restoring").then_some(()))
        })?;
        let rules = self.cluster.exec("k8s-node1", &["nft", "list", "table", "ip", "coracle-services"])?;
        ensure!(rules.contains(&format!("default/{SERVICE}")), "the rules name the Service: {rules}");
        Ok(())
    }

    fn describe(&self) -> Result<()> {
        let text = self.kubectl.line(&format!("describe svc {SERVICE}"))?;
        for field in [
            "Name:",
            "Namespace:",
            "Labels:",
            "Annotations:",
            "Selector:",
            "Type:",
            "IP:",
            "LoadBalancer Ingress:",
            "Port:",
            "TargetPort:",
            "NodePort:",
            "Endpoints:",
            "Session Affinity:",
            "External Traffic Policy:",
            "Events:",
        ] {
            ensure!(text.lines().any(|line| line.starts_with(field)), "{field} is missing in\n{text}");
        }
        let endpoints = text.lines().find(|line| line.starts_with("Endpoints:")).unwrap_or_default();
        for address in self.addresses()? {
            ensure!(endpoints.contains(&format!("{address}:80")), "{address} is missing in {endpoints}");
        }
        // Of several objects at once, new versions of kubectl show no events.
        for object in [format!("deploy {APP}"), format!("pod {}", self.pods()?.remove(0)), "node k8s-node1".to_owned()]
        {
            let text = self.kubectl.line(&format!("describe {object}"))?;
            ensure!(text.contains("Events:"), "describe {object}:\n{text}");
        }
        Ok(())
    }

    fn clean_up(&self) -> Result<()> {
        self.kubectl.line(&format!("delete svc {SERVICE}"))?;
        self.kubectl.line(&format!("delete deploy {APP}"))?;
        self.no_pods("app=python-web")
    }

    fn apply(&self, text: &str) -> Result<String> {
        self.kubectl.with_input(&["apply", "-f", "-"], text)
    }

    fn pods_ready(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} pods ready"), || {
            let ready =
                self.kubectl.words(&format!("get deploy {APP}"), "{.status.readyReplicas} {.status.replicas}")?;
            Ok((ready == [count.to_string(), count.to_string()]).then_some(()))
        })
    }

    fn no_pods(&self, selector: &str) -> Result<()> {
        eventually("the pods are gone", || {
            let pods = self.kubectl.words(&format!("get pods -l {selector}"), "{.items[*].metadata.name}")?;
            Ok(pods.is_empty().then_some(()))
        })
    }

    fn pods(&self) -> Result<Vec<String>> {
        self.kubectl.words("get pods -l app=python-web", "{.items[*].metadata.name}")
    }

    fn addresses(&self) -> Result<Vec<String>> {
        self.kubectl.words("get pods -l app=python-web", "{.items[*].status.podIP}")
    }

    fn service(&self, path: &str) -> Result<String> {
        self.kubectl.words(&format!("get svc {SERVICE}"), path)?.pop().with_context(|| format!("{path} is empty"))
    }

    /// Many requests of one curl, each on a connection of its own.
    fn spread(&self, address: &str, run: impl Fn(&[&str]) -> Result<String>) -> Result<()> {
        let many = format!("http://{address}/?request=[1-{}]", self.requests);
        self.is_spread(&run(&[&CURL[..], &["-H", "Connection: close", &many]].concat())?)
    }

    /// Whether the answers come from all three pods about evenly: a chi-square that chance exceeds once in 10,000 runs.
    fn is_spread(&self, text: &str) -> Result<()> {
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        let answers = text.lines().count();
        ensure!(answers == usize::try_from(self.requests)?, "{answers} answers to {} requests", self.requests);
        for line in text.lines() {
            let Some(pod) = line.strip_prefix("Served by ").and_then(|rest| rest.split('/').next()) else {
                bail!("{line}")
            };
            *counts.entry(pod).or_default() += 1.0;
        }
        ensure!(chi_square(&counts, 3) < 18.42, "not spread evenly: {counts:?}");
        Ok(())
    }
}

/// Of counts that should be equal over `groups`.
pub fn chi_square(counts: &BTreeMap<&str, f64>, groups: u32) -> f64 {
    let expected = counts.values().sum::<f64>() / f64::from(groups);
    let missing = f64::from(groups) - counts.values().map(|_| 1.0).sum::<f64>();
    counts.values().map(|count| (count - expected).powi(2) / expected).sum::<f64>() + missing * expected
}

fn words(line: &str) -> Vec<&str> {
    let mut words: Vec<_> = line.split_whitespace().collect();
    words.resize(words.len().max(8), "");
    words
}

/// The port in the first line: `Starting to serve on 127.0.0.1:8001`, `Forwarding from 127.0.0.1:40001 -> 80`.
fn announced_port(child: &mut std::process::Child) -> Result<String> {
    let stdout = child.stdout.as_mut().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.split_whitespace().find_map(|word| word.strip_prefix("127.0.0.1:"));
    Ok(port.with_context(|| format!("no port in {line:?}"))?.to_owned())
}

fn curl(url: &str) -> Result<String> {
    let output = std::process::Command::new("curl").args(&CURL[1..]).arg(url).output()?;
    crate::cluster::succeeded(url, &output)
}

fn manifest(replicas: u32, kind: &str) -> String {
    format!("{}---\n{}", deployment(replicas), service(kind))
}

fn deployment(replicas: u32) -> String {
    include_str!("../../../examples/python-web/deployment.yaml")
        .replace("replicas: 3", &format!("replicas: {replicas}"))
}

fn service(kind: &str) -> String {
    include_str!("../../../examples/python-web/service.yaml").replace("spec:\n", &format!("spec:\n  type: {kind}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uneven_spread_is_seen() {
        assert!(chi_square(&BTreeMap::from([("a", 20.0), ("b", 22.0), ("c", 18.0)]), 3) < 18.42);
        assert!(chi_square(&BTreeMap::from([("a", 30.0), ("b", 30.0)]), 3) > 18.42);
        assert!(chi_square(&BTreeMap::from([("a", 60.0)]), 3) > 18.42);
    }
}
