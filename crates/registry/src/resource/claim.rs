//! ResourceClaims and their templates.

use std::collections::{HashMap, HashSet};

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, object_meta};
use apimachinery::{object, table};
use serde_json::Value;

use super::device::{CONFIGS_MAX, at_most, configuration, fully_qualified_name, label, selectors, toleration, unique};
use super::status;
use crate::at::{At, duplicates};
use crate::cells::{name, text};
use crate::defaults::{items, present, set, set_nonzero};
use crate::strategy::{Column, NameRule, Strategy, keep_all_but_the_status};

pub struct ResourceClaim;
pub struct ResourceClaimTemplate;

const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;

impl Strategy for ResourceClaim {
    fn default(&self, claim: &mut Value) {
        if let Some(devices) = present(claim, "spec").and_then(|spec| present(spec, "devices")) {
            items(devices, "requests").for_each(default_request);
        }
    }

    fn validate(&self, claim: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        validate_spec(&At::root(claim).at("spec"), &mut errors);
        errors
    }

    /// What cannot change was judged when it came.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        At::root(new).at("spec").immutable(&mut errors, &old["spec"]);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_the_status(new, old);
        status::drop_deallocated(new, old);
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        status::validate_update(new, old)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::DnsSubdomain
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("State"), Column::AGE] }
    }

    fn row(&self, claim: &Value, now: i64) -> Vec<Value> {
        vec![name(claim), state(claim).into(), table::age(claim, now)]
    }
}

fn state(claim: &Value) -> String {
    let deleted = !text(claim, "/metadata/deletionTimestamp").is_empty();
    let allocated = claim.pointer("/status/allocation").is_some_and(Value::is_object);
    let reserved = claim.pointer("/status/reservedFor").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let states = [
        ("deleted", deleted),
        ("pending", !deleted && !allocated),
        ("allocated", allocated),
        ("reserved", allocated && reserved),
    ];
    let states: Vec<&str> = states.iter().filter(|(_, is)| *is).map(|(state, _)| *state).collect();
    states.join(",")
}

fn default_request(request: &mut Value) {
    if let Some(exactly) = present(request, "exactly") {
        default_count(exactly);
    }
    items(request, "firstAvailable").for_each(default_count);
}

fn default_count(request: &mut Value) {
    set(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        set_nonzero(request, "count", 1);
    }
}

/// Names of requests, each with those of its alternatives.
pub struct RequestNames<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> RequestNames<'a> {
    pub fn of(spec: &At<'a>) -> Self {
        let requests = spec.to("devices.requests").items();
        let alternatives = |request: &At<'a>| request.at("firstAvailable").items();
        let names = requests.iter().map(|request| {
            let sub = alternatives(request).iter().map(|one| one.at("name").text()).collect();
            (request.at("name").text(), sub)
        });
        Self(names.collect())
    }

    fn has(&self, reference: &str) -> bool {
        match reference.split_once('/') {
            None => self.0.contains_key(reference),
            Some((request, sub)) => self.0.get(request).is_some_and(|known| known.contains(sub)),
        }
    }

    /// A reference to a request, or to one of its alternatives.
    pub fn reference(&self, at: &At<'_>, errors: &mut ErrorList) {
        const DETAIL: &str = "must be the name of a request in the claim or the name of a request and a subrequest \
                              separated by '/'";
        let segments: Vec<&str> = at.text().split('/').collect();
        if segments.len() > 2 {
            return at.invalid(errors, DETAIL);
        }
        for segment in segments {
            errors.invalid_all(&at.path, segment, is_dns1123_label(segment));
        }
        if !self.has(at.text()) {
            at.invalid(errors, DETAIL);
        }
    }

    pub fn references(&self, list: &At<'_>, errors: &mut ErrorList) {
        let references = at_most(list, REQUESTS_MAX, errors);
        references.iter().for_each(|reference| self.reference(reference, errors));
        duplicates(errors, references);
    }
}

fn validate_spec(spec: &At<'_>, errors: &mut ErrorList) {
    let devices = spec.at("devices");
    let names = RequestNames::of(spec);
    let requests = at_most(&devices.at("requests"), REQUESTS_MAX, errors);
    requests.iter().for_each(|found| request(found, errors));
    unique(&requests, |request| request.at("name").text().to_owned(), errors);
    for constraint in at_most(&devices.at("constraints"), CONSTRAINTS_MAX, errors) {
        names.references(&constraint.at("requests"), errors);
        attribute(&constraint, errors);
    }
    for config in at_most(&devices.at("config"), CONFIGS_MAX, errors) {
        names.references(&config.at("requests"), errors);
        configuration(&config, false, errors);
    }
}

fn attribute(constraint: &At<'_>, errors: &mut ErrorList) {
    let (same, distinct) = (constraint.at("matchAttribute"), constraint.at("distinctAttribute"));
    if same.present() {
        fully_qualified_name(&same, errors);
    } else if distinct.present() {
        fully_qualified_name(&distinct, errors);
    } else {
        let detail =
            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        errors.required(&constraint.path, detail);
    }
}

fn request(request: &At<'_>, errors: &mut ErrorList) {
    label(&request.at("name"), errors);
    let (exactly, alternatives) = (request.at("exactly"), request.at("firstAvailable"));
    match (exactly.present(), !alternatives.empty()) {
        (false, false) => {
            errors.required(&request.path, "exactly one of `exactly` or `firstAvailable` is required");
        }
        (true, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(&request.path, Value::Null, detail);
        }
        (true, false) => wanted(&exactly, errors),
        (false, true) => {
            let all = at_most(&alternatives, ALTERNATIVES_MAX, errors);
            for alternative in &all {
                label(&alternative.at("name"), errors);
                wanted(alternative, errors);
            }
            unique(&all, |one| one.at("name").text().to_owned(), errors);
        }
    }
}

/// What is asked for: a class, how many, and which.
fn wanted(wanted: &At<'_>, errors: &mut ErrorList) {
    let class = wanted.at("deviceClassName");
    if class.required(errors, "") {
        class.follows(errors, is_dns1123_subdomain);
    }
    selectors(&wanted.at("selectors"), false, errors);
    let (mode, count) = (wanted.at("allocationMode"), wanted.at("count"));
    let number = count.int().unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => count.invalid(errors, "must not be specified when allocationMode is 'All'"),
        "ExactCount" if number <= 0 => errors.invalid(&count.path, number, "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => errors.not_supported(&mode.path, other, &["All", "ExactCount"]),
    }
    wanted.at("tolerations").items().iter().for_each(|found| toleration(found, errors));
}

impl Strategy for ResourceClaimTemplate {
    fn default(&self, template: &mut Value) {
        let spec = present(template, "spec").and_then(|spec| present(spec, "spec"));
        if let Some(devices) = spec.and_then(|spec| present(spec, "devices")) {
            items(devices, "requests").for_each(default_request);
        }
    }

    fn validate(&self, template: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(template).at("spec");
        let metadata = spec.at("metadata");
        errors.append(object_meta::labels(metadata.at("labels").value, &metadata.path.child("labels")));
        errors.append(object_meta::annotations(metadata.at("annotations").value, &metadata.path.child("annotations")));
        validate_spec(&spec.at("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        At::root(new).at("spec").immutable(&mut errors, &old["spec"]);
        errors
    }

    fn reset_fields(&self, _subresource: &str) -> &'static [&'static str] {
        &[]
    }
}

/// Whether the claim is being deleted.
pub fn deleted(claim: &Value) -> bool {
    object::deletion_timestamp(claim).is_some()
}
