//! ResourceQuotas.

use std::collections::BTreeSet;

use apimachinery::Quantity;
use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, name};
use crate::pod_spec::{is_extended, resource_name};
use crate::strategy::{Column, Strategy};

pub struct ResourceQuota;

/// What a quota may bound by a plain name.
const STANDARD: [&str; 19] = [
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
];
/// What scopes that select pods bound.
const OF_PODS: [&str; 7] = ["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// What scopes that select claims bound.
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
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
        scope_selector(&spec, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let at = At::root(new).to("spec.scopes");
        let set = |quota: &Value| -> BTreeSet<String> {
            list(quota, "/spec/scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        if set(new) != set(old) {
            at.invalid(&mut errors, "field is immutable");
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let (mut errors, status) = (ErrorList::new(), At::root(new).at("status"));
        for (key, at) in ["hard", "used"].iter().flat_map(|field| status.at(field).entries()) {
            hard(key, &at, &mut errors);
        }
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
            let list = if key.starts_with("limits.") { &mut limits } else { &mut requests };
            list.push(cell);
        }
        vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), table::age(quota, now)]
    }
}

fn hard(key: &str, at: &At<'_>, errors: &mut ErrorList) {
    resource_name(key, at, errors);
    if !key.contains('/') && !is_standard(key) {
        errors.invalid(&at.path, key, "must be a standard resource for quota");
    }
    amount(key, at, errors);
}

fn is_standard(key: &str) -> bool {
    STANDARD.contains(&key) || key.starts_with("hugepages-") || key.starts_with("requests.hugepages-")
}

/// How much there is, or may be, of a resource.
pub fn amount(key: &str, at: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(at.value);
    if quantity.is_negative() {
        at.invalid(errors, "must be greater than or equal to 0");
    }
    if (WHOLE.contains(&key) || is_extended(key)) && !quantity.is_integer() {
        at.invalid(errors, "must be an integer");
    }
}

/// Whether a quota of the scope can bound the resource.
fn fits(scope: &str, key: &str) -> bool {
    match scope {
        "BestEffort" => key == "pods",
        "VolumeAttributesClass" => OF_CLAIMS.contains(&key),
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            OF_PODS.contains(&key)
        }
        _ => true,
    }
}

/// The resources that are bound by plain names.
fn bound<'a>(spec: &At<'a>) -> Vec<&'a str> {
    spec.at("hard").entries().iter().map(|(key, _)| *key).filter(|key| is_standard(key)).collect()
}

/// The scope must fit all that is bound.
fn judge_scope(scope: &str, keys: &[&str], at: &At<'_>, errors: &mut ErrorList) {
    for _ in keys.iter().filter(|key| !fits(scope, key)) {
        at.invalid(errors, "unsupported scope applied to resource");
    }
}

/// Two scopes must not exclude each other. Upstream shows the plain scopes in both places.
fn judge_pairs(spec: &At<'_>, scopes: &[&str], path: &Path, errors: &mut ErrorList) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(path, spec.at("scopes").value.clone(), "conflicting scopes");
        }
    }
}

fn scopes(spec: &At<'_>, errors: &mut ErrorList) {
    let (at, keys) = (spec.at("scopes"), bound(spec));
    let scopes: Vec<&str> = at.items().iter().map(At::text).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            at.invalid(errors, "unsupported scope");
        }
        judge_scope(scope, &keys, &at, errors);
    }
    judge_pairs(spec, &scopes, &at.path, errors);
}

fn scope_selector(spec: &At<'_>, errors: &mut ErrorList) {
    let (selector, keys) = (spec.at("scopeSelector"), bound(spec));
    let expressions = selector.at("matchExpressions");
    let whole = At { value: selector.value, path: expressions.path.clone() };
    let mut scopes = Vec::new();
    for expression in expressions.items() {
        let scope = expression.at("scopeName").text();
        if !SCOPES.contains(&scope) {
            errors.invalid(&expressions.path.child("scopeName"), scope, "unsupported scope");
        }
        judge_scope(scope, &keys, &whole, errors);
        scope_expression(&expressions.path, &expression, errors);
        scopes.push(scope);
    }
    judge_pairs(spec, &scopes, &expressions.path, errors);
}

/// Upstream does not say which expression is wrong.
fn scope_expression(path: &Path, expression: &At<'_>, errors: &mut ErrorList) {
    const SINGLE: [&str; 5] =
        ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"];
    let operator = expression.at("operator").text();
    if SINGLE.contains(&expression.at("scopeName").text()) && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                      ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                      ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&path.child("operator"), operator, detail);
    }
    let values = expression.at("values");
    match operator {
        "In" | "NotIn" if values.empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&path.child("values"), detail);
        }
        "Exists" | "DoesNotExist" if !values.empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&path.child("values"), values.value.clone(), detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: Value, expected: &[&str]) {
        let errors = ResourceQuota.validate(&json!({"spec": spec}));
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        let causes: Vec<String> = errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect();
        assert_eq!(causes, expected);
    }

    #[test]
    fn what_a_quota_bounds_is_known_and_whole() {
        check(json!({"hard": {"count/jobs.batch": "1", "requests.nvidia.com/gpu": "1", "hugepages-2Mi": "1"}}), &[]);
        check(json!({"hard": {"a b": "1"}}), &["spec.hard[a b] Invalid", "spec.hard[a b] Invalid"]);
        check(json!({"hard": {"storage": "1"}}), &["spec.hard[storage] Invalid"]);
        check(json!({"hard": {"example.com/x": "500m"}}), &["spec.hard[example.com/x] Invalid"]);
    }

    #[test]
    fn scopes_fit_what_they_bound() {
        check(json!({"hard": {"services": "1"}, "scopes": ["Terminating"]}), &["spec.scopes Invalid"]);
        check(json!({"hard": {"persistentvolumeclaims": "1"}, "scopes": ["VolumeAttributesClass"]}), &[]);
        let selector = |name: &str, operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": ["a"]}]}});
        check(selector("PriorityClass", "In"), &[]);
        check(selector("BestEffort", "In"), &["spec.scopeSelector.matchExpressions.operator Invalid"]);
        check(selector("PriorityClass", "Exists"), &["spec.scopeSelector.matchExpressions.values Invalid"]);
    }
}
