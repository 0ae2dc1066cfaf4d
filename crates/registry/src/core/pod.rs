//! Pods.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::ip_warnings;
use serde_json::{Value, json};

use super::{pod_parts, pod_row, pod_update};
use crate::at::At;
use crate::cells::text;
use crate::pod_spec::{self, Options};
use crate::strategy::{Column, Context, Strategy, keep_all_but_status_and_metadata, keep_metadata, keep_status};

pub struct Pod;

/// One address and the list of them say the same; older kubelets know the one alone.
fn tie_addresses(status: &mut Value) {
    let one = text(status, "/podIP").to_owned();
    let first = status.pointer("/podIPs/0").map(|first| text(first, "/ip").to_owned());
    match first {
        Some(first) if one.is_empty() => status["podIP"] = first.into(),
        Some(first) if first == one => {}
        None if one.is_empty() => {}
        _ => status["podIPs"] = json!([{"ip": one}]),
    }
}

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
            "resize" => &[
                "spec.containers.*.resources",
                "spec.containers.*.resizePolicy",
                "spec.initContainers.*.resources",
                "spec.initContainers.*.resizePolicy",
                "spec.resources",
            ],
            _ => &[],
        }
    }

    /// Changes are made by machines, and often.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { pod_spec::pod_warnings(&At::root(new)) }
    }

    fn part_warnings(&self, subresource: &str, new: &Value, _old: &Value) -> Vec<String> {
        if subresource != "status" {
            return Vec::new();
        }
        let status = At::root(new).at("status");
        let lists = ["podIPs", "hostIPs"].map(|list| status.at(list).items());
        let addresses = lists.iter().flatten().map(|one| one.at("ip"));
        addresses.filter_map(|ip| ip_warnings(&ip.path, ip.text())).collect()
    }

    fn prepare_for_create(&self, object: &mut Value, context: &Context<'_>) {
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
                "lastProbeTime": null, "lastTransitionTime": context.now,
            }]);
        }
        merge_label_keys(object);
        app_armor_fields(object);
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = crate::defaults::object(object, "spec") {
            pod_spec::default_spec(spec);
            pod_spec::default_pod_only(spec);
        }
        if let Some(status) = crate::defaults::object(object, "status") {
            tie_addresses(status);
        }
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = rules(object);
        let spec = At::root(object).at("spec");
        if !spec.at("ephemeralContainers").empty() {
            errors.forbidden(&Path::new("spec.ephemeralContainers"), "cannot be set on create");
        }
        if !spec.at("nodeName").empty() && !spec.at("schedulingGates").empty() {
            let detail = "cannot be set until all schedulingGates have been cleared";
            errors.forbidden(&spec.path.child("nodeName"), detail);
        }
        pod_spec::match_fields(&object["metadata"]["annotations"], &spec, &mut errors);
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = rules(new);
        annotation_updates(new, old, &mut errors);
        pod_update::validate(&At::root(new).at("spec"), &old["spec"], &mut errors);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
        keep_metadata(new, old, "ownerReferences");
        let qos = old.pointer("/status/qosClass").cloned().unwrap_or_else(|| pod_spec::qos_class(&old["spec"]).into());
        if let Some(status) = crate::defaults::object(new, "status") {
            crate::defaults::set(status, "qosClass", qos);
            pod_update::keep_generations(status, &old["status"]);
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        annotation_updates(new, old, &mut errors);
        pod_update::validate_status(new, old, &mut errors);
        errors
    }

    fn prepare_for_part_update(&self, subresource: &str, new: &mut Value, old: &Value, _context: &Context<'_>) {
        match subresource {
            "resize" | "ephemeralcontainers" => pod_parts::prepare(subresource, new, old),
            _ => self.prepare_for_status_update(new, old),
        }
    }

    fn validate_part_update(&self, subresource: &str, new: &Value, old: &Value) -> ErrorList {
        match subresource {
            "resize" => pod_parts::validate_resize(new, old, rules(new)),
            "ephemeralcontainers" => {
                let mut errors = rules(new);
                annotation_updates(new, old, &mut errors);
                pod_parts::validate_ephemeral(new, old, errors)
            }
            _ => self.validate_status_update(new, old),
        }
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
        // Upstream knows the label, but no pod has the field.
        fields.push(("status.podIPs", String::new()));
        fields
    }

    fn selected_field<'a>(&self, label: &'a str) -> Option<&'a str> {
        Some(if label == "spec.host" { "spec.nodeName" } else { label })
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

