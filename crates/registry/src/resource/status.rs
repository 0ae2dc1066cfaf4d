//! The status of a ResourceClaim: what was allocated, for whom, and how the devices are.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, FieldError};
use serde_json::Value;

use super::claim::{RequestNames, deleted};
use super::device::{
    CONFIGS_MAX, at_most, binding_conditions, configuration, driver_name, label, pool_name, raw, toleration, uid,
    unique,
};
use crate::at::{At, duplicates};
use crate::{conditions, pod_spec};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const CONDITIONS_MAX: usize = 8;
const DATA_MAX: usize = 10 * 1024;
const INTERFACE_NAME_MAX: usize = 256;
const HARDWARE_ADDRESS_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;

/// Driver, pool, device and share.
fn device_id(device: &Value) -> String {
    let part = |name: &str| device[name].as_str().unwrap_or_default();
    match part("shareID") {
        "" => format!("{}/{}/{}", part("driver"), part("pool"), part("device")),
        share => format!("{}/{}/{}/{share}", part("driver"), part("pool"), part("device")),
    }
}

fn allocated(claim: &Value) -> HashSet<String> {
    let results = claim.pointer("/status/allocation/devices/results").and_then(Value::as_array);
    results.into_iter().flatten().map(device_id).collect()
}

/// Forgets how devices are that are no longer allocated.
pub fn drop_deallocated(new: &mut Value, old: &Value) {
    let (before, after) = (allocated(old), allocated(new));
    let Some(devices) = new.pointer_mut("/status/devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|device| {
        let id = device_id(device);
        !before.contains(&id) || after.contains(&id)
    });
    if devices.is_empty() {
        crate::defaults::remove(&mut new["status"], "devices");
    }
}

pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = At::root(new);
    let status = root.at("status");
    consumers(new, old, &status, &mut errors);
    let devices = status.at("devices").items();
    let known = allocated(new);
    devices.iter().for_each(|found| device(found, &known, &mut errors));
    unique(&devices, |device| device_id(device.value), &mut errors);
    let (allocation, before) = (status.at("allocation"), &old["status"]["allocation"]);
    if allocation.present() && before.is_object() {
        allocation.immutable(&mut errors, before);
    } else if allocation.present() {
        allocation_result(&allocation, &RequestNames::of(&root.at("spec")), &mut errors);
    }
    errors
}

fn consumers(new: &Value, old: &Value, status: &At<'_>, errors: &mut ErrorList) {
    let reserved = status.at("reservedFor");
    let all = at_most(&reserved, CONSUMERS_MAX, errors);
    for consumer in &all {
        for field in ["resource", "name", "uid"] {
            consumer.at(field).required(errors, "");
        }
    }
    unique(&all, |consumer| consumer.at("uid").text().to_owned(), errors);
    if reserved.empty() {
        return;
    }
    if !status.at("allocation").present() {
        errors.forbidden(&reserved.path, "may not be specified when `allocated` is not set");
    } else if deleted(new) {
        let before = old["status"]["reservedFor"].as_array().map(Vec::as_slice).unwrap_or_default();
        if reserved.items().iter().any(|consumer| !before.contains(consumer.value)) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&reserved.path, detail);
        }
    }
}

fn device(device: &At<'_>, allocated: &HashSet<String>, errors: &mut ErrorList) {
    driver_name(&device.at("driver"), errors);
    pool_name(&device.at("pool"), errors);
    label(&device.at("device"), errors);
    share(device, errors);
    let id = device_id(device.value);
    if !allocated.contains(&id) {
        errors.invalid(&device.path, id, "must be an allocated device in the claim");
    }
    let found = device.at("conditions");
    if found.items().len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(&found.path, found.items().len(), CONDITIONS_MAX));
    }
    conditions::validate(&found, errors);
    if device.at("data").present() {
        raw(&device.at("data"), false, DATA_MAX, errors);
    }
    network(&device.at("networkData"), errors);
}

fn share(parent: &At<'_>, errors: &mut ErrorList) {
    let share = parent.at("shareID");
    if share.present() {
        uid(&share, errors);
    }
}

fn network(data: &At<'_>, errors: &mut ErrorList) {
    for (field, max) in [("interfaceName", INTERFACE_NAME_MAX), ("hardwareAddress", HARDWARE_ADDRESS_MAX)] {
        if data.at(field).text().len() > max {
            errors.push(FieldError::too_long(&data.at(field).path, max));
        }
    }
    let addresses = at_most(&data.at("ips"), ADDRESSES_MAX, errors);
    for address in &addresses {
        match apimachinery::validation::parse_cidr(address.text()).map(|(ip, length)| format!("{ip}/{length}")) {
            Some(canonical) if canonical == address.text() => {}
            Some(canonical) => address.invalid(errors, &format!("must be in canonical form ({canonical:?})")),
            None => {
                let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
                address.invalid(errors, detail);
            }
        }
    }
    duplicates(errors, addresses);
}

fn allocation_result(allocation: &At<'_>, names: &RequestNames<'_>, errors: &mut ErrorList) {
    let devices = allocation.at("devices");
    for result in at_most(&devices.at("results"), RESULTS_MAX, errors) {
        names.reference(&result.at("request"), errors);
        driver_name(&result.at("driver"), errors);
        pool_name(&result.at("pool"), errors);
        label(&result.at("device"), errors);
        binding_conditions(&result, errors);
        result.at("tolerations").items().iter().for_each(|found| toleration(found, errors));
        share(&result, errors);
    }
    for config in at_most(&devices.at("config"), 2 * CONFIGS_MAX, errors) {
        config.at("source").required_one_of(errors, &["FromClaim", "FromClass"]);
        names.references(&config.at("requests"), errors);
        configuration(&config, false, errors);
    }
    let selector = allocation.at("nodeSelector");
    if selector.present() {
        pod_spec::node_selector(&selector, errors);
    }
}
