//! Services: everything but the allocation of addresses and node ports.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{self as rules, ip_warnings};
use serde_json::{Value, json};

use super::{service_change, service_rules};
use crate::at::At;
use crate::cells::{list, load_balancer, name, or, text};
use crate::defaults::{items, lacks, object, remove, set, set_pointer};
use crate::strategy::{
    Column, Context, NameRule, Strategy, keep_all_but_status_and_metadata, keep_status, reset_status,
};

pub struct Service;

pub const NODE_PORT_TYPES: [&str; 2] = ["NodePort", "LoadBalancer"];

impl Strategy for Service {
    fn default(&self, service: &mut Value) {
        ip_modes(service);
        let Some(spec) = object(service, "spec") else { return };
        set(spec, "sessionAffinity", "None");
        session_affinity(spec);
        set(spec, "type", "ClusterIP");
        items(spec, "ports").for_each(port);
        let kind = spec["type"].as_str().unwrap_or_default().to_owned();
        if NODE_PORT_TYPES.contains(&kind.as_str()) || has_external_ips(spec) {
            set(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != "ExternalName" {
            set_pointer(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            set(spec, "allocateLoadBalancerNodePorts", true);
        }
    }

    fn prepare_for_create(&self, service: &mut Value, _context: &Context<'_>) {
        reset_status(service);
        tie_cluster_ips(service);
    }

    fn validate(&self, service: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        service_rules::validate(&At::root(service), &mut errors);
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        service_rules::warnings(&At::root(new))
    }

    fn part_warnings(&self, _subresource: &str, new: &Value, _old: &Value) -> Vec<String> {
        let points = At::root(new).to("status.loadBalancer.ingress").items();
        // Upstream names the entry, not its address.
        let addresses = points.iter().filter(|point| !point.at("ip").empty());
        addresses.filter_map(|point| ip_warnings(&point.path, point.at("ip").text())).collect()
    }

    /// Keeps what was allocated when the client leaves it out.
    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
        let kind = |service: &Value| text(service, "/spec/type").to_owned();
        if kind(new) != "ExternalName" && kind(old) != "ExternalName" {
            keep_cluster_ips(&mut new["spec"], &old["spec"]);
            keep_node_ports(&mut new["spec"], &old["spec"]);
        }
        drop_what_the_type_does_not_have(new, old);
        tie_cluster_ips(new);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(new);
        service_change::validate(&root.at("spec"), &old["spec"], &mut errors);
        service_rules::validate(&root, &mut errors);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        service_change::load_balancer(&At::root(new), &mut errors);
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::DnsLabel
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Type"),
                Column::text("Cluster-IP"),
                Column::text("External-IP"),
                Column::text("Port(s)"),
                Column::AGE,
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, service: &Value, now: i64) -> Vec<Value> {
        vec![
            name(service),
            text(service, "/spec/type").into(),
            or(list(service, "/spec/clusterIPs").first().and_then(Value::as_str).unwrap_or_default(), "<none>").into(),
            external_ip(service).into(),
            port_cell(service).into(),
            table::age(service, now),
            table::labels(service.pointer("/spec/selector")).into(),
        ]
    }

    fn fields(&self, service: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", text(service, "/spec/clusterIP").to_owned()),
            ("spec.type", text(service, "/spec/type").to_owned()),
        ]
    }
}

fn session_affinity(spec: &mut Value) {
    if spec["sessionAffinity"] == "None" {
        remove(spec, "sessionAffinityConfig");
    }
    if spec["sessionAffinity"] == "ClientIP" {
        let config = object(spec, "sessionAffinityConfig").and_then(|config| object(config, "clientIP"));
        if let Some(client) = config {
            set(client, "timeoutSeconds", 10800);
        }
    }
}

fn port(port: &mut Value) {
    set(port, "protocol", "TCP");
    let target = port.get("targetPort");
    if target.is_none_or(|target| target.is_null() || *target == 0 || *target == "") {
        port["targetPort"] = port["port"].clone();
    }
}

pub fn has_external_ips(spec: &Value) -> bool {
    spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty())
}

/// Who gives the single field gives the list; a given address tells the family.
fn tie_cluster_ips(service: &mut Value) {
    let Some(spec) = object(service, "spec").filter(|spec| spec["type"] != "ExternalName") else { return };
    let single = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    let first = spec.pointer("/clusterIPs/0").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !single.is_empty() && first.is_empty() {
        spec["clusterIPs"] = json!([single]);
    }
    let given = if single.is_empty() { first } else { single };
    families(spec, &given);
}

