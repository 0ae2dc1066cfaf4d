//! What controllers ask of pods.

use api::corev1::{Container, ObjectReference, Pod, PodCondition, Volume};
use api::metav1::{LabelSelector, ObjectMeta, Time};
use apimachinery::labels::Selector;
use controller_runtime::{Index, Lister};
use jiff::{SignedDuration, Timestamp};

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Drops what neither controllers nor the scheduler read: how containers are run.
pub(crate) fn forget_running(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(forget_process);
    spec.volumes.iter_mut().flatten().for_each(forget_source);
    spec.ephemeral_containers = None;
    (spec.dns_config, spec.dns_policy, spec.enable_service_links) = (None, None, None);
    (spec.host_aliases, spec.image_pull_secrets, spec.security_context) = (None, None, None);
}

/// Ports, resources and the image stay: they decide where a pod can run and be reached.
fn forget_process(container: &mut Container) {
    let known = std::mem::take(container);
    *container = Container {
        name: known.name,
        image: known.image,
        ports: known.ports,
        resources: known.resources,
        resize_policy: known.resize_policy,
        restart_policy: known.restart_policy,
        restart_policy_rules: known.restart_policy_rules,
        ..Container::default()
    };
}

/// Of volumes those stay that claims or images back.
fn forget_source(volume: &mut Volume) {
    let known = std::mem::take(volume);
    *volume = Volume {
        name: known.name,
        persistent_volume_claim: known.persistent_volume_claim,
        ephemeral: known.ephemeral,
        image: known.image,
        ..Volume::default()
    };
}

/// Finds pods by the node that they are on.
pub(crate) fn by_node(pods: &Lister<Pod>) -> Index<Pod> {
    pods.index("node", |pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        node.into_iter().filter(|node| !node.is_empty()).collect()
    })
}

pub(crate) fn is_deleted(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// Neither finished nor on its way out.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && !is_deleted(&pod.metadata)
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// How an endpoint names its pod.
pub(crate) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// When the pod counts as available: at once when it is ready and `min_ready_seconds` is zero. `None`: not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Some(since + SignedDuration::from_secs(i64::from(min_ready_seconds)))
}

pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_at(pod, min_ready_seconds).is_some_and(|at| at <= now)
}

/// The selector of a workload. One that is absent or wrong selects nothing.
pub(crate) fn selector(selector: &LabelSelector) -> Selector {
    let value = serde_json::to_value(selector).unwrap_or_default();
    Selector::from_label_selector(Some(&value)).unwrap_or_else(|_| Selector::nothing())
}

pub(crate) fn matches(selector: &Selector, metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    selector.matches_with(|name| labels.and_then(|labels| labels.get(name)).map(String::as_str))
}

/// Name of the revision that a workload's pod was made from.
pub(crate) fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> &'a str {
    metadata.labels.as_ref().and_then(|labels| labels.get(name)).map_or("", String::as_str)
}

pub(crate) fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> &'a str {
    metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).map_or("", String::as_str)
}

/// A time as conditions carry it: in whole seconds.
pub(crate) fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_forgotten_changes_nothing_that_is_asked() {
        let whole: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {"app": "a"}},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5, "dnsPolicy": "ClusterFirst", "securityContext": {},
                "tolerations": [{"key": "k", "tolerationSeconds": 5}],
                "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "ports": [{"containerPort": 1}], "command": ["x"]}],
                "containers": [{"name": "c", "image": "y", "env": [{"name": "A", "value": "b"}],
                    "resources": {"requests": {"cpu": "1"}}, "livenessProbe": {"periodSeconds": 1}}],
                "volumes": [{"name": "s", "secret": {"secretName": "s"}}, {"name": "p", "persistentVolumeClaim": {"claimName": "p"}}]},
            "status": {"phase": "Running"},
        }))
        .expect("a pod");
        let mut kept = whole.clone();
        forget_running(&mut kept);
        let want = json!({
            "nodeName": "n", "terminationGracePeriodSeconds": 5, "tolerations": [{"key": "k", "tolerationSeconds": 5}],
            "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "ports": [{"containerPort": 1}]}],
            "containers": [{"name": "c", "image": "y", "resources": {"requests": {"cpu": "1"}}}],
            "volumes": [{"name": "s"}, {"name": "p", "persistentVolumeClaim": {"claimName": "p"}}],
        });
        assert_eq!(serde_json::to_value(&kept.spec).expect("JSON"), want);
        assert_eq!((kept.metadata, kept.status), (whole.metadata, whole.status));
    }
}