/// What holds of every pod, new or changed.
fn rules(pod: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::root(pod).at("spec");
    let path = Path::new("metadata.annotations");
    pod_spec::validate_annotations(&pod["metadata"]["annotations"], &path, &spec, &mut errors);
    let options = Options { pod: true, name: text(pod, "/metadata/name") };
    pod_spec::validate_spec(&spec, options, &mut errors);
    if spec.at("serviceAccountName").empty() {
        for volume in spec.at("volumes").items() {
            let sources = volume.to("projected.sources").items();
            for token in sources.iter().map(|source| source.at("serviceAccountToken")).filter(At::present) {
                errors.forbidden(&token.path, "must not be specified when serviceAccountName is not set");
            }
        }
    }
    pod_spec::padded_images(&spec, &mut errors);
    errors
}

fn annotation_updates(new: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("metadata.annotations");
    let (after, before) = (&new["metadata"]["annotations"], &old["metadata"]["annotations"]);
    pod_spec::validate_annotations_update(after, before, &path, errors);
    pod_spec::validate_annotations(after, &path, &At::root(new).at("spec"), errors);
}

/// What terms say by the keys of the pod's labels, they say in their selectors from now on.
fn merge_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let Some(spec) = crate::defaults::present(pod, "spec") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = crate::defaults::present(spec, "affinity").and_then(|all| crate::defaults::present(all, kind))
        else {
            continue;
        };
        for preferred in crate::defaults::items(pods, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = crate::defaults::present(preferred, "podAffinityTerm") {
                merge_keys(term, &labels);
            }
        }
        for term in crate::defaults::items(pods, "requiredDuringSchedulingIgnoredDuringExecution") {
            merge_keys(term, &labels);
        }
    }
    crate::defaults::items(spec, "topologySpreadConstraints").for_each(|constraint| merge_keys(constraint, &labels));
}

fn merge_keys(term: &mut Value, labels: &Value) {
    if !term["labelSelector"].is_object() {
        return;
    }
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term[list].as_array().cloned().unwrap_or_default();
        for (key, value) in keys.iter().filter_map(|key| Some((key, labels.get(key.as_str()?)?))) {
            let wanted = json!({"key": key, "operator": operator, "values": [value]});
            match term["labelSelector"]["matchExpressions"].as_array_mut() {
                Some(expressions) => expressions.push(wanted),
                None => term["labelSelector"]["matchExpressions"] = json!([wanted]),
            }
        }
    }
}

/// An old annotation becomes the field of its container.
fn app_armor_fields(pod: &mut Value) {
    if text(pod, "/spec/os/name") == "windows" {
        return;
    }
    let annotations = pod["metadata"]["annotations"].clone();
    let whole = pod.pointer("/spec/securityContext/appArmorProfile").cloned();
    let Some(spec) = crate::defaults::present(pod, "spec") else { return };
    for list in ["initContainers", "containers"] {
        for container in crate::defaults::items(spec, list) {
            let key = format!("{}{}", pod_spec::APP_ARMOR, text(container, "/name"));
            let profile = annotations.get(&key).and_then(Value::as_str).and_then(pod_spec::app_armor_profile);
            let has = !container["securityContext"]["appArmorProfile"].is_null();
            if let Some(profile) = profile.filter(|profile| !has && whole.as_ref() != Some(profile)) {
                container["securityContext"]["appArmorProfile"] = profile;
            }
        }
    }
}
