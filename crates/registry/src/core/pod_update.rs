//! What an update of a pod may change.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::range_error;
use serde_json::Value;

use crate::at::At;
use crate::cells::text;
use crate::pod_spec;

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const TERMS: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub fn validate(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    for list in ["containers", "initContainers"] {
        if !images(&spec.at(list), &old[list], errors) {
            return;
        }
    }
    if !deadline(&spec.at("activeDeadlineSeconds"), &old["activeDeadlineSeconds"], errors) {
        return;
    }
    tolerations(&spec.at("tolerations"), &old["tolerations"], errors);
    gates(&spec.at("schedulingGates"), &old["schedulingGates"], errors);
    let mut comparable = spec.value.clone();
    undo_changes(&mut comparable, old);
    if !is_empty(&old["schedulingGates"]) {
        node_selector(&spec.at("nodeSelector"), &old["nodeSelector"], errors);
        copy(&mut comparable, old, "nodeSelector");
        node_affinity(&spec.to("affinity.nodeAffinity"), &old["affinity"]["nodeAffinity"], errors);
        undo_node_affinity(&mut comparable, old);
    }
    if comparable != *old {
        errors.forbidden(&spec.path, CHANGEABLE);
    }
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether there are as many containers as before.
fn images(containers: &At<'_>, old: &Value, errors: &mut ErrorList) -> bool {
    if containers.items().len() != items(old).len() {
        errors.forbidden(&containers.path, "pod updates may not add or remove containers");
        return false;
    }
    for image in containers.items().iter().map(|container| container.at("image")) {
        image.required(errors, "");
        if image.text() != image.text().trim() {
            image.invalid(errors, "must not have leading or trailing whitespace");
        }
    }
    true
}

/// Whether the rest is to be judged too.
fn deadline(at: &At<'_>, old: &Value, errors: &mut ErrorList) -> bool {
    let before = errors.len();
    match (at.int(), old.as_i64()) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            at.invalid(errors, &range_error(0, i64::from(i32::MAX)));
        }
        (Some(new), Some(old)) if new > old => at.invalid(errors, "must be less than or equal to previous value"),
        (None, Some(_)) => {
            errors.invalid(&at.path, Value::Null, "must not update from a positive integer to nil value");
            return true;
        }
        _ => {}
    }
    errors.len() == before
}

/// Tolerations may be added; a kept one may change its seconds.
fn tolerations(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let same = |a: &Value, b: &Value| ["key", "operator", "value", "effect"].iter().all(|name| a[*name] == b[*name]);
    if !items(old).iter().all(|old| items(new.value).iter().any(|new| same(new, old))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        return errors.forbidden(&new.path, detail);
    }
    pod_spec::tolerations(new, errors);
}

/// Gates may go, not come.
fn gates(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    for gate in new.items().iter().filter(|gate| !items(old).contains(gate.value)) {
        let name = text(gate.value, "/name");
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.forbidden(&gate.path.child("name"), detail);
    }
}

fn undo_changes(new: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let containers = new.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, before) in containers.zip(items(&old[list])) {
            container["image"] = before["image"].clone();
        }
    }
    let negative = old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0);
    if negative && new["terminationGracePeriodSeconds"] == 1 {
        copy(new, old, "terminationGracePeriodSeconds");
    }
    ["activeDeadlineSeconds", "schedulingGates", "tolerations"].iter().for_each(|name| copy(new, old, name));
}

fn copy(new: &mut Value, old: &Value, name: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(name) {
        Some(value) => map.insert(name.into(), value.clone()),
        None => map.remove(name),
    };
}

/// Where a gated pod may run can only be narrowed.
fn node_selector(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let kept = old.as_object().into_iter().flatten().all(|(key, value)| new.value.get(key) == Some(value));
    if !kept {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        new.invalid(errors, detail);
    }
}

fn node_affinity(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    if new.value == old {
        return;
    }
    let (terms, before) = (new.at(TERMS).at("nodeSelectorTerms"), items(&old[TERMS]["nodeSelectorTerms"]));
    if before.is_empty() {
        return;
    }
    if terms.items().len() != before.len() {
        return terms.invalid(errors, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    }
    for (term, before) in terms.items().iter().zip(before) {
        let kept = |name: &str| items(&term.value[name]).starts_with(items(&before[name]));
        let was_empty = ["matchExpressions", "matchFields"].iter().all(|name| is_empty(&before[*name]));
        let is_still = ["matchExpressions", "matchFields"].iter().all(|name| is_empty(&term.value[*name]));
        if !kept("matchExpressions") || !kept("matchFields") || was_empty && !is_still {
            term.invalid(errors, "only additions are allowed (no mutations or deletions)");
        }
    }
}

fn undo_node_affinity(new: &mut Value, old: &Value) {
    let before = old["affinity"].get("nodeAffinity").cloned();
    if new["affinity"].is_null() {
        if let Some(before) = before {
            new["affinity"] = serde_json::json!({"nodeAffinity": before});
        }
        return;
    }
    let affinity = &mut new["affinity"];
    match before {
        Some(before) => affinity["nodeAffinity"] = before,
        None => crate::defaults::remove(affinity, "nodeAffinity"),
    }
    let bare = affinity.as_object().is_some_and(serde_json::Map::is_empty);
    if bare && old.get("affinity").is_none_or(Value::is_null) {
        copy(new, old, "affinity");
    }
}

/// A writer that does not say which generation it saw does not take away what was said before.
pub fn keep_generations(status: &mut Value, old: &Value) {
    const FIELD: &str = "observedGeneration";
    let said = |value: &Value| value[FIELD].as_i64().filter(|generation| *generation != 0);
    if let (None, Some(before)) = (said(status), said(old)) {
        status[FIELD] = before.into();
    }
    let mut before: Vec<&Value> = items(&old["conditions"]).iter().collect();
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(index) = before.iter().position(|old| old["type"] == condition["type"]) else { continue };
        let generation = said(before.remove(index));
        if let (None, Some(generation)) = (said(condition), generation) {
            condition[FIELD] = generation.into();
        }
    }
}

