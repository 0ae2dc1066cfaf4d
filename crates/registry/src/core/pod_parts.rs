//! The endpoints that change containers of a pod that exists: `resize` and `ephemeralcontainers`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::object;
use apimachinery::quantity::Quantity;
use serde_json::{Map, Value};

use crate::cells::text;
use crate::pod_spec;
use crate::strategy::{keep_metadata, keep_status};

/// A pod that a kubelet runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
const LISTS: [&str; 2] = ["containers", "initContainers"];
const ONLY: &str = "only cpu and memory resources are mutable";

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Takes what the endpoint may change, and keeps everything else.
pub fn prepare(endpoint: &str, new: &mut Value, old: &Value) {
    let spec = match endpoint {
        "resize" => resized(&new["spec"], &old["spec"]),
        _ => Some(with_ephemeral(&new["spec"], &old["spec"])),
    };
    if let Some(spec) = spec {
        new["spec"] = spec;
        keep_status(new, old);
        for name in ["labels", "annotations", "finalizers", "ownerReferences"] {
            keep_metadata(new, old, name);
        }
    }
    if new["spec"] != old["spec"] {
        object::set_generation(new, object::generation(old) + 1);
    }
}

fn put(map: &mut Value, name: &str, value: Option<&Value>) {
    let Some(map) = map.as_object_mut() else { return };
    match value {
        Some(value) => map.insert(name.into(), value.clone()),
        None => map.remove(name),
    };
}

fn with_ephemeral(new: &Value, old: &Value) -> Value {
    let mut spec = old.clone();
    put(&mut spec, "ephemeralContainers", new.get("ephemeralContainers"));
    spec
}

/// Nothing where containers came or went: that is refused as it stands.
fn resized(new: &Value, old: &Value) -> Option<Value> {
    if LISTS.iter().any(|list| items(&new[*list]).len() != items(&old[*list]).len()) {
        return None;
    }
    let mut spec = old.clone();
    put(&mut spec, "resources", new.get("resources"));
    for list in LISTS {
        let (new, old) = (items(&new[list]), items(&old[list]));
        if old.is_empty() {
            continue;
        }
        let same = new.iter().zip(old).all(|(new, old)| new["name"] == old["name"]);
        spec[list] = if same { new.iter().zip(old).map(with_resources).collect() } else { new.to_vec().into() };
    }
    Some(spec)
}

fn with_resources((new, old): (&Value, &Value)) -> Value {
    let mut container = old.clone();
    for field in ["resources", "resizePolicy"] {
        put(&mut container, field, new.get(field));
    }
    container
}

fn refused(why: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.forbidden(&Path::new(""), why);
    errors
}

fn is_mirror(pod: &Value) -> bool {
    object::annotation(pod, MIRROR).is_some()
}

