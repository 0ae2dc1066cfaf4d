//! ResourceSlices: the devices that a driver offers.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::quantity::Quantity;
use apimachinery::table;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use serde_json::Value;

use super::device::{at_most, binding_conditions, driver_name, label, pool_name, qualified_name, taint, unique};
use crate::at::At;
use crate::cells::{list, name, text};
use crate::defaults::{items, lacks, present, remove};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy};

pub struct ResourceSlice;

const DEVICES_MAX: usize = 128;
const DEVICES_MAX_ADVANCED: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const ATTRIBUTE_LENGTH_MAX: usize = 64;
const VALUES_MAX: usize = 10;
/// Attributes of many values.
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const MAPPINGS: &str = "nodeAllocatableResourceMappings";

impl Strategy for ResourceSlice {
    fn prepare_for_create(&self, slice: &mut Value, context: &Context<'_>) {
        drop_what_is_alpha(slice, None);
        stamp_taints(slice, context.now);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        drop_what_is_alpha(new, Some(old));
        stamp_taints(new, context.now);
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let driver = text(new, "/spec/driver");
        let warning =
            || format!("spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters");
        (driver != driver.to_lowercase()).then(warning).into_iter().collect()
    }

    fn validate(&self, slice: &Value) -> ErrorList {
        validate(slice, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = validate(new, Some(old));
        let spec = At::root(new).at("spec");
        for field in ["pool.name", "driver", "nodeName"] {
            let before = At::root(old).at("spec").to(field);
            spec.to(field).immutable(&mut errors, before.value);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn reset_fields(&self, _subresource: &str) -> &'static [&'static str] {
        &[]
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Node"), Column::text("Driver"), Column::text("Pool"), Column::AGE] }
    }

    fn row(&self, slice: &Value, now: i64) -> Vec<Value> {
        let cell = |pointer: &str| Value::from(text(slice, pointer));
        vec![name(slice), cell("/spec/nodeName"), cell("/spec/driver"), cell("/spec/pool/name"), table::age(slice, now)]
    }

    fn fields(&self, slice: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.nodeName", text(slice, "/spec/nodeName").to_owned()),
            ("spec.driver", text(slice, "/spec/driver").to_owned()),
        ]
    }
}

/// Fields of features that are off as long as nobody turns them on: they stay where they were in use.
fn drop_what_is_alpha(slice: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&[][..], |old| list(old, "/spec/devices"));
    let lists =
        before.iter().any(|device| attributes_of(device).any(|one| LISTS.iter().any(|name| !one[name].is_null())));
    let mappings = before.iter().any(|device| !device[MAPPINGS].is_null());
    let Some(spec) = present(slice, "spec") else { return };
    for device in items(spec, "devices") {
        if !mappings {
            remove(device, MAPPINGS);
        }
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut).into_iter().flatten();
        for (_, attribute) in attributes.filter(|_| !lists) {
            LISTS.iter().for_each(|name| remove(attribute, name));
        }
    }
}

fn attributes_of(device: &Value) -> impl Iterator<Item = &Value> {
    device["attributes"].as_object().into_iter().flatten().map(|(_, attribute)| attribute)
}

/// A taint knows since when it is there.
fn stamp_taints(slice: &mut Value, now: &str) {
    let Some(spec) = present(slice, "spec") else { return };
    for device in items(spec, "devices") {
        for taint in items(device, "taints").filter(|taint| lacks(taint, "timeAdded")) {
            taint["timeAdded"] = now.into();
        }
    }
}