/// A headless service without a selector has both families: nobody here has to find it addresses.
fn families(spec: &mut Value, given: &str) {
    let selects = spec["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let both = given == "None" && !selects;
    set_pointer(spec, "ipFamilyPolicy", if both { "RequireDualStack" } else { "SingleStack" });
    if lacks(spec, "ipFamilies") {
        let single = if rules::is_ipv6(given) { "IPv6" } else { "IPv4" };
        let wants_both = both && spec["ipFamilyPolicy"] == "RequireDualStack";
        spec["ipFamilies"] = if wants_both { json!(["IPv4", "IPv6"]) } else { json!([single]) };
    }
}

fn keep_cluster_ips(new: &mut Value, old: &Value) {
    let had = |field: &str| old.get(field).filter(|value| !value.is_null()).cloned();
    for field in ["clusterIP", "ipFamilies", "ipFamilyPolicy", "clusterIPs"] {
        let changed = field == "clusterIPs" && new["clusterIP"] != old["clusterIP"];
        if let (true, false, Some(value)) = (lacks(new, field), changed, had(field)) {
            new[field] = value;
        }
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let kind = |spec: &Value| NODE_PORT_TYPES.contains(&spec["type"].as_str().unwrap_or_default());
    if !kind(new) || !kind(old) {
        return;
    }
    set_if_absent(new, old, "healthCheckNodePort");
    let before = old["ports"].as_array().cloned().unwrap_or_default();
    let used: Vec<Value> = items(new, "ports").map(|port| port["nodePort"].clone()).collect();
    for port in items(new, "ports").filter(|port| port["nodePort"].is_null() || port["nodePort"] == 0) {
        let same = |other: &&Value| {
            other["port"] == port["port"] && other["protocol"] == port["protocol"] && other["name"] == port["name"]
        };
        let known = before.iter().find(same).map(|other| other["nodePort"].clone());
        if let Some(number) = known.filter(|number| !number.is_null() && !used.contains(number)) {
            port["nodePort"] = number;
        }
    }
}

fn set_if_absent(new: &mut Value, old: &Value, field: &str) {
    if let (true, Some(value)) = (new.get(field).is_none(), old.get(field)) {
        new[field] = value.clone();
    }
}

/// A change of type drops what the old type had, unless the client changed it too.
fn drop_what_the_type_does_not_have(new: &mut Value, old: &Value) {
    let (kind, before) = (text(new, "/spec/type").to_owned(), old["spec"].clone());
    let spec = &mut new["spec"];
    let drop_unchanged = |spec: &mut Value, field: &str| {
        if spec.get(field) == before.get(field) {
            remove(spec, field);
        }
    };
    if kind == "ExternalName" && before["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            drop_unchanged(spec, field);
        }
    }
    if !NODE_PORT_TYPES.contains(&kind.as_str()) && before["type"] != kind.as_str() {
        let ports = before["ports"].as_array().cloned().unwrap_or_default();
        for port in items(spec, "ports") {
            if ports.iter().any(|other| other["nodePort"] == port["nodePort"]) {
                remove(port, "nodePort");
            }
        }
        if !has_external_ips(spec) {
            drop_unchanged(spec, "externalTrafficPolicy");
        }
    }
    if kind != "LoadBalancer" && before["type"] == "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            drop_unchanged(spec, field);
        }
        new["status"]["loadBalancer"] = json!({});
    }
}

fn external_ip(service: &Value) -> String {
    let ips: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let mut all = load_balancer(service);
            all.extend(&ips);
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        "ClusterIP" | "NodePort" if ips.is_empty() => "<none>".into(),
        "ClusterIP" | "NodePort" => ips.join(","),
        _ => "<unknown>".into(),
    }
}

/// An address of a load balancer that says nothing is one that nodes may short-cut.
fn ip_modes(service: &mut Value) {
    if text(service, "/spec/type") != "LoadBalancer" {
        return;
    }
    let ingress = service.pointer_mut("/status/loadBalancer/ingress").and_then(Value::as_array_mut);
    for entry in ingress.into_iter().flatten() {
        if entry.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
            set(entry, "ipMode", "VIP");
        }
    }
}

fn port_cell(service: &Value) -> String {
    let cell = |port: &Value| {
        let (number, protocol) = (&port["port"], text(port, "/protocol"));
        match port["nodePort"].as_i64() {
            Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let cells: Vec<String> = list(service, "/spec/ports").iter().map(cell).collect();
    if cells.is_empty() { "<none>".into() } else { cells.join(",") }
}
