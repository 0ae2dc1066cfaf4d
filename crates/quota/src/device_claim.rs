//! What ResourceClaims use: devices, by their class.

use apimachinery::Quantity;
use apimachinery::quantity::Format;
use serde_json::Value;

use crate::usage::{self, Usage, count};

const CLAIMS: &str = "count/resourceclaims.resource.k8s.io";
/// After the name of a class.
const OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// A claim for all devices gets so many at most.
const DEVICES_MAX: i64 = 32;

pub fn counts(name: &str) -> bool {
    name == CLAIMS || name.ends_with(OF_CLASS)
}

pub fn usage(claim: &Value) -> Usage {
    let mut used: Usage = [(CLAIMS.to_owned(), count(1))].into();
    let requests = claim.pointer("/spec/devices/requests").and_then(Value::as_array);
    for request in requests.into_iter().flatten() {
        used = usage::add(used, &devices(request));
    }
    used
}

/// Of alternatives, the most of each class.
fn devices(request: &Value) -> Usage {
    let alternatives = request["firstAvailable"].as_array().filter(|list| !list.is_empty());
    let Some(alternatives) = alternatives else { return wanted(&request["exactly"]).into_iter().collect() };
    let mut most = Usage::new();
    for (name, amount) in alternatives.iter().filter_map(wanted) {
        let known = most.get(&name).copied();
        most.insert(name, known.map_or(amount, |known| known.max(amount)));
    }
    most
}

/// A mode that is not known asks for nothing.
fn wanted(request: &Value) -> Option<(String, Quantity)> {
    let devices = match request["allocationMode"].as_str().unwrap_or("ExactCount") {
        "ExactCount" => request["count"].as_i64().unwrap_or(1),
        "All" => DEVICES_MAX,
        _ => return None,
    };
    let class = request["deviceClassName"].as_str()?;
    Some((format!("{class}{OF_CLASS}"), Quantity::from_units(devices, Format::DecimalSi)))
}