fn validate(slice: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::root(slice).at("spec");
    driver_name(&spec.at("driver"), &mut errors);
    pool(&spec.at("pool"), &mut errors);
    nodes_of_slice(&spec, &mut errors);
    if spec.at("sharedCounters").present() && spec.at("devices").present() {
        errors.invalid(&spec.path, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    devices(&spec, old, &mut errors);
    let sets = at_most(&spec.at("sharedCounters"), COUNTER_SETS_MAX, &mut errors);
    for set in &sets {
        counters(set, "name", &mut errors);
    }
    unique(&sets, |set| set.at("name").text().to_owned(), &mut errors);
    errors
}

fn pool(pool: &At<'_>, errors: &mut ErrorList) {
    pool_name(&pool.at("name"), errors);
    let (count, generation) = (pool.at("resourceSliceCount"), pool.at("generation"));
    if count.int().unwrap_or_default() <= 0 {
        errors.invalid(&count.path, count.int().unwrap_or_default(), "must be greater than zero");
    }
    if generation.int().is_some_and(|value| value < 0) {
        generation.invalid(errors, "must be greater than or equal to zero");
    }
}

fn nodes_of_slice(spec: &At<'_>, errors: &mut ErrorList) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut set = node_choices(spec, "must be either unset or set to a non-empty string", errors);
    let terms = spec.to("nodeSelector.nodeSelectorTerms");
    if spec.at("nodeSelector").present() && terms.items().len() != 1 {
        terms.invalid(errors, "must have exactly one node selector term");
    }
    flag(&spec.at("perDeviceNodeSelection"), &mut set, errors);
    if set.is_empty() {
        errors.required(&spec.path, ONE);
    } else if set.len() > 1 {
        errors.invalid(&spec.path, braces(&set), format!("{ONE}, but multiple fields are set"));
    }
}

fn braces(fields: &[String]) -> String {
    format!("{{{}}}", fields.join(", "))
}

/// Judges `nodeName`, `nodeSelector`, `allNodes` and says which are there.
fn node_choices(parent: &At<'_>, empty: &str, errors: &mut ErrorList) -> Vec<String> {
    let mut set = Vec::new();
    let node = parent.at("nodeName");
    if node.present() && node.empty() {
        node.invalid(errors, empty);
    } else if node.present() {
        set.push("`nodeName`".to_owned());
        node.follows(errors, is_dns1123_subdomain);
    }
    let selector = parent.at("nodeSelector");
    if selector.present() {
        set.push("`nodeSelector`".to_owned());
        pod_spec::node_selector(&selector, errors);
    }
    flag(&parent.at("allNodes"), &mut set, errors);
    set
}

fn flag(flag: &At<'_>, set: &mut Vec<String>, errors: &mut ErrorList) {
    if flag.is_true() {
        let name = flag.path.as_str().rsplit('.').next().unwrap_or_default();
        set.push(format!("`{name}`"));
    } else if flag.present() {
        flag.invalid(errors, "must be either unset or set to true");
    }
}

fn devices(spec: &At<'_>, old: Option<&Value>, errors: &mut ErrorList) {
    let list = spec.at("devices");
    let advanced = |device: &At<'_>| !device.at("taints").empty() || !device.at("consumesCounters").empty();
    let max = if list.items().iter().any(advanced) { DEVICES_MAX_ADVANCED } else { DEVICES_MAX };
    let all = at_most(&list, max, errors);
    let before = old.and_then(|old| old.pointer("/spec/devices")).and_then(Value::as_array);
    let before = before.map(Vec::as_slice).unwrap_or_default();
    for found in &all {
        let old = before.iter().find(|device| device["name"] == *found.at("name").value);
        device(found, old, spec.at("perDeviceNodeSelection").is_true(), errors);
    }
    unique(&all, |device| device.at("name").text().to_owned(), errors);
}

fn device(device: &At<'_>, old: Option<&Value>, own_nodes: bool, errors: &mut ErrorList) {
    label(&device.at("name"), errors);
    let (attributes, capacity) = (device.at("attributes"), device.at("capacity"));
    let total = attributes.entries().len() + capacity.entries().len();
    if total > ATTRIBUTES_AND_CAPACITIES_MAX {
        let detail =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES_MAX}");
        errors.invalid(&device.path, total, detail);
    }
    for (key, value) in attributes.entries() {
        qualified_name(&attributes, key, errors);
        attribute(&value, errors);
    }
    if old.is_none_or(|old| old["capacity"] != *capacity.value) {
        capacities(device, &capacity, errors);
    }
    if old.is_none_or(|old| old["taints"] != *device.at("taints").value) {
        at_most(&device.at("taints"), TAINTS_MAX, errors).iter().for_each(|found| taint(found, errors));
    }
    let consumed = at_most(&device.at("consumesCounters"), CONSUMPTIONS_MAX, errors);
    consumed.iter().for_each(|set| counters(set, "counterSet", errors));
    unique(&consumed, |set| set.at("counterSet").text().to_owned(), errors);
    nodes_of_device(device, own_nodes, errors);
    binding_conditions(device, errors);
}

fn nodes_of_device(device: &At<'_>, own_nodes: bool, errors: &mut ErrorList) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                       `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    if own_nodes {
        let set = node_choices(device, "must not be empty", errors);
        match set.len() {
            0 => errors.required(&device.path, ONE),
            1 => {}
            _ => errors.invalid(&device.path, braces(&set), ONE),
        }
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| device.at(field).present()) {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                      true in the ResourceSlice spec";
        errors.invalid(&device.path, Value::Null, detail);
    }
}

fn attribute(attribute: &At<'_>, errors: &mut ErrorList) {
    let version = attribute.at("version");
    if version.present() && !is_semver(version.text()) {
        version.invalid(errors, "must be a string compatible with semver.org spec 2.0.0");
    }
    for field in ["string", "version"] {
        let value = attribute.at(field);
        if value.text().len() > ATTRIBUTE_LENGTH_MAX {
            errors.push(FieldError::too_long(&value.path, ATTRIBUTE_LENGTH_MAX));
        }
    }
    let set = attribute.value.as_object().map_or(0, |map| map.values().filter(|value| !value.is_null()).count());
    if set != 1 {
        let shown = if set == 0 { Value::from("") } else { attribute.value.clone() };
        errors.invalid(&attribute.path, shown, "exactly one value must be specified");
    }
}

