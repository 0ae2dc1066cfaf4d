//! The texts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`. Pure.

use std::net::IpAddr;

use api::corev1::Pod;

use crate::config::Config;
use crate::pods::model::{host_network, spec};

/// The name a pod has inside: `spec.hostname`, else its own name, cut to what a name may be long.
pub fn hostname(pod: &Pod, node_name: &str) -> String {
    if host_network(pod) {
        return node_name.to_owned();
    }
    if let Some(name) = spec(pod).hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let own = spec(pod).hostname.as_deref().filter(|name| !name.is_empty());
    let name = own.or(pod.metadata.name.as_deref()).unwrap_or_default();
    let cut = &name[..name.len().min(63)];
    let cut = cut.trim_end_matches(['-', '.']).to_owned();
    match domain(pod) {
        Some(domain) if spec(pod).set_hostname_as_fqdn == Some(true) => format!("{cut}.{domain}"),
        _ => cut,
    }
}

/// `<subdomain>.<namespace>.svc`, without the cluster's domain, if the pod has a subdomain.
fn domain(pod: &Pod) -> Option<String> {
    let subdomain = spec(pod).subdomain.as_deref().filter(|name| !name.is_empty())?;
    Some(format!("{subdomain}.{}.svc", pod.metadata.namespace.as_deref().unwrap_or_default()))
}

const HOSTS_HEAD: &str = "# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

pub fn hosts(pod: &Pod, ips: &[IpAddr], config: &Config, host_file: &str) -> String {
    let mut text = if host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{host_file}")
    } else {
        let name = hostname(pod, &config.node_name);
        let name = name.split('.').next().unwrap_or_default();
        let mut text = HOSTS_HEAD.to_owned();
        for ip in ips {
            match domain(pod) {
                Some(domain) => text.push_str(&format!("{ip}\t{name}.{domain}.{}\t{name}\n", config.cluster_domain)),
                None => text.push_str(&format!("{ip}\t{name}\n")),
            }
        }
        text
    };
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
    }
    text
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn parse(text: &str) -> Resolver {
        let mut resolver = Resolver::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => resolver.nameservers.extend(words.take(1)),
                Some("search" | "domain") => resolver.searches = words.filter(|word| word != ".").collect(),
                Some("options") => resolver.options = words.collect(),
                _ => {}
            }
        }
        resolver
    }

    fn print(&self) -> String {
        let mut text: String = self.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// The kernel's limits are gone; these are the API's.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// `host_file` is the node's own resolver configuration.
pub fn resolv_conf(pod: &Pod, config: &Config, host_file: &str) -> String {
    let host = Resolver::parse(host_file);
    let policy = spec(pod).dns_policy.as_deref().unwrap_or("ClusterFirst");
    let by_cluster = match policy {
        "ClusterFirst" => !host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = match policy {
        "None" => Resolver::default(),
        _ if by_cluster && !config.cluster_dns.is_empty() => cluster_first(pod, config, host),
        _ => host,
    };
    merge_config(pod, &mut resolver);
    resolver.nameservers.truncate(NAMESERVERS_MAX);
    resolver.searches.truncate(SEARCHES_MAX);
    resolver.print()
}

fn cluster_first(pod: &Pod, config: &Config, host: Resolver) -> Resolver {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &config.cluster_domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    add_missing(&mut searches, host.searches);
    let nameservers = config.cluster_dns.iter().map(ToString::to_string).collect();
    Resolver { nameservers, searches, options: vec!["ndots:5".to_owned()] }
}

fn add_missing(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for entry in more {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
}

fn merge_config(pod: &Pod, resolver: &mut Resolver) {
    let Some(own) = &spec(pod).dns_config else { return };
    add_missing(&mut resolver.nameservers, own.nameservers.iter().flatten().cloned());
    add_missing(&mut resolver.searches, own.searches.iter().flatten().cloned());
    for option in own.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        let key = |text: &String| text.split(':').next() == Some(name.as_str());
        resolver.options.retain(|known| !key(known));
        resolver.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
    }
}

/// Whether a resolver configuration leads only to a stub on the node itself, which no pod can reach.
pub fn is_local_stub(text: &str) -> bool {
    let resolver = Resolver::parse(text);
    let local = |server: &String| server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !resolver.nameservers.is_empty() && resolver.nameservers.iter().all(local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn config() -> Config {
        let mut config = Config::new("node", "192.0.2.1".parse().expect("an address"), "/d", "/r");
        config.cluster_dns = vec!["10.96.0.10".parse().expect("an address")];
        config
    }

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "p", "namespace": "default" }, "spec": spec }))
            .expect("a pod")
    }

    fn check(spec: Value, expected: Expect) {
        expected.assert_eq(&resolv_conf(&pod(spec), &config(), "nameserver 192.0.2.53\n"));
    }

    #[test]
    fn the_cluster_answers_first() {
        check(
            json!({ "containers": [] }),
            expect![[r#"
                nameserver 10.96.0.10
                search default.svc.cluster.local svc.cluster.local cluster.local
                options ndots:5
            "#]],
        );
    }

    #[test]
    fn a_pod_of_the_hosts_network_has_the_hosts_resolver() {
        check(json!({ "hostNetwork": true, "containers": [] }), expect![["nameserver 192.0.2.53\n"]]);
        check(json!({ "dnsPolicy": "Default", "containers": [] }), expect![["nameserver 192.0.2.53\n"]]);
    }

    #[test]
    fn a_pods_own_configuration_is_merged() {
        let own =
            json!({ "nameservers": ["1.2.3.4"], "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }] });
        check(
            json!({ "dnsPolicy": "None", "dnsConfig": own, "containers": [] }),
            expect![["nameserver 1.2.3.4\noptions ndots:2 edns0\n"]],
        );
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let pod = pod(
            json!({ "subdomain": "sub", "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }], "containers": [] }),
        );
        let text = hosts(&pod, &["10.244.1.2".parse().expect("an address")], &config(), "");
        let tail = text.strip_prefix(HOSTS_HEAD).expect("the head");
        assert_eq!(
            tail,
            "10.244.1.2\tp.sub.default.svc.cluster.local\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        );
    }

    #[test]
    fn a_local_stub_is_recognised() {
        assert!(is_local_stub("nameserver 127.0.0.53\n"));
        assert!(!is_local_stub("nameserver 127.0.0.53\nnameserver 192.0.2.53\n"));
    }
}
