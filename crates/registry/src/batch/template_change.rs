//! What an update may change of a job's template: nothing, unless the job is held.

use apimachinery::field::ErrorList;
use serde_json::Value;

use super::status::is_true;
use crate::at::At;
use crate::defaults::remove;

/// What steers scheduling.
const DIRECTIVES: [&str; 3] = ["nodeSelector", "tolerations", "schedulingGates"];

pub fn validate(new: &Value, old: &Value, errors: &mut ErrorList) {
    let template = At::root(new).to("spec.template");
    let before = &old["spec"]["template"];
    if !is_held(old) {
        return template.immutable(errors, before);
    }
    let spec = template.at("spec");
    spec.immutable(errors, &with_changes(&before["spec"], spec.value));
}

/// Suspended, and without pods: never started, or stopped again.
fn is_held(job: &Value) -> bool {
    let started = job.pointer("/status/startTime").is_some_and(|time| !time.is_null());
    job["spec"]["suspend"] == true && (!started || is_true(job, "Suspended"))
}

/// The pod's spec as it was, but for what may change.
fn with_changes(before: &Value, new: &Value) -> Value {
    let mut wanted = before.clone();
    for name in DIRECTIVES {
        copy(&mut wanted, new, name);
    }
    node_affinity(&mut wanted, new);
    for list in ["containers", "initContainers"] {
        resources(&mut wanted[list], &new[list]);
    }
    for list in ["containers", "initContainers"] {
        if wanted[list].is_null() {
            remove(&mut wanted, list);
        }
    }
    wanted
}

fn copy(to: &mut Value, from: &Value, name: &str) {
    match from.get(name) {
        Some(value) => to[name] = value.clone(),
        None => remove(to, name),
    }
}

fn node_affinity(wanted: &mut Value, new: &Value) {
    let (now, before) = (new["affinity"].is_object(), wanted["affinity"].is_object());
    if !now && !before {
        return copy(wanted, new, "affinity");
    }
    if !before {
        wanted["affinity"] = Value::Object(serde_json::Map::new());
    }
    copy(&mut wanted["affinity"], &new["affinity"], "nodeAffinity");
    if !now && wanted["affinity"].as_object().is_some_and(serde_json::Map::is_empty) {
        copy(wanted, new, "affinity");
    }
}

/// Takes the resources of containers that are still there.
fn resources(wanted: &mut Value, new: &Value) {
    let (Some(wanted), Some(new)) = (wanted.as_array_mut(), new.as_array()) else { return };
    if wanted.len() != new.len() {
        return;
    }
    for (container, new) in wanted.iter_mut().zip(new).filter(|(old, new)| old["name"] == new["name"]) {
        copy(container, new, "resources");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(suspend: bool, spec: Value) -> Value {
        json!({"spec": {"suspend": suspend, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}})
    }

    fn causes(new: &Value, old: &Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        validate(new, old, &mut errors);
        errors.iter().map(|error| format!("{} {}", error.field, error.kind.reason())).collect()
    }

    #[test]
    fn a_held_job_may_change_what_steers_scheduling_and_what_containers_ask_for() {
        let old = json!({"containers": [{"name": "c", "image": "i"}]});
        let new = json!({
            "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}],
        });
        assert_eq!(causes(&job(true, new.clone()), &job(true, old.clone())), [""; 0]);
        assert_eq!(causes(&job(false, new), &job(false, old)), ["spec.template FieldValueInvalid"]);
    }

    #[test]
    fn the_image_of_a_held_job_stays() {
        let with = |image: &str| job(true, json!({"containers": [{"name": "c", "image": image}]}));
        assert_eq!(causes(&with("new"), &with("old")), ["spec.template.spec FieldValueInvalid"]);
    }

    #[test]
    fn pods_of_a_held_job_do_not_get_to_like_other_pods() {
        let old = job(true, json!({}));
        let new = job(true, json!({"affinity": {"nodeAffinity": {}, "podAffinity": {}}}));
        assert_eq!(causes(&new, &old), ["spec.template.spec FieldValueInvalid"]);
        let cleared = job(true, json!({"affinity": {"nodeAffinity": {}}}));
        assert_eq!(causes(&old, &cleared), [""; 0]);
    }
}
