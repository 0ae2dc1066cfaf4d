//! NetworkPolicies.

use std::net::IpAddr;

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{cidr_warnings, is_port_name, label_selector, parse_cidr, validate_cidr};
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{name, selector};
use crate::defaults::{items, object, set};
use crate::strategy::{Column, Strategy};

pub struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn default(&self, policy: &mut Value) {
        let Some(spec) = object(policy, "spec") else { return };
        for direction in ["ingress", "egress"] {
            for rule in items(spec, direction) {
                items(rule, "ports").for_each(|port| set(port, "protocol", "TCP"));
            }
        }
        if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
            let egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
            spec["policyTypes"] = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = At::root(new).at("spec");
        let peers = [("ingress", "from"), ("egress", "to")].map(|(direction, peers)| {
            spec.at(direction).items().iter().flat_map(|rule| rule.at(peers).items()).collect::<Vec<_>>()
        });
        let blocks = peers.iter().flatten().map(|peer| peer.at("ipBlock")).filter(At::present);
        let ranges = blocks.flat_map(|block| [vec![block.at("cidr")], block.at("except").items()].concat());
        ranges.filter_map(|range| cidr_warnings(&range.path, range.text())).collect()
    }

    fn validate(&self, policy: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(policy).at("spec");
        errors.append(label_selector(spec.at("podSelector").value, &spec.path.child("podSelector")));
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec.at(direction).items() {
                rule.at("ports").items().iter().for_each(|found| port(found, &mut errors));
                rule.at(peers).items().iter().for_each(|found| peer(found, &mut errors));
            }
        }
        let types = spec.at("policyTypes");
        if types.items().len() > 2 {
            types.invalid(&mut errors, "may not specify more than two policyTypes");
            return errors;
        }
        types.items().iter().for_each(|found| found.one_of(&mut errors, &["Egress", "Ingress"]));
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Pod-Selector"), Column::AGE] }
    }

    fn row(&self, policy: &Value, now: i64) -> Vec<Value> {
        vec![name(policy), selector(policy.pointer("/spec/podSelector")).into(), table::age(policy, now)]
    }
}

fn port(port: &At<'_>, errors: &mut ErrorList) {
    port.at("protocol").one_of(errors, &["SCTP", "TCP", "UDP"]);
    let (number, end) = (port.at("port"), port.at("endPort"));
    match number.value {
        Value::String(text) => {
            errors.invalid_all(&number.path, text, is_port_name(text));
            if end.present() {
                end.invalid(errors, "may not be specified when `port` is non-numeric");
            }
        }
        Value::Number(_) => {
            number.in_range(errors, 1, 65535);
            if end.int().is_some_and(|end| end < number.int().unwrap_or_default()) {
                end.invalid(errors, "must be greater than or equal to `port`");
            }
            end.in_range(errors, 1, 65535);
        }
        _ if end.present() => end.invalid(errors, "may not be specified when `port` is not specified"),
        _ => {}
    }
}

fn peer(peer: &At<'_>, errors: &mut ErrorList) {
    let (pods, namespaces, block) = (peer.at("podSelector"), peer.at("namespaceSelector"), peer.at("ipBlock"));
    if !pods.present() && !namespaces.present() && !block.present() {
        errors.required(&peer.path, "must specify a peer");
    }
    if block.present() && (pods.present() || namespaces.present()) {
        errors.forbidden(&peer.path, "may not specify both ipBlock and another peer");
    }
    for at in [&pods, &namespaces] {
        errors.append(label_selector(at.value, &at.path));
    }
    if block.present() {
        ranges(&block, errors);
    }
}

/// A range, and what of it is left out.
fn ranges(block: &At<'_>, errors: &mut ErrorList) {
    let cidr = block.at("cidr");
    if !cidr.required(errors, "") {
        return;
    }
    errors.append(validate_cidr(&cidr.path, cidr.text()));
    if parse_cidr(cidr.text()).is_none() {
        return;
    }
    for except in block.at("except").items() {
        errors.append(validate_cidr(&except.path, except.text()));
        if !within(except.text(), block.at("cidr").text()) {
            except.invalid(errors, "must be a strict subset of `cidr`");
        }
    }
}

/// Whether the one range lies in the other and is smaller.
fn within(small: &str, large: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()) << 96, 4),
        IpAddr::V6(six) => (six.to_bits(), 6),
    };
    let (Some((address, length)), Some((base, prefix))) = (parse_cidr(small), parse_cidr(large)) else { return true };
    let ((address, family), (base, other)) = (bits(address), bits(base));
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
    family == other && length > prefix && address & mask == base & mask
}