/// Ephemeral containers are only added; what is there stays as it is. `errors`: what is wrong with the pod as a whole.
pub fn validate_ephemeral(new: &Value, old: &Value, mut errors: ErrorList) -> ErrorList {
    if is_mirror(old) {
        return refused("static pods do not support ephemeral containers");
    }
    let path = Path::new("spec").child("ephemeralContainers");
    let now = items(&new["spec"]["ephemeralContainers"]);
    for container in items(&old["spec"]["ephemeralContainers"]) {
        let name = text(container, "/name");
        match now.iter().rfind(|own| own["name"] == container["name"]) {
            None => errors.forbidden(&path, format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(own) if own != container => {
                errors.forbidden(&path, format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
    errors
}

/// A resize changes no quality of service and takes nothing away. `errors`: what is wrong with the pod as a whole.
pub fn validate_resize(new: &Value, old: &Value, mut errors: ErrorList) -> ErrorList {
    if is_mirror(old) {
        return refused("static pods cannot be resized");
    }
    if text(old, "/spec/os/name") == "windows" {
        return refused("windows pods cannot be resized");
    }
    let spec = Path::new("spec");
    quality(new, old, &spec, &mut errors);
    if !is_supported(old) {
        errors.forbidden(&spec, "Pod running on node without support for resize");
    }
    if !order(&new["spec"], &old["spec"], &spec, &mut errors) {
        return errors;
    }
    let (new, old) = (&new["spec"], &old["spec"]);
    removals(&new["resources"], &old["resources"], &spec.child("resources"), &mut errors);
    for list in ["initContainers", "containers"] {
        for (index, (new, old)) in items(&new[list]).iter().zip(items(&old[list])).enumerate() {
            if list == "containers" || is_sidecar(old) {
                let path = spec.child(list).index(index).child("resources");
                removals(&new["resources"], &old["resources"], &path, &mut errors);
            }
        }
    }
    for list in LISTS {
        for (new, old) in items(&new[list]).iter().zip(items(&old[list])) {
            let why = match (list, is_sidecar(new)) {
                ("containers", _) => ONLY,
                (_, true) => "only cpu and memory resources for sidecar containers are mutable",
                (_, false) => "resources for non-sidecar init containers are immutable",
            };
            let fixed = list == "initContainers" && !is_sidecar(new);
            if !same_but_for_resources(new, old) || changes(&new["resources"], &old["resources"], fixed) {
                errors.forbidden(&spec, why);
            }
        }
    }
    if errors.is_empty() && changes(&new["resources"], &old["resources"], false) {
        errors.forbidden(&spec, ONLY);
    }
    errors
}

fn quality(new: &Value, old: &Value, spec: &Path, errors: &mut ErrorList) {
    let own = text(old, "/status/qosClass");
    let before = if own.is_empty() { pod_spec::qos_class(&old["spec"]) } else { own };
    if before != pod_spec::qos_class(&new["spec"]) {
        let shown = text(new, "/status/qosClass");
        errors.invalid(spec, shown, "Pod QOS Class may not change as a result of resizing");
    }
}

/// A kubelet that can resize says what its running containers have.
fn is_supported(pod: &Value) -> bool {
    let running = |status: &&Value| !status["state"]["running"].is_null();
    let first = items(&pod["status"]["containerStatuses"]).iter().find(running);
    first.is_none_or(|status| !status["resources"].is_null())
}

/// Whether the containers are those that were there.
fn order(new: &Value, old: &Value, spec: &Path, errors: &mut ErrorList) -> bool {
    let before = errors.len();
    for list in LISTS {
        let (new, old, path) = (items(&new[list]), items(&old[list]), spec.child(list));
        if new.len() != old.len() {
            errors.forbidden(&path, format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new["name"] != old["name"]) {
            let path = path.index(index).child("name");
            errors.forbidden(&path, format!("{list} may not be renamed or reordered on resize"));
        }
    }
    errors.len() == before
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn removals(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    for kind in ["requests", "limits"] {
        let mut had = old[kind].as_object().into_iter().flatten();
        if had.any(|(name, _)| new[kind].get(name).is_none()) {
            errors.forbidden(&path.child(kind), format!("resource {kind} cannot be removed"));
        }
    }
}

fn same_but_for_resources(new: &Value, old: &Value) -> bool {
    let empty = Map::new();
    let [new, old] = [new, old].map(|container| container.as_object().unwrap_or(&empty));
    let rest = |map: &Map<String, Value>| -> Map<String, Value> {
        map.iter().filter(|(name, _)| *name != "resources").map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    rest(new) == rest(old)
}

/// Whether something else than processors and memory differs; where nothing was asked for, anything may come. `fixed`:
/// those may not differ either.
fn changes(new: &Value, old: &Value, fixed: bool) -> bool {
    ["requests", "limits"].iter().any(|kind| {
        let (new, old) = (&new[*kind], &old[*kind]);
        let had = old.as_object().is_some_and(|map| !map.is_empty());
        let names = [new, old].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
        let differs = |name: &String| match (new.get(name), old.get(name)) {
            (Some(new), Some(old)) => Quantity::of(new) != Quantity::of(old),
            _ => true,
        };
        names.filter(|name| fixed || had && !["cpu", "memory"].contains(&name.as_str())).any(differs)
    }) || new.get("claims") != old.get("claims")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::core::Pod;
    use crate::strategy::{Context, Strategy};

    use super::*;

    const CONTEXT: Context<'_> = Context { now: "", namespace: "", user: "", user_uid: "", user_groups: &[] };

    fn pod(spec: &Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "generation": 1}, "spec": spec});
        Pod.default(&mut pod);
        Pod.prepare_for_create(&mut pod, &CONTEXT);
        pod
    }

    fn container(resources: &Value) -> Value {
        json!({"name": "c", "image": "i", "resources": resources})
    }

    /// What an endpoint says to a change of an existing pod.
    fn causes(endpoint: &str, old: &Value, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut new = old.clone();
        change(&mut new);
        Pod.default(&mut new);
        Pod.prepare_for_part_update(endpoint, &mut new, old, &CONTEXT);
        let errors = Pod.validate_part_update(endpoint, &new, old);
        errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect()
    }

    #[test]
    fn a_resize_changes_processors_and_memory_alone() {
        let ask = |requests: &Value| container(&json!({"requests": requests}));
        let one = json!({"cpu": "100m"});
        let cases: [(Value, Value, &[&str]); 7] = [
            (ask(&one), ask(&json!({"cpu": "200m", "memory": "1Mi"})), &[]),
            (
                ask(&one),
                ask(&json!({})),
                &[
                    "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
                    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                ],
            ),
            (
                ask(&one),
                ask(&json!({"cpu": "100m", "ephemeral-storage": "1Gi"})),
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                ask(&one),
                json!({"name": "c", "image": "i", "resources": {"requests": one},
                    "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}),
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                ask(&one),
                json!({"name": "d", "image": "i", "resources": {"requests": one}}),
                &["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
            ),
            (ask(&one), json!({"name": "c", "image": "new", "resources": {"requests": one}}), &[]),
            (
                ask(&one),
                container(&json!({"requests": one, "limits": {"cpu": "50m"}})),
                &["spec.containers[0].resources.requests: Invalid value: \"100m\": \
                   must be less than or equal to cpu limit of 50m"],
            ),
        ];
        for (old, new, wanted) in cases {
            let old = pod(&json!({"containers": [old]}));
            assert_eq!(causes("resize", &old, |pod| pod["spec"]["containers"][0] = new.clone()), wanted, "{new}");
        }
    }

    #[test]
    fn a_resize_keeps_the_containers_that_are_there() {
        let old = pod(&json!({"containers": [container(&json!({}))]}));
        let more = |pod: &mut Value| {
            let other = json!({"name": "d", "image": "i", "imagePullPolicy": "Always",
                "terminationMessagePath": "/x", "terminationMessagePolicy": "File"});
            pod["spec"]["containers"].as_array_mut().unwrap().push(other);
        };
        let wanted = ["spec.containers: Forbidden: containers may not be added or removed on resize"];
        assert_eq!(causes("resize", &old, more), wanted);
        let first = json!({"name": "i", "image": "i", "resources": {"requests": {"cpu": "1"}}});
        let old = pod(&json!({"initContainers": [first], "containers": [container(&json!({}))]}));
        let set = |pod: &mut Value| pod["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] = "2".into();
        assert_eq!(
            causes("resize", &old, set),
            ["spec: Forbidden: resources for non-sidecar init containers are immutable"]
        );
    }

    #[test]
    fn some_pods_are_never_resized() {
        let plain = pod(&json!({"containers": [container(&json!({"requests": {"cpu": "1"}}))]}));
        let more = |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into();
        let with = |path: &str, value: Value| {
            let mut pod = plain.clone();
            let (parent, name) = path.rsplit_once('/').unwrap();
            if pod.pointer(parent).is_none() {
                let (above, name) = parent.rsplit_once('/').unwrap();
                pod.pointer_mut(above).unwrap()[name] = json!({});
            }
            pod.pointer_mut(parent).unwrap()[name] = value;
            pod
        };
        let mirror = with("/metadata/annotations", json!({MIRROR: "x"}));
        assert_eq!(causes("resize", &mirror, more), [": Forbidden: static pods cannot be resized"]);
        assert_eq!(
            causes("ephemeralcontainers", &mirror, |_| ()),
            [": Forbidden: static pods do not support ephemeral containers"]
        );
        let windows = with("/spec/os", json!({"name": "windows"}));
        assert_eq!(causes("resize", &windows, more), [": Forbidden: windows pods cannot be resized"]);
        let running = with("/status/containerStatuses", json!([{"name": "c", "state": {"running": {}}}]));
        let wanted = ["spec: Forbidden: Pod running on node without support for resize"];
        assert_eq!(causes("resize", &running, more), wanted);
    }

    #[test]
    fn ephemeral_containers_come_and_stay() {
        let old = pod(&json!({"containers": [container(&json!({}))]}));
        let debug = json!({"name": "d", "image": "i"});
        let add = |pod: &mut Value| {
            pod["spec"]["ephemeralContainers"] = json!([debug]);
            pod["metadata"]["labels"] = json!({"a": "b"});
            pod["spec"]["containers"][0]["image"] = "new".into();
        };
        let mut new = old.clone();
        add(&mut new);
        Pod.default(&mut new);
        Pod.prepare_for_part_update("ephemeralcontainers", &mut new, &old, &CONTEXT);
        assert!(Pod.validate_part_update("ephemeralcontainers", &new, &old).is_empty());
        assert_eq!((&new["metadata"]["generation"], new["metadata"].get("labels")), (&json!(2), None));
        assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
        let gone = causes("ephemeralcontainers", &new, |pod| pod["spec"]["ephemeralContainers"] = json!([]));
        let removed = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n";
        assert_eq!(gone, [removed]);
        let other =
            causes("ephemeralcontainers", &new, |pod| pod["spec"]["ephemeralContainers"][0]["image"] = "other".into());
        let changed = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n";
        assert_eq!(other, [changed]);
    }
}
