//! The rules of Services, in upstream's order.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::{
    self as rules, cidr_warnings, ip_warnings, is_dns1123_label, is_dns1123_subdomain, is_port_name, is_qualified_name,
    validate_cidr, validate_ip,
};
use serde_json::{Value, json};

use super::endpoints::special_ip;
use super::service::{NODE_PORT_TYPES, has_external_ips};
use crate::at::At;

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

fn annotation<'a>(service: &At<'a>, key: &str) -> Option<&'a str> {
    service.to("metadata.annotations").value.get(key)?.as_str()
}

pub fn is_headless(spec: &At<'_>) -> bool {
    *spec.at("clusterIPs").value == json!(["None"])
}

pub fn validate(service: &At<'_>, errors: &mut ErrorList) {
    let spec = service.at("spec");
    topology(service, errors);
    if spec.at("ports").empty() && !is_headless(&spec) && spec.at("type").text() != "ExternalName" {
        errors.required(&spec.path.child("ports"), "");
    }
    kind(&spec, errors);
    ports(&spec.at("ports"), errors);
    let selector = spec.at("selector");
    errors.append(rules::object_meta::labels(selector.value, &selector.path));
    affinity(&spec, errors);
    cluster_ips(&spec, errors);
    for ip in spec.at("externalIPs").items() {
        let wrong = validate_ip(&ip.path, ip.text());
        let judged = if wrong.is_empty() { special_ip(&ip) } else { wrong };
        errors.append(judged);
    }
    spec.at("type").required_one_of(errors, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    node_ports(&spec, errors);
    duplicate_ports(&spec.at("ports"), errors);
    source_ranges(service, errors);
    let allocate = spec.at("allocateLoadBalancerNodePorts");
    if allocate.present() && spec.at("type").text() != "LoadBalancer" {
        errors.forbidden(&allocate.path, "may only be used when `type` is 'LoadBalancer'");
    }
    class(&spec, errors);
    policies(&spec, errors);
}

fn topology(service: &At<'_>, errors: &mut ErrorList) {
    if let (Some(hints), Some(mode)) = (annotation(service, TOPOLOGY_HINTS), annotation(service, TOPOLOGY_MODE))
        && hints != mode
    {
        let path = Path::new("metadata.annotations").key(TOPOLOGY_MODE);
        errors.invalid(&path, mode, format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"));
    }
}

fn kind(spec: &At<'_>, errors: &mut ErrorList) {
    let kind = spec.at("type").text();
    if is_headless(spec) && NODE_PORT_TYPES.contains(&kind) {
        let path = spec.path.child("clusterIPs").index(0);
        errors.invalid(&path, "None", format!("may not be set to 'None' for {kind} services"));
    }
    if kind != "ExternalName" {
        return;
    }
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"].map(|name| spec.at(name)) {
        if !field.empty() {
            errors.forbidden(&field.path, "may not be set for ExternalName services");
        }
    }
    let name = spec.at("externalName");
    let plain = name.text().strip_suffix('.').unwrap_or(name.text());
    if plain.is_empty() {
        errors.required(&name.path, "");
    } else {
        errors.invalid_all(&name.path, plain, is_dns1123_subdomain(plain));
    }
}

fn ports(all: &At<'_>, errors: &mut ErrorList) {
    let several = all.items().len() > 1;
    let mut names = Vec::new();
    for port in all.items() {
        let name = port.at("name");
        if several && name.empty() {
            name.required(errors, "");
        } else if !name.empty() {
            name.follows(errors, is_dns1123_label);
            if names.contains(&name.text()) {
                errors.duplicate(&name.path, name.text());
            }
            names.push(name.text());
        }
        port_number(&port.at("port"), errors);
        port.at("protocol").required_one_of(errors, &["SCTP", "TCP", "UDP"]);
        let target = port.at("targetPort");
        match target.value {
            Value::String(name) => errors.invalid_all(&target.path, name, is_port_name(name)),
            _ => port_number(&target, errors),
        }
        if port.at("appProtocol").present() {
            port.at("appProtocol").follows(errors, is_qualified_name);
        }
    }
}

fn port_number(at: &At<'_>, errors: &mut ErrorList) {
    let number = at.int().unwrap_or_default();
    rules::is_port_number(number).into_iter().for_each(|message| errors.invalid(&at.path, number, message));
}

fn affinity(spec: &At<'_>, errors: &mut ErrorList) {
    const SECONDS_MAX: i64 = 86400;
    let (affinity, config) = (spec.at("sessionAffinity"), spec.at("sessionAffinityConfig"));
    affinity.required_one_of(errors, &["ClientIP", "None"]);
    if affinity.text() == "None" && config.present() {
        errors.forbidden(&config.path, "must not be set when session affinity is None");
    }
    if affinity.text() != "ClientIP" {
        return;
    }
    let chain = [config.clone(), config.at("clientIP"), config.to("clientIP.timeoutSeconds")];
    if let Some(missing) = chain.iter().find(|at| !at.present()) {
        return errors.required(&missing.path, "when session affinity type is ClientIP");
    }
    let [_, _, seconds] = chain;
    if seconds.int().is_some_and(|seconds| !(1..=SECONDS_MAX).contains(&seconds)) {
        seconds.invalid(errors, &format!("must be greater than 0 and less than {SECONDS_MAX}"));
    }
}

/// The rules of addresses and families alone: what does not follow them gets no address.
pub fn addresses(service: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    cluster_ips(&At::root(service).at("spec"), &mut errors);
    errors
}

/// Addresses and families, which say the same.
fn cluster_ips(spec: &At<'_>, errors: &mut ErrorList) {
    if spec.at("type").text() == "ExternalName" {
        return;
    }
    let (single, all, families) = (spec.at("clusterIP"), spec.at("clusterIPs"), spec.at("ipFamilies"));
    let given = all.items();
    match (single.empty(), given.first()) {
        (false, None) => errors.required(&all.path, ""),
        (false, Some(first)) if first.text() != single.text() => {
            all.invalid(errors, "first value must match `clusterIP`");
        }
        (true, Some(_)) => all.invalid(errors, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    family_rules(spec, &families, errors);
    let before = errors.len();
    for (index, ip) in given.iter().enumerate() {
        if index > 0 || ip.text() != "None" {
            errors.append(validate_ip(&ip.path, ip.text()));
        } else if given.len() > 1 {
            all.invalid(errors, "'None' must be the first and only value");
        }
    }
    let faulty = errors.len() > before;
    if given.len() > 2 {
        all.invalid(errors, "may only hold up to 2 values");
    }
    if faulty {
        return;
    }
    let sixes = given.iter().filter(|ip| rules::is_ipv6(ip.text())).count();
    if given.len() > 1 && (sixes == 0 || sixes == given.len()) {
        all.invalid(errors, "may specify no more than one IP for each IP family");
    }
    if !is_headless(spec) {
        match_families(&given, &families, errors);
    }
}

fn family_rules(spec: &At<'_>, families: &At<'_>, errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for family in families.items() {
        family.one_of(errors, &["IPv4", "IPv6"]);
        if seen.contains(&family.text()) {
            errors.duplicate(&family.path, family.text());
        }
        seen.push(family.text());
    }
    let policy = spec.at("ipFamilyPolicy");
    policy.one_of(errors, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    if seen.len() > 1 && policy.text() == "SingleStack" {
        let detail = "must be RequireDualStack or PreferDualStack when multiple IP families are specified";
        policy.invalid(errors, detail);
    }
}

fn match_families(given: &[At<'_>], families: &At<'_>, errors: &mut ErrorList) {
    for (index, (ip, family)) in given.iter().zip(families.items()).enumerate() {
        let own = if rules::is_ipv6(ip.text()) { "IPv6" } else { "IPv4" };
        if ["IPv4", "IPv6"].contains(&family.text()) && family.text() != own {
            let article = format!("expected an {} value as indicated by `ipFamilies[{index}]`", family.text());
            ip.invalid(errors, &article);
        }
    }
}

fn node_ports(spec: &At<'_>, errors: &mut ErrorList) {
    for node_port in spec.at("ports").items().iter().map(|port| port.at("nodePort")) {
        if spec.at("type").text() == "ClusterIP" && node_port.int().unwrap_or_default() != 0 {
            errors.forbidden(&node_port.path, "may not be used when `type` is 'ClusterIP'");
        }
    }
}

fn duplicate_ports(ports: &At<'_>, errors: &mut ErrorList) {
    for field in ["nodePort", "port"] {
        let mut seen = Vec::new();
        for port in ports.items() {
            let number = port.at(field).int().unwrap_or_default();
            let key = (port.at("protocol").text(), number);
            if number == 0 && field == "nodePort" {
                continue;
            }
            if seen.contains(&key) && field == "nodePort" {
                errors.duplicate(&port.path.child(field), number);
            } else if seen.contains(&key) {
                errors.duplicate(&port.path, json!({"protocol": key.0, "port": number}));
            }
            seen.push(key);
        }
    }
}

/// Upstream's path for these has a capital letter.
fn source_ranges(service: &At<'_>, errors: &mut ErrorList) {
    let spec = service.at("spec");
    let ranges = spec.at("loadBalancerSourceRanges");
    let balanced = spec.at("type").text() == "LoadBalancer";
    const DETAIL: &str = "may only be used when `type` is 'LoadBalancer'";
    if !ranges.empty() {
        let path = spec.path.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(&path, DETAIL);
        }
        for (index, range) in ranges.items().iter().enumerate() {
            errors.append(validate_cidr(&path.index(index), range.text().trim()));
        }
    } else if let Some(listed) = annotation(service, SOURCE_RANGES) {
        let path = Path::new("metadata.annotations").key(SOURCE_RANGES);
        if !balanced {
            errors.forbidden(&path, DETAIL);
        }
        let ranges = listed.trim().split(',').filter(|_| !listed.trim().is_empty());
        ranges.for_each(|range| errors.append(validate_cidr(&path, range.trim())));
    }
}

pub fn class(spec: &At<'_>, errors: &mut ErrorList) {
    let class = spec.at("loadBalancerClass");
    if class.present() && spec.at("type").text() != "LoadBalancer" {
        errors.forbidden(&class.path, "may only be used when `type` is 'LoadBalancer'");
    } else if class.present() {
        class.follows(errors, is_qualified_name);
    }
}

fn policies(spec: &At<'_>, errors: &mut ErrorList) {
    let kind = spec.at("type").text();
    let external = spec.at("externalTrafficPolicy");
    let reachable = NODE_PORT_TYPES.contains(&kind) || kind == "ClusterIP" && has_external_ips(spec.value);
    if reachable {
        external.required_one_of(errors, &["Cluster", "Local"]);
    } else if !external.empty() {
        external.invalid(errors, "may only be set for externally-accessible services");
    }
    let health = spec.at("healthCheckNodePort");
    let checked = kind == "LoadBalancer" && external.text() == "Local";
    if health.int().is_some_and(|port| port != 0) {
        if checked {
            port_number(&health, errors);
        } else {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            health.invalid(errors, detail);
        }
    }
    let internal = spec.at("internalTrafficPolicy");
    if kind == "ExternalName" {
        internal.one_of(errors, &["Cluster", "Local"]);
    } else {
        internal.present_one_of(errors, &["Cluster", "Local"]);
    }
    spec.at("trafficDistribution").one_of(errors, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
}

pub fn warnings(service: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = service.at("spec");
    let (kind, external) = (spec.at("type").text(), spec.at("externalIPs"));
    if annotation(service, TOPOLOGY_HINTS).is_some() {
        warnings.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    let headless = kind == "ClusterIP" && spec.at("clusterIP").text() == "None";
    let shown = |ip: &At<'_>| ip_warnings(&ip.path, ip.text());
    if !headless && kind != "ExternalName" {
        warnings.extend(spec.at("clusterIPs").items().iter().filter_map(shown));
    }
    if headless {
        let set = [
            (!spec.at("loadBalancerIP").empty(), "spec.loadBalancerIP"),
            (!external.empty(), "spec.externalIPs"),
            (spec.at("sessionAffinity").text() != "None", "spec.SessionAffinity"),
        ];
        let set = set.iter().filter(|(set, _)| *set);
        warnings.extend(set.map(|(_, name)| format!("{name} is ignored for headless services")));
    }
    warnings.extend(external.items().iter().filter_map(shown));
    if !external.empty() && !headless && kind != "ExternalName" {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !spec.at("loadBalancerIP").empty() {
        warnings.extend(shown(&spec.at("loadBalancerIP")));
    }
    let ranges = spec.at("loadBalancerSourceRanges").items();
    warnings.extend(ranges.iter().filter_map(|range| cidr_warnings(&range.path, range.text())));
    if kind == "ExternalName" && !external.empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if kind != "ExternalName" && !spec.at("externalName").empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.at("trafficDistribution").text() == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Service;
    use crate::strategy::Strategy;

    fn service(spec: &Value) -> Value {
        let mut service = json!({"metadata": {"name": "web"}, "spec": spec});
        Service.default(&mut service);
        service
    }

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.field, error.kind.reason())).collect()
    }

    #[test]
    fn causes_come_in_upstreams_order() {
        let ports = json!([{"port": 80}, {"port": 80, "name": "a", "targetPort": 70000}]);
        let spec = json!({
            "type": "ClusterIP", "ports": ports, "externalIPs": ["127.0.0.1"], "trafficDistribution": "X",
            "loadBalancerSourceRanges": ["10.0.0.0/33"], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "x"],
        });
        assert_eq!(
            causes(&Service.validate(&service(&spec))),
            [
                "spec.ports[0].name FieldValueRequired",
                "spec.ports[1].targetPort FieldValueInvalid",
                "spec.clusterIPs[1] FieldValueInvalid",
                "spec.externalIPs[0] FieldValueInvalid",
                "spec.ports[1] FieldValueDuplicate",
                "spec.LoadBalancerSourceRanges FieldValueForbidden",
                "spec.LoadBalancerSourceRanges[0] FieldValueInvalid",
                "spec.trafficDistribution FieldValueNotSupported",
            ]
        );
    }

    #[test]
    fn what_was_allocated_stays() {
        let with = |ips: Value| service(&json!({"ports": [{"port": 80}], "clusterIP": ips[0], "clusterIPs": ips}));
        let check = |old: Value, new: Value, expected: &[&str]| {
            assert_eq!(causes(&Service.validate_update(&with(new), &with(old))), expected);
        };
        check(json!(["10.0.0.1"]), json!(["10.0.0.1"]), &[]);
        check(json!(["10.0.0.1"]), json!(["10.0.0.2"]), &["spec.clusterIPs[0] FieldValueInvalid"]);
        check(json!(["10.0.0.1", "fd00::1"]), json!(["10.0.0.1"]), &["spec.ipFamilyPolicy FieldValueInvalid"]);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let spec = json!({"clusterIP": "None", "externalIPs": ["010.0.0.1"], "externalName": "a"});
        assert_eq!(
            Service.warnings(&service(&spec), None),
            [
                "spec.externalIPs is ignored for headless services",
                "spec.externalIPs[0]: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"",
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            ]
        );
    }
}
