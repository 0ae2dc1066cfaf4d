//! Validation of what steers scheduling.

use apimachinery::field::ErrorList;
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_label_value, is_qualified_name, label_selector,
};

use crate::at::At;

pub fn validate(affinity: &At<'_>, errors: &mut ErrorList) {
    let node = affinity.at("nodeAffinity");
    let required = node.at("requiredDuringSchedulingIgnoredDuringExecution");
    if required.present() {
        node_selector(&required, errors);
    }
    for preferred in node.at("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&preferred.at("weight"), errors);
        node_selector_term(&preferred.at("preference"), false, errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.at(name);
        for term in pods.at("requiredDuringSchedulingIgnoredDuringExecution").items() {
            pod_term(&term, errors);
        }
        for preferred in pods.at("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(&preferred.at("weight"), errors);
            pod_term(&preferred.at("podAffinityTerm"), errors);
        }
    }
}

fn weight(weight: &At<'_>, errors: &mut ErrorList) {
    let value = weight.int().unwrap_or_default();
    if !(1..=100).contains(&value) {
        errors.invalid(&weight.path, value, "must be in the range 1-100");
    }
}

/// A whole node selector.
pub fn node_selector(selector: &At<'_>, errors: &mut ErrorList) {
    let terms = selector.at("nodeSelectorTerms");
    terms.required(errors, "must have at least one node selector term");
    terms.items().iter().for_each(|term| node_selector_term(term, true, errors));
}

/// A term of a node selector. A preference may name values that no label has.
fn node_selector_term(term: &At<'_>, judges_values: bool, errors: &mut ErrorList) {
    for expression in term.at("matchExpressions").items() {
        requirement(&expression, errors);
        expression.at("key").follows(errors, is_qualified_name);
        for value in expression.at("values").items().iter().filter(|_| judges_values) {
            value.follows(errors, is_label_value);
        }
    }
    for field in term.at("matchFields").items() {
        let (key, values, operator) = (field.at("key"), field.at("values"), field.at("operator"));
        if !["In", "NotIn"].contains(&operator.text()) {
            operator.invalid(errors, "not a valid selector operator");
        } else if values.items().len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values.path, detail);
        }
        if key.text() == "metadata.name" {
            values.items().iter().for_each(|name| name.follows(errors, is_dns1123_subdomain));
        } else {
            key.invalid(errors, "not a valid field selector key");
        }
    }
}