fn is_semver(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn capacities(device: &At<'_>, capacity: &At<'_>, errors: &mut ErrorList) {
    let shared = device.at("allowMultipleAllocations").is_true();
    for (key, value) in capacity.entries() {
        qualified_name(capacity, key, errors);
        let policy = value.at("requestPolicy");
        if !policy.present() {
            continue;
        }
        if !shared {
            errors.forbidden(&policy.path, "allowMultipleAllocations must be true");
        } else if let Some(max) = value.at("value").quantity() {
            request_policy(&policy, max, errors);
        }
    }
}

/// How much of a shared capacity may be asked for.
fn request_policy(policy: &At<'_>, max: Quantity, errors: &mut ErrorList) {
    let (values, range, default) = (policy.at("validValues"), policy.at("validRange"), policy.at("default"));
    if !values.empty() && range.present() {
        let detail =
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        return errors.forbidden(&policy.path, detail);
    }
    match (default.quantity(), !values.empty(), range.present()) {
        (None, true, _) => errors.required(&default.path, "required when validValues is defined"),
        (None, _, true) => errors.required(&default.path, "required when validRange is defined"),
        (Some(default), true, _) => valid_values(&values, default, max, errors),
        (Some(default), _, true) => valid_range(&range, default, max, errors),
        _ => {}
    }
}

fn valid_values(values: &At<'_>, default: Quantity, max: Quantity, errors: &mut ErrorList) {
    let all = at_most(values, VALUES_MAX, errors);
    let quantities: Vec<Quantity> = all.iter().map(|value| Quantity::of(value.value)).collect();
    for (value, quantity) in all.iter().zip(&quantities) {
        if *quantity > max {
            value.invalid(errors, &format!("option is larger than capacity value: {max}"));
        }
    }
    for (index, value) in all.iter().enumerate().skip(1) {
        if quantities[index - 1] > quantities[index] {
            value.invalid(errors, "values must be sorted in ascending order");
        }
    }
    unique(&all, |value| Quantity::of(value.value).to_string(), errors);
    if !quantities.contains(&default) {
        errors.invalid(&values.path, default.to_string(), "default value is not valid according to the requestPolicy");
    }
}

fn valid_range(range: &At<'_>, default: Quantity, capacity: Quantity, errors: &mut ErrorList) {
    let (Some(min), max) = (range.at("min").quantity(), range.at("max").quantity()) else {
        return errors.required(&range.path.child("min"), "required when validRange is defined");
    };
    let refuse = |errors: &mut ErrorList, field: &str, value: Quantity, detail: String| {
        errors.invalid(&range.path.child(field), value.to_string(), detail);
    };
    if min > capacity {
        refuse(errors, "min", min, format!("min is larger than capacity value: {capacity}"));
    }
    if default < min {
        refuse(errors, "min", default, format!("default is less than min: {min}"));
    }
    if let Some(max) = max {
        if min > max {
            refuse(errors, "max", min, format!("min is larger than max: {max}"));
        }
        if max > capacity {
            refuse(errors, "max", max, format!("max is larger than capacity value: {capacity}"));
        }
        if default > max {
            refuse(errors, "max", default, format!("default is more than max: {max}"));
        }
    }
    let Some(step) = range.at("step").quantity() else { return };
    if step <= Quantity::default() {
        return refuse(errors, "step", step, "must be greater than zero".into());
    }
    if min + step > capacity {
        let added = min + step;
        refuse(errors, "step", step, format!("one step {added} is larger than capacity value: {capacity}"));
    }
    for value in [Some(default), max].into_iter().flatten() {
        step_fits(&range.path.child("step"), value, min, step, errors);
    }
}

fn step_fits(path: &Path, value: Quantity, min: Quantity, step: Quantity, errors: &mut ErrorList) {
    let fits = (value.value() - min.value()).checked_rem(step.value()) == Some(0);
    if !fits {
        errors.invalid(
            path,
            value.to_string(),
            format!("value is not a multiple of a given step ({step}) from ({min})"),
        );
    }
}

/// A named set of counters; `name` is the field that names it.
fn counters(set: &At<'_>, name: &str, errors: &mut ErrorList) {
    if set.at(name).required(errors, "") {
        label(&set.at(name), errors);
    }
    let counters = set.at("counters");
    if !counters.required(errors, "") {
        return;
    }
    let all = counters.entries();
    if all.len() > COUNTERS_MAX {
        return errors.push(FieldError::too_many(&counters.path, all.len(), COUNTERS_MAX));
    }
    for (key, _) in all {
        errors.invalid_all(&counters.path, key, is_dns1123_label(key));
    }
}
