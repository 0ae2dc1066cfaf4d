//! Pods.

use apimachinery::field::{ErrorList, Path};
use serde_json::{Value, json};

use super::pod_row;
use crate::at::At;
use crate::cells::text;
use crate::pod_spec::{self, Options};
use crate::strategy::{Column, Context, Strategy, keep_all_but_status_and_metadata, keep_metadata, keep_status};

pub struct Pod;

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

impl Strategy for Pod {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"],
            _ => &[],
        }
    }

    fn reset_all_but(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "ephemeralcontainers" => &["spec.ephemeralContainers"],
            "resize" => &["spec.containers.*.resources", "spec.containers.*.resizePolicy"],
            _ => &[],
        }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        crate::pod_spec::spec_warnings(&crate::at::At::root(new).to("spec"))
    }

    fn prepare_for_create(&self, object: &mut Value, _context: &Context<'_>) {
        let qos = pod_spec::qos_class(&object["spec"]);
        if object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
            object["spec"]["terminationGracePeriodSeconds"] = 1.into();
        }
        object["status"] = json!({"phase": "Pending", "qosClass": qos});
        let gated =
            object.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
        if gated {
            object["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null,
            }]);
        }
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = crate::defaults::object(object, "spec") {
            pod_spec::default_spec(spec);
            pod_spec::default_pod_only(spec);
        }
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        pod_spec::validate_spec(&At::root(object).at("spec"), Options { pod: true, create: true }, &mut errors);
        if object.pointer("/spec/ephemeralContainers").is_some() {
            errors.forbidden(&Path::new("spec.ephemeralContainers"), "cannot be set on create");
        }
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(new).at("spec");
        pod_spec::validate_container_update_names(&spec, &old["spec"], &mut errors);
        if !errors.is_empty() {
            return errors;
        }
        pod_spec::validate_spec(&spec, Options { pod: true, create: false }, &mut errors);
        deadline(&spec, &old["spec"], &mut errors);
        let mut comparable = new["spec"].clone();
        allow_changes(&mut comparable, &old["spec"], &mut errors);
        if comparable != old["spec"] {
            errors.forbidden(&spec.path, CHANGEABLE);
        }
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
        keep_metadata(new, old, "ownerReferences");
        let qos = old.pointer("/status/qosClass").cloned().unwrap_or_else(|| pod_spec::qos_class(&old["spec"]).into());
        if let Some(status) = crate::defaults::object(new, "status") {
            crate::defaults::set(status, "qosClass", qos);
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        status.at("qosClass").immutable(&mut errors, old.pointer("/status/qosClass").unwrap_or(&Value::Null));
        for list in ["podIPs", "hostIPs"] {
            for address in status.at(list).items() {
                let text = address.at("ip").text();
                errors.append(apimachinery::validation::validate_ip(&address.path, text));
            }
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        pod_row::COLUMNS
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        pod_row::row(object, now)
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let host_network = object.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        let mut fields: Vec<(&'static str, String)> = [
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("spec.schedulerName", "/spec/schedulerName"),
            ("spec.serviceAccountName", "/spec/serviceAccountName"),
            ("status.phase", "/status/phase"),
            ("status.podIP", "/status/podIP"),
            ("status.nominatedNodeName", "/status/nominatedNodeName"),
        ]
        .iter()
        .map(|(name, pointer)| (*name, text(object, pointer).to_owned()))
        .collect();
        fields.push(("spec.hostNetwork", host_network.to_string()));
        fields
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        let ended = ["Failed", "Succeeded"].contains(&text(object, "/status/phase"));
        if ended || text(object, "/spec/nodeName").is_empty() {
            return Some(0);
        }
        let period = requested.or(own).unwrap_or(0);
        Some(if period < 0 { 1 } else { period })
    }
}

fn deadline(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let at = spec.at("activeDeadlineSeconds");
    match (at.int(), old["activeDeadlineSeconds"].as_i64()) {
        (Some(new), Some(old)) if new > old => at.invalid(errors, "must be less than or equal to previous value"),
        (None, Some(_)) => {
            errors.invalid(&at.path, Value::Null, "must not update from a positive integer to nil value")
        }
        _ => {}
    }
}

/// Undoes what an update may change, so that the rest can be compared.
fn allow_changes(new: &mut Value, old: &Value, errors: &mut ErrorList) {
    for list in ["containers", "initContainers"] {
        let items = new.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (item, before) in items.zip(old[list].as_array().into_iter().flatten()) {
            item["image"] = before["image"].clone();
        }
    }
    copy(new, old, "activeDeadlineSeconds");
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|s| s < 0) && new["terminationGracePeriodSeconds"] == 1
    {
        copy(new, old, "terminationGracePeriodSeconds");
    }
    tolerations(new, old, errors);
    gates(new, old, errors);
}

fn copy(new: &mut Value, old: &Value, name: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(name) {
        Some(value) => map.insert(name.into(), value.clone()),
        None => map.remove(name),
    };
}

fn list<'a>(spec: &'a Value, name: &str) -> &'a [Value] {
    spec.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Tolerations may be added; a kept one may change its seconds.
fn tolerations(new: &mut Value, old: &Value, errors: &mut ErrorList) {
    let same = |a: &Value, b: &Value| ["key", "operator", "value", "effect"].iter().all(|name| a[*name] == b[*name]);
    let kept = list(old, "tolerations").iter().all(|o| list(new, "tolerations").iter().any(|n| same(n, o)));
    if !kept {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&Path::new("spec.tolerations"), detail);
    }
    copy(new, old, "tolerations");
}

/// Gates may go, not come.
fn gates(new: &mut Value, old: &Value, errors: &mut ErrorList) {
    let (before, after) = (list(old, "schedulingGates"), list(new, "schedulingGates"));
    for (index, gate) in after.iter().enumerate().filter(|(_, gate)| !before.contains(gate)) {
        let path = Path::new("spec.schedulingGates").index(index).child("name");
        let name = text(gate, "/name");
        errors.forbidden(&path, format!("only deletion is allowed, but found new scheduling gate '{name}'"));
    }
    if !before.is_empty() {
        copy(new, old, "nodeSelector");
        copy(new, old, "affinity");
    }
    copy(new, old, "schedulingGates");
}
