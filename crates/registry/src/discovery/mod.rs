//! The group `discovery.k8s.io`.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::table;
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_ipv4, is_ipv6, is_label_value, is_qualified_name, validate_ip,
};
use serde_json::Value;

use crate::at::{At, duplicates};
use crate::cells::{list, name, text};
use crate::defaults::{items, set};
use crate::strategy::{Column, Strategy};

/// EndpointSlices.
pub struct EndpointSlice;

const SHOWN: usize = 3;
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const ZONES_MAX: usize = 8;

impl Strategy for EndpointSlice {
    fn default(&self, slice: &mut Value) {
        for port in items(slice, "ports") {
            set(port, "protocol", "TCP");
            if port.get("name").is_none() {
                port["name"] = "".into();
            }
        }
    }

    fn validate(&self, slice: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(slice);
        let kind = root.at("addressType");
        kind.required_one_of(&mut errors, &["FQDN", "IPv4", "IPv6"]);
        limit(&root.at("endpoints"), ENDPOINTS_MAX, &mut errors);
        limit(&root.at("ports"), PORTS_MAX, &mut errors);
        for endpoint in root.at("endpoints").items() {
            zones(&endpoint, &mut errors);
            addresses(&endpoint.at("addresses"), kind.text(), &mut errors);
            if !endpoint.at("hostname").empty() {
                endpoint.at("hostname").follows(&mut errors, is_dns1123_label);
            }
        }
        for port in root.at("ports").items() {
            if !port.at("name").empty() {
                port.at("name").follows(&mut errors, is_dns1123_label);
            }
            port.at("protocol").required_one_of(&mut errors, &["SCTP", "TCP", "UDP"]);
            if port.at("appProtocol").present() {
                port.at("appProtocol").follows(&mut errors, is_qualified_name);
            }
        }
        let names: Vec<At<'_>> = root.at("ports").items().iter().map(|port| port.at("name")).collect();
        duplicates(&mut errors, names.iter().filter(|name| !name.empty()).cloned());
        if names.iter().filter(|name| name.empty()).count() > 1 {
            let last = names.iter().rfind(|name| name.empty()).expect("there are two");
            errors.duplicate(&last.path, "");
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

fn limit(list: &At<'_>, max: usize, errors: &mut ErrorList) {
    if list.items().len() > max {
        errors.push(FieldError::too_many(&list.path, list.items().len(), max));
    }
}

/// For which zones an endpoint is meant.
fn zones(endpoint: &At<'_>, errors: &mut ErrorList) {
    let zones = endpoint.to("hints.forZones");
    limit(&zones, ZONES_MAX, errors);
    duplicates(errors, zones.items().iter().map(|zone| zone.at("name")));
    for name in zones.items().iter().map(|zone| zone.at("name")) {
        if name.required(errors, "") {
            name.follows(errors, is_label_value);
        }
    }
    if endpoint.at("nodeName").present() {
        endpoint.at("nodeName").follows(errors, is_dns1123_subdomain);
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
            "IPv4" if !is_ipv4(address.text()) => {
                errors.append(validate_ip(&address.path, address.text()));
                if is_ipv6(address.text()) {
                    address.invalid(errors, "must be an IPv4 address");
                }
            }
            "IPv6" if !is_ipv6(address.text()) => address.invalid(errors, "must be an IPv6 address"),
            "FQDN" => address.follows(errors, apimachinery::validation::is_dns1123_subdomain),
            _ => {}
        }
        if kind != "FQDN" {
            errors.append(crate::core::special_ip(&address));
        }
    }
}