fn requirement(expression: &At<'_>, errors: &mut ErrorList) {
    let values = expression.at("values");
    let count = values.items().len();
    match expression.at("operator").text() {
        "In" | "NotIn" if count == 0 => {
            errors.required(&values.path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(&values.path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if count != 1 => {
            errors.required(&values.path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => expression.at("operator").invalid(errors, "not a valid selector operator"),
    }
}

fn pod_term(term: &At<'_>, errors: &mut ErrorList) {
    for name in ["labelSelector", "namespaceSelector"] {
        errors.append(label_selector(term.at(name).value, &term.path.child(name)));
    }
    for namespace in term.at("namespaces").items() {
        // Upstream's name of the field.
        errors.invalid_all(&term.path.child("namespace"), namespace.text(), is_dns1123_label(namespace.text()));
    }
    label_keys(term, errors);
    let key = term.at("topologyKey");
    if key.empty() {
        errors.required(&key.path, "can not be empty");
    }
    errors.invalid_all(&key.path, key.text(), is_qualified_name(key.text()));
}

/// Keys whose values, as the pod has them, are wanted or not wanted.
fn label_keys(term: &At<'_>, errors: &mut ErrorList) {
    let (same, other) = (term.at("matchLabelKeys"), term.at("mismatchLabelKeys"));
    for list in [&same, &other].into_iter().filter(|list| !list.empty()) {
        if term.at("labelSelector").present() {
            list.items().iter().for_each(|key| key.follows(errors, is_qualified_name));
        } else {
            errors.forbidden(&list.path, "must not be specified when labelSelector is not set");
        }
    }
    for (index, key) in selected_twice(&same, &term.at("labelSelector")) {
        errors.invalid(&term.path.index(index), key, "exists in both matchLabelKeys and labelSelector");
    }
    for key in same.items() {
        if other.items().iter().any(|one| one.value == key.value) {
            key.invalid(errors, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

/// The keys that the selector names twice, by their place in the list: it has got what the keys stand for already.
fn selected_twice<'a>(keys: &At<'_>, selector: &At<'a>) -> Vec<(usize, &'a str)> {
    let mut seen: Vec<&str> = selector.at("matchLabels").entries().into_iter().map(|(key, _)| key).collect();
    let mut twice = Vec::new();
    for expression in selector.at("matchExpressions").items() {
        let key = expression.at("key").text();
        let place = keys.items().iter().rposition(|one| one.text() == key);
        twice.extend(place.filter(|_| seen.contains(&key)).map(|place| (place, key)));
        seen.push(key);
    }
    twice
}

pub fn tolerations(tolerations: &At<'_>, errors: &mut ErrorList) {
    for toleration in tolerations.items() {
        let (key, operator, value) = (toleration.at("key"), toleration.at("operator"), toleration.at("value"));
        if !key.empty() {
            key.follows(errors, is_qualified_name);
        } else if operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator.path, operator.text(), detail);
        }
        let effect = toleration.at("effect");
        if toleration.at("tolerationSeconds").present() && effect.text() != "NoExecute" {
            errors.invalid(&effect.path, effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.text() {
            "" | "Equal" => {
                let wrong = is_label_value(value.text());
                errors.invalid_all(&operator.path, value.text(), (!wrong.is_empty()).then(|| wrong.join(";")));
            }
            "Exists" if !value.empty() => {
                errors.invalid(&operator.path, value.text(), "value must be empty when `operator` is 'Exists'");
            }
            "Exists" | "Gt" | "Lt" => {}
            other => errors.not_supported(&operator.path, other, &["Equal", "Exists"]),
        }
        if !effect.empty() {
            effect.one_of(errors, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}

pub fn topology_spread(constraints: &At<'_>, errors: &mut ErrorList) {
    let all = constraints.items();
    for (index, constraint) in all.iter().enumerate() {
        let (skew, when) = (constraint.at("maxSkew"), constraint.at("whenUnsatisfiable"));
        if skew.int().unwrap_or_default() <= 0 {
            errors.invalid(&skew.path, skew.int().unwrap_or_default(), "must be greater than zero");
        }
        constraint.at("topologyKey").required(errors, "can not be empty");
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&when.text()) {
            errors.not_supported(&when.path, when.text(), &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let pair =
            |constraint: &At<'_>| ["topologyKey", "whenUnsatisfiable"].map(|name| constraint.value[name].clone());
        if all[index + 1..].iter().any(|later| pair(later) == pair(constraint)) {
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.duplicate(&path, format!("{{{}, {}}}", constraint.at("topologyKey").text(), when.text()));
        }
        min_domains(constraint, when.text(), errors);
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.at(name).one_of(errors, &["Honor", "Ignore"]);
        }
        spread_keys(constraint, errors);
        errors.append(label_selector(constraint.at("labelSelector").value, &constraint.path.child("labelSelector")));
    }
}

fn spread_keys(constraint: &At<'_>, errors: &mut ErrorList) {
    let (keys, selector) = (constraint.at("matchLabelKeys"), constraint.at("labelSelector"));
    if keys.empty() {
        return;
    }
    if !selector.present() {
        return errors.forbidden(&keys.path, "must not be specified when labelSelector is not set");
    }
    keys.items().iter().for_each(|key| key.follows(errors, is_qualified_name));
    for (index, key) in selected_twice(&keys, &selector) {
        errors.invalid(&keys.path.index(index), key, "exists in both matchLabelKeys and labelSelector");
    }
}

fn min_domains(constraint: &At<'_>, when: &str, errors: &mut ErrorList) {
    let domains = constraint.at("minDomains");
    let Some(count) = domains.int() else { return };
    if count <= 0 {
        errors.invalid(&domains.path, count, "must be greater than zero");
    }
    if when != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        errors.invalid(&domains.path, count, detail);
    }
}
