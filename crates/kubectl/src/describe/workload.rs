//! Controllers of pods: deployments, replica sets, daemon sets, stateful sets.

use serde_json::Value;

use super::page::{Page, date, joined_labels, list, number, scalar, text};
use super::pod::{selector, template};
use crate::failure::Failure;

pub fn deployment(deployment: &Value, replica_sets: &[Value], page: &mut Page) {
    let (metadata, spec, status) = (&deployment["metadata"], &deployment["spec"], &deployment["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Namespace", text(&metadata["namespace"]));
    page.field(0, "CreationTimestamp", date(&metadata["creationTimestamp"]));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    page.field(0, "Selector", crate::remote::selector_text(&spec["selector"]));
    page.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            number(&spec["replicas"]),
            number(&status["updatedReplicas"]),
            number(&status["replicas"]),
            number(&status["availableReplicas"]),
            number(&status["unavailableReplicas"])
        ),
    );
    page.field(0, "StrategyType", text(&spec["strategy"]["type"]));
    page.field(0, "MinReadySeconds", number(&spec["minReadySeconds"]).to_string());
    let rolling = &spec["strategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let (unavailable, surge) = (scalar(&rolling["maxUnavailable"]), scalar(&rolling["maxSurge"]));
        page.field(0, "RollingUpdateStrategy", format!("{unavailable} max unavailable, {surge} max surge"));
    }
    template(&spec["template"], page);
    conditions(status, page);
    if !replica_sets.is_empty() {
        let (old, new) = split(&spec["template"], replica_sets);
        page.field(0, "OldReplicaSets", named(&old));
        page.field(0, "NewReplicaSet", named(&new));
    }
}

/// Those of earlier templates, and the one of this template: the oldest, if there are several.
fn split<'a>(template: &Value, replica_sets: &'a [Value]) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let mut sorted: Vec<&Value> = replica_sets.iter().collect();
    sorted.sort_by_key(|set| (text(&set["metadata"]["creationTimestamp"]), text(&set["metadata"]["name"])));
    let new = sorted.iter().position(|set| same_template(&set["spec"]["template"], template));
    let new: Vec<&Value> = new.map(|index| sorted.remove(index)).into_iter().collect();
    (sorted, new)
}

fn same_template(of_set: &Value, of_deployment: &Value) -> bool {
    let plain = |template: &Value| {
        let mut template = template.clone();
        if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
            metadata.retain(|_, value| !value.is_null());
            if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
                labels.remove("pod-template-hash");
            }
        }
        template
    };
    plain(of_set) == plain(of_deployment)
}

fn named(replica_sets: &[&Value]) -> String {
    let name = |set: &&Value| {
        let (name, created) = (text(&set["metadata"]["name"]), number(&set["status"]["replicas"]));
        format!("{name} ({created}/{} replicas created)", number(&set["spec"]["replicas"]))
    };
    let names: Vec<String> = replica_sets.iter().map(name).collect();
    if names.is_empty() { "<none>".into() } else { names.join(", ") }
}

fn conditions(status: &Value, page: &mut Page) {
    if list(&status["conditions"]).is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tReason");
    page.line(1, "----\t------\t------");
    for condition in list(&status["conditions"]) {
        let (kind, state, reason) = (text(&condition["type"]), text(&condition["status"]), text(&condition["reason"]));
        page.line(1, format!("{kind} \t{state}\t{reason}"));
    }
}

fn pods_status(pods: &Result<Vec<Value>, Failure>) -> String {
    let pods = match pods {
        Ok(pods) => pods,
        Err(failure) => return format!("error in fetching pods: {}", failure.text()),
    };
    let count = |phase: &str| pods.iter().filter(|pod| pod["status"]["phase"] == phase).count();
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}

pub fn replica_set(set: &Value, pods: &Result<Vec<Value>, Failure>, page: &mut Page) {
    let (metadata, spec, status) = (&set["metadata"], &set["spec"], &set["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Namespace", text(&metadata["namespace"]));
    page.field(0, "Selector", selector(&spec["selector"]));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    page.controlled_by(set);
    let (current, desired) = (number(&status["replicas"]), number(&spec["replicas"]));
    page.field(0, "Replicas", format!("{current} current / {desired} desired"));
    page.field(0, "Pods Status", pods_status(pods));
    template(&spec["template"], page);
    conditions(status, page);
}

pub fn daemon_set(set: &Value, pods: &Result<Vec<Value>, Failure>, page: &mut Page) {
    let (metadata, spec, status) = (&set["metadata"], &set["spec"], &set["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Namespace", text(&metadata["namespace"]));
    page.field(0, "Selector", crate::remote::selector_text(&spec["selector"]));
    page.field(0, "Node-Selector", joined_labels(&spec["template"]["spec"]["nodeSelector"]));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    for (label, field) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        page.line(0, format!("{label}: {}", number(&status[field])));
    }
    page.field(0, "Pods Status", pods_status(pods));
    template(&spec["template"], page);
}

pub fn stateful_set(set: &Value, pods: &Result<Vec<Value>, Failure>, page: &mut Page) {
    let (metadata, spec, status) = (&set["metadata"], &set["spec"], &set["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Namespace", text(&metadata["namespace"]));
    page.field(0, "CreationTimestamp", date(&metadata["creationTimestamp"]));
    page.field(0, "Selector", crate::remote::selector_text(&spec["selector"]));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    let (desired, total) = (number(&spec["replicas"]), number(&status["replicas"]));
    page.field(0, "Replicas", format!("{desired} desired | {total} total"));
    page.field(0, "Update Strategy", text(&spec["updateStrategy"]["type"]));
    let partition = &spec["updateStrategy"]["rollingUpdate"]["partition"];
    if !partition.is_null() {
        page.field(1, "Partition", number(partition).to_string());
    }
    page.field(0, "Pods Status", pods_status(pods));
    template(&spec["template"], page);
    claims(&spec["volumeClaimTemplates"], page);
}

fn claims(templates: &Value, page: &mut Page) {
    if list(templates).is_empty() {
        return page.line(0, "Volume Claims:\t<none>");
    }
    page.line(0, "Volume Claims:");
    for claim in list(templates) {
        let (metadata, spec) = (&claim["metadata"], &claim["spec"]);
        page.field(1, "Name", text(&metadata["name"]));
        page.field(1, "StorageClass", text(&spec["storageClassName"]));
        page.labels("  Labels", &metadata["labels"]);
        page.annotations("  Annotations", &metadata["annotations"]);
        match &spec["resources"]["requests"]["storage"] {
            Value::Null => page.field(1, "Capacity", "<default>"),
            capacity => page.field(1, "Capacity", scalar(capacity)),
        }
        page.field(1, "Access Modes", scalar(&spec["accessModes"]));
    }
}
