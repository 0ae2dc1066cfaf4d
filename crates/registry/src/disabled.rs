//! Fields of pods whose features are off: they are dropped unless the stored object has them already.

use serde_json::Value;

use crate::strategy::Resource;

/// Where a kind has a pod's spec.
const SPECS: &[(&str, &str, &str)] = &[
    ("", "pods", "/spec"),
    ("", "podtemplates", "/template/spec"),
    ("", "replicationcontrollers", "/spec/template/spec"),
    ("apps", "daemonsets", "/spec/template/spec"),
    ("apps", "deployments", "/spec/template/spec"),
    ("apps", "replicasets", "/spec/template/spec"),
    ("apps", "statefulsets", "/spec/template/spec"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template/spec"),
    ("batch", "jobs", "/spec/template/spec"),
];

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Drops from a new state what the cluster does not know yet.
pub fn drop_disabled(resource: &Resource, new: &mut Value, old: Option<&Value>) {
    let named = |(group, name, _): &&(&str, &str, &str)| (*group, *name) == (resource.group, resource.name);
    let Some((_, _, place)) = SPECS.iter().find(named) else { return };
    let old = old.and_then(|old| old.pointer(place));
    if let Some(spec) = new.pointer_mut(place).filter(|spec| spec.is_object()) {
        drop_from_spec(spec, old.unwrap_or(&Value::Null));
    }
}

fn drop_from_spec(spec: &mut Value, old: &Value) {
    if old["schedulingGroup"].is_null() {
        remove(spec, "schedulingGroup");
    }
    if !CONTAINERS.iter().any(|list| items(old, list).any(|one| !one["lifecycle"]["stopSignal"].is_null())) {
        for list in CONTAINERS {
            spec_items(spec, list).into_iter().for_each(drop_stop_signal);
        }
    }
    for source in ["clusterTrustBundle", "podCertificate"] {
        let has = |volume: &Value| items(&volume["projected"], "sources").any(|one| !one[source].is_null());
        if !items(old, "volumes").any(has) {
            let volumes = spec_items(spec, "volumes").into_iter().filter_map(|volume| volume.get_mut("projected"));
            volumes.flat_map(|projected| spec_items(projected, "sources")).for_each(|one| remove(one, source));
        }
    }
}

fn drop_stop_signal(container: &mut Value) {
    let Some(lifecycle) = container.get_mut("lifecycle").filter(|lifecycle| !lifecycle["stopSignal"].is_null()) else {
        return;
    };
    remove(lifecycle, "stopSignal");
    if lifecycle.as_object().is_some_and(serde_json::Map::is_empty) {
        remove(container, "lifecycle");
    }
}

fn remove(value: &mut Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(field);
    }
}

fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn spec_items<'a>(value: &'a mut Value, list: &str) -> Vec<&'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dropped(mut spec: Value, old: Value) -> Value {
        drop_from_spec(&mut spec, &old);
        spec
    }

    #[test]
    fn what_is_off_is_dropped_unless_it_is_there_already() {
        let spec = json!({
            "schedulingGroup": {"name": "g"},
            "containers": [
                {"name": "a", "lifecycle": {"stopSignal": "SIGTERM"}},
                {"name": "b", "lifecycle": {"stopSignal": "SIGTERM", "preStop": {}}},
            ],
            "volumes": [{"name": "v", "projected": {"sources": [{"podCertificate": {}}, {"secret": {}}]}}],
        });
        let left = json!({
            "containers": [{"name": "a"}, {"name": "b", "lifecycle": {"preStop": {}}}],
            "volumes": [{"name": "v", "projected": {"sources": [{}, {"secret": {}}]}}],
        });
        assert_eq!(dropped(spec.clone(), Value::Null), left);
        assert_eq!(dropped(spec.clone(), spec.clone()), spec);
    }

    #[test]
    fn every_kind_of_the_table_has_a_pod_there() {
        for (group, name, _) in SPECS {
            assert!(crate::resources().iter().any(|one| (one.group, one.name) == (*group, *name)), "{group} {name}");
        }
    }
}
