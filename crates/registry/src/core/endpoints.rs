//! Endpoints.

use std::net::IpAddr;

use apimachinery::field::ErrorList;
use apimachinery::validation::{
    ip_warnings, is_dns1123_label, is_dns1123_subdomain, is_port_number, is_qualified_name, parse_ip, validate_ip,
};
use apimachinery::{object, table};
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, name, text};
use crate::defaults::{items, set};
use crate::strategy::{Column, Strategy};

pub struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items(object, "subsets") {
            items(subset, "ports").for_each(|port| set(port, "protocol", "TCP"));
        }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        // The controller mends addresses itself.
        if object::label(new, "endpoints.kubernetes.io/managed-by") == Some("endpoint-controller") {
            return Vec::new();
        }
        let subsets = At::root(new).at("subsets").items();
        let lists = subsets.iter().flat_map(|subset| ["addresses", "notReadyAddresses"].map(|list| subset.at(list)));
        let addresses = lists.flat_map(|list| list.items()).map(|address| address.at("ip"));
        addresses.filter_map(|ip| ip_warnings(&ip.path, ip.text())).collect()
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for subset in At::root(object).at("subsets").items() {
            if subset.at("addresses").empty() && subset.at("notReadyAddresses").empty() {
                errors.required(&subset.path, "must specify `addresses` or `notReadyAddresses`");
            }
            for address in subset.at("addresses").items().iter().chain(&subset.at("notReadyAddresses").items()) {
                let ip = address.at("ip");
                errors.append(validate_ip(&ip.path, ip.text()));
                let (host, node) = (address.at("hostname"), address.at("nodeName"));
                if !host.empty() {
                    host.follows(&mut errors, is_dns1123_label);
                }
                if node.present() {
                    node.follows(&mut errors, is_dns1123_subdomain);
                }
                errors.append(special_ip(&ip));
            }
            let several = subset.at("ports").items().len() > 1;
            subset.at("ports").items().iter().for_each(|found| port(found, several, &mut errors));
        }
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Endpoints"), Column::AGE] }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![name(object), cell(object).into(), table::age(object, now)]
    }
}

fn port(port: &At<'_>, several: bool, errors: &mut ErrorList) {
    let (name, number) = (port.at("name"), port.at("port"));
    if several && name.empty() {
        name.required(errors, "");
    } else if !name.empty() {
        name.follows(errors, is_dns1123_label);
    }
    let value = number.int().unwrap_or_default();
    for message in is_port_number(value) {
        errors.invalid(&number.path, value, message);
    }
    port.at("protocol").required_one_of(errors, &["SCTP", "TCP", "UDP"]);
    if port.at("appProtocol").present() {
        port.at("appProtocol").follows(errors, is_qualified_name);
    }
}

/// Addresses that must not be endpoints: they would reach the node itself.
pub fn special_ip(ip: &At<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(address) = parse_ip(ip.text()) else { return errors };
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || (v4.is_multicast() && v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || (v6.is_multicast() && v6.segments()[0] & 0xf == 2),
    };
    if address.is_unspecified() {
        ip.invalid(&mut errors, "may not be unspecified (0.0.0.0)");
    } else if address.is_loopback() {
        ip.invalid(&mut errors, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if link_local {
        ip.invalid(&mut errors, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    errors
}

fn cell(object: &Value) -> String {
    const SHOWN: usize = 3;
    let subsets = list(object, "/subsets");
    if subsets.is_empty() {
        return "<none>".into();
    }
    let all: Vec<String> = subsets.iter().flat_map(endpoints).collect();
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}

/// Port by port, each with all addresses.
fn endpoints(subset: &Value) -> Vec<String> {
    let addresses = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
    match list(subset, "/ports") {
        [] => addresses().map(str::to_owned).collect(),
        ports => ports.iter().flat_map(|port| addresses().map(|ip| host_port(ip, &port["port"]))).collect(),
    }
}

fn host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_shown_port_by_port() {
        let subset =
            json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]});
        assert_eq!(cell(&json!({"subsets": [subset]})), "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...");
        assert_eq!(cell(&json!({"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}]}]})), "");
        assert_eq!(cell(&json!({})), "<none>");
    }
}
