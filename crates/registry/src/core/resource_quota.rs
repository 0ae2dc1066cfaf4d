//! ResourceQuotas.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;
use crate::cells::name;
use crate::strategy::{Column, Strategy};

pub struct ResourceQuota;

const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "hugepages-2Mi",
];
const WHOLE: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

impl Strategy for ResourceQuota {
    fn validate(&self, quota: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(quota).at("spec");
        for (key, at) in spec.at("hard").entries() {
            hard(key, &at, &mut errors);
        }
        scopes(&spec, &mut errors);
        for expression in spec.to("scopeSelector.matchExpressions").items() {
            scope_expression(&spec, &expression, &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let at = At::root(new).to("spec.scopes");
        at.immutable(&mut errors, old.pointer("/spec/scopes").unwrap_or(&Value::Null));
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Request"), Column::text("Limit"), Column::AGE] }
    }

    fn row(&self, quota: &Value, now: i64) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (key, hard) in quota.pointer("/status/hard").and_then(Value::as_object).into_iter().flatten() {
            let used = quota.pointer("/status/used").and_then(|used| used.get(key)).and_then(Value::as_str);
            let cell = format!("{key}: {}/{}", used.unwrap_or("0"), hard.as_str().unwrap_or_default());
            let list = if key.starts_with("limits") { &mut limits } else { &mut requests };
            list.push(cell);
        }
        vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), table::age(quota, now)]
    }
}

fn hard(key: &str, at: &At<'_>, errors: &mut ErrorList) {
    errors.invalid_all(&at.path, key, is_qualified_name(key));
    let known = STANDARD.contains(&key) || key.contains('/') || key.contains("hugepages-");
    if !known {
        errors.invalid(&at.path, key, "must be a standard resource type or fully qualified");
        errors.invalid(&at.path, key, "must be a standard resource for quota");
    }
    let quantity = Quantity::of(at.value);
    if quantity.is_negative() {
        at.invalid(errors, "must be greater than or equal to 0");
    }
    if (WHOLE.contains(&key) || key.starts_with("count/")) && !quantity.is_integer() {
        at.invalid(errors, "must be an integer");
    }
}

fn scopes(spec: &At<'_>, errors: &mut ErrorList) {
    let at = spec.at("scopes");
    let scopes: Vec<&str> = at.items().iter().map(At::text).collect();
    let hard: Vec<&str> = spec.at("hard").entries().iter().map(|(key, _)| *key).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            at.invalid(errors, "unsupported scope");
        } else if *scope == "BestEffort" && hard.iter().any(|key| *key != "pods") {
            at.invalid(errors, "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            at.invalid(errors, "conflicting scopes");
        }
    }
}

fn scope_expression(spec: &At<'_>, expression: &At<'_>, errors: &mut ErrorList) {
    let path = spec.path.child("scopeSelector").child("matchExpressions");
    if !SCOPES.contains(&expression.at("scopeName").text()) {
        errors.invalid(&path.child("scopeName"), expression.at("scopeName").text(), "unsupported scope");
    }
    let empty = expression.at("values").empty();
    match expression.at("operator").text() {
        "In" | "NotIn" if empty => {
            errors.required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            );
        }
        "Exists" | "DoesNotExist" if !empty => {
            let value = expression.at("values").value.clone();
            errors.invalid(
                &path.child("values"),
                value,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}
