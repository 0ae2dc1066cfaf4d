//! The group `discovery.k8s.io`.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{
    ip_warnings, is_dns1123_label, is_dns1123_subdomain, is_ipv4, is_ipv6, is_label_value, is_qualified_name,
    object_meta, validate_ip,
};
use apimachinery::{object, table};
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, name, text};
use crate::defaults::{items, set};
use crate::strategy::{Column, Strategy};

/// EndpointSlices.
pub struct EndpointSlice;

const MENDERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
const SHOWN: usize = 3;
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const HINTS_MAX: usize = 8;
const TOPOLOGY_MAX: usize = 16;

impl Strategy for EndpointSlice {
    fn default(&self, slice: &mut Value) {
        for port in items(slice, "ports") {
            set(port, "protocol", "TCP");
            if port.get("name").is_none() {
                port["name"] = "".into();
            }
        }
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && text(new, "/addressType") == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        // The controllers mend addresses themselves.
        if object::label(new, "endpointslice.kubernetes.io/managed-by").is_some_and(|name| MENDERS.contains(&name)) {
            return warnings;
        }
        let endpoints = At::root(new).at("endpoints").items();
        let addresses = endpoints.iter().flat_map(|endpoint| endpoint.at("addresses").items());
        warnings.extend(addresses.filter_map(|ip| ip_warnings(&ip.path, ip.text())));
        warnings
    }

    fn validate(&self, slice: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(slice);
        let kind = root.at("addressType");
        kind.required_one_of(&mut errors, &["FQDN", "IPv4", "IPv6"]);
        if limit(&root.at("endpoints"), ENDPOINTS_MAX, &mut errors) {
            root.at("endpoints").items().iter().for_each(|found| endpoint(found, kind.text(), &mut errors));
        }
        if limit(&root.at("ports"), PORTS_MAX, &mut errors) {
            ports(&root.at("ports"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        At::root(new).at("addressType").immutable(&mut errors, &old["addressType"]);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        let labels = |slice: &Value| slice.pointer("/metadata/labels").cloned();
        old["endpoints"] != new["endpoints"] || old["ports"] != new["ports"] || labels(old) != labels(new)
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("AddressType"), Column::text("Ports"), Column::text("Endpoints"), Column::AGE] }
    }

    fn row(&self, slice: &Value, now: i64) -> Vec<Value> {
        let ports = list(slice, "/ports").iter().map(port_cell).collect();
        let addresses = list(slice, "/endpoints")
            .iter()
            .flat_map(|endpoint| list(endpoint, "/addresses"))
            .map(|address| address.as_str().unwrap_or_default().to_owned())
            .collect();
        vec![
            name(slice),
            text(slice, "/addressType").into(),
            shorten(ports, "<unset>").into(),
            shorten(addresses, "<unset>").into(),
            table::age(slice, now),
        ]
    }
}

/// Whether the list is short enough to be judged.
fn limit(list: &At<'_>, max: usize, errors: &mut ErrorList) -> bool {
    let count = list.items().len();
    if count > max {
        errors.push(FieldError::too_many(&list.path, count, max));
    }
    count <= max
}

fn endpoint(endpoint: &At<'_>, kind: &str, errors: &mut ErrorList) {
    addresses(&endpoint.at("addresses"), kind, errors);
    if endpoint.at("nodeName").present() {
        endpoint.at("nodeName").follows(errors, is_dns1123_subdomain);
    }
    let topology = endpoint.at("deprecatedTopology");
    if topology.entries().len() > TOPOLOGY_MAX {
        errors.push(FieldError::too_many(&topology.path, topology.entries().len(), TOPOLOGY_MAX));
    }
    errors.append(object_meta::labels(topology.value, &topology.path));
    if endpoint.at("hostname").present() {
        endpoint.at("hostname").follows(errors, is_dns1123_label);
    }
    let hints = endpoint.at("hints");
    named_once(&hints.at("forZones"), is_label_value, errors);
    named_once(&hints.at("forNodes"), is_dns1123_subdomain, errors);
}

/// For which zones, or nodes, an endpoint is meant.
fn named_once(list: &At<'_>, rule: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if !limit(list, HINTS_MAX, errors) {
        return;
    }
    let mut seen = Vec::new();
    for name in list.items().iter().map(|item| item.at("name")) {
        if seen.contains(&name.text()) {
            errors.duplicate(&name.path, name.text());
        }
        seen.push(name.text());
        name.follows(errors, &rule);
    }
}