/// The status may not say what cannot be.
pub fn validate_status(new: &Value, old: &Value, errors: &mut ErrorList) {
    let status = At::root(new).at("status");
    for (index, condition) in At::root(new).to("status.conditions").items().iter().enumerate() {
        let kind = condition.at("type").text();
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind) {
            // Upstream's path.
            let path = Path::new("metadata.conditions").index(index).child("Type");
            errors.invalid_all(&path, kind, apimachinery::validation::is_qualified_name(kind));
        }
    }
    let nominated = status.at("nominatedNodeName");
    if !nominated.empty() && nominated.text() != text(old, "/status/nominatedNodeName") {
        nominated.follows(errors, apimachinery::validation::is_dns1123_subdomain);
    }
    status.at("qosClass").immutable(errors, old.pointer("/status/qosClass").unwrap_or(&Value::Null));
    let policy = text(old, "/spec/restartPolicy");
    transitions(&status.at("containerStatuses"), old, policy, errors);
    transitions(&status.at("initContainerStatuses"), old, policy, errors);
    transitions(&status.at("ephemeralContainerStatuses"), old, "Never", errors);
    claim_statuses(&status, new, errors);
    addresses(&status.at("podIPs"), errors);
    host_addresses(&status, errors);
}

/// What ended for good does not run again. Containers with rules of their own may.
fn transitions(new: &At<'_>, old: &Value, policy: &str, errors: &mut ErrorList) {
    if policy == "Always" {
        return;
    }
    let list = new.path.as_str().rsplit('.').next().unwrap_or_default();
    for (index, before) in items(&old["status"][list]).iter().enumerate() {
        let Some(ended) = before["state"].get("terminated").filter(|ended| !ended.is_null()) else { continue };
        let failed = ended["exitCode"].as_i64().is_some_and(|code| code != 0);
        if failed && policy == "OnFailure" || restarts(old, &before["name"]) {
            continue;
        }
        let running = |now: &&Value| now["name"] == before["name"] && now["state"]["terminated"].is_null();
        for _ in items(new.value).iter().filter(running) {
            let path = new.path.index(index).child("state");
            errors.forbidden(&path, "may not be transitioned to non-terminated state");
        }
    }
}

fn restarts(pod: &Value, name: &Value) -> bool {
    let lists = ["initContainers", "containers"].map(|list| items(&pod["spec"][list]));
    let container = lists.into_iter().flatten().find(|container| container["name"] == *name);
    container.is_some_and(|container| {
        ["Always", "OnFailure"].contains(&text(container, "/restartPolicy"))
            || !is_empty(&container["restartPolicyRules"])
    })
}

fn claim_statuses(status: &At<'_>, pod: &Value, errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for claim in status.at("resourceClaimStatuses").items() {
        let (name, actual) = (claim.at("name"), claim.at("resourceClaimName"));
        if !items(&pod["spec"]["resourceClaims"]).iter().any(|claim| claim["name"] == *name.value) {
            name.invalid(errors, "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name.text()) {
            errors.duplicate(&name.path, name.text());
        }
        seen.push(name.text());
        if actual.present() {
            let wrong = apimachinery::validation::is_dns1123_subdomain(actual.text());
            errors.invalid_all(&name.path, actual.text(), wrong);
        }
    }
}

fn host_addresses(status: &At<'_>, errors: &mut ErrorList) {
    let all = status.at("hostIPs");
    let first = all.items().into_iter().next().map(|first| first.at("ip"));
    if let Some(first) = first.filter(|first| first.text() != status.at("hostIP").text()) {
        first.invalid(errors, "must be equal to `hostIP`");
    }
    addresses(&all, errors);
}

/// At most one of each family.
fn addresses(list: &At<'_>, errors: &mut ErrorList) {
    let all = list.items();
    for address in &all {
        errors.append(apimachinery::validation::validate_ip(&address.path, address.at("ip").text()));
    }
    if all.len() < 2 {
        return;
    }
    let (sixes, fours): (Vec<&At<'_>>, Vec<&At<'_>>) = all.iter().partition(|one| one.at("ip").text().contains(':'));
    if sixes.len() != 1 || fours.len() != 1 {
        list.invalid(errors, "may specify no more than one IP for each IP family");
    }
    for (_, address) in all.iter().enumerate().filter(|(at, one)| all[..*at].iter().any(|o| o.value == one.value)) {
        errors.duplicate(&address.path, address.value.clone());
    }
}