fn ports(ports: &At<'_>, errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.empty() {
            name.follows(errors, is_dns1123_label);
        }
        if seen.contains(&name.text()) {
            errors.duplicate(&name.path, name.text());
        }
        seen.push(name.text());
        port.at("protocol").required_one_of(errors, &["SCTP", "TCP", "UDP"]);
        if port.at("appProtocol").present() {
            port.at("appProtocol").follows(errors, is_qualified_name);
        }
    }
}

fn port_cell(port: &Value) -> String {
    match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => match text(port, "/name") {
            "" => "*".into(),
            name => name.to_owned(),
        },
    }
}

fn shorten(all: Vec<String>, none: &str) -> String {
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => none.to_owned(),
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}

fn addresses(addresses: &At<'_>, kind: &str, errors: &mut ErrorList) {
    if addresses.empty() {
        errors.required(&addresses.path, "must contain at least 1 address");
    }
    limit(addresses, ADDRESSES_MAX, errors);
    for address in addresses.items() {
        match kind {
            "IPv4" => ip(&address, is_ipv4, "must be an IPv4 address", errors),
            "IPv6" => ip(&address, is_ipv6, "must be an IPv6 address", errors),
            "FQDN" => domain(&address, errors),
            _ => {}
        }
    }
}

fn ip(address: &At<'_>, family: impl Fn(&str) -> bool, detail: &str, errors: &mut ErrorList) {
    let wrong = validate_ip(&address.path, address.text());
    if wrong.is_empty() && !family(address.text()) {
        address.invalid(errors, detail);
    }
    errors.append(wrong);
    errors.append(crate::core::special_ip(address));
}

/// A name of two parts at least; a trailing dot is let through.
fn domain(name: &At<'_>, errors: &mut ErrorList) {
    if !name.required(errors, "") {
        return;
    }
    let text = name.text().strip_suffix('.').unwrap_or(name.text());
    let wrong = is_dns1123_subdomain(text);
    if !wrong.is_empty() {
        return errors.invalid_all(&name.path, text, wrong);
    }
    if !text.contains('.') {
        return errors.invalid(&name.path, text, "should be a domain with at least two segments separated by dots");
    }
    text.split('.').for_each(|label| errors.invalid_all(&name.path, label, is_dns1123_label(label)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(slice: Value, expected: &[&str]) {
        let errors = EndpointSlice.validate(&slice);
        let reason = |error: &FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        let causes: Vec<String> = errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect();
        assert_eq!(causes, expected);
    }

    #[test]
    fn addresses_are_of_the_family_that_is_said() {
        let slice = |kind: &str, address: &str| json!({"addressType": kind, "endpoints": [{"addresses": [address]}]});
        let place = "endpoints[0].addresses[0] Invalid";
        check(slice("IPv4", "10.0.0.1"), &[]);
        check(slice("IPv4", "fd00::1"), &[place]);
        check(slice("IPv6", "10.0.0.1"), &[place]);
        check(slice("IPv4", "localhost"), &[place]);
        check(slice("FQDN", "example.com."), &[]);
        check(slice("FQDN", "localhost"), &[place]);
    }

    #[test]
    fn hints_and_ports_are_named_once() {
        let hints = json!({"forZones": [{"name": "a"}, {"name": "a"}], "forNodes": [{"name": "A_b"}]});
        let endpoint = json!({"addresses": ["10.0.0.1"], "hostname": "", "hints": hints});
        let ports = json!([{"name": "", "protocol": "TCP"}, {"name": "", "protocol": "TCP"}]);
        check(
            json!({"addressType": "IPv4", "endpoints": [endpoint], "ports": ports}),
            &[
                "endpoints[0].hostname Invalid",
                "endpoints[0].hints.forZones[1].name Duplicate",
                "endpoints[0].hints.forNodes[0].name Invalid",
                "ports[1].name Duplicate",
            ],
        );
    }
}
