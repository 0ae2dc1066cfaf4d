//! What becomes of a finalizer, and who uses what.

use api::corev1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api::metav1::ObjectMeta;
use client::Object;

use crate::pods::is_deleted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Add,
    Remove,
    Keep,
}

/// `used`: asked only of what is to go.
pub(super) fn step(metadata: &ObjectMeta, finalizer: &str, used: impl FnOnce() -> bool) -> Step {
    let has = metadata.finalizers.iter().flatten().any(|own| own == finalizer);
    match (is_deleted(metadata), has) {
        (false, false) => Step::Add,
        (true, true) if !used() => Step::Remove,
        _ => Step::Keep,
    }
}

/// Names of the claims that a pod mentions: directly, or by its ephemeral volumes.
pub(super) fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let name = |volume: &api::corev1::Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name(), volume.name)),
        (None, None) => None,
    };
    volumes.filter_map(name).collect()
}

/// A pod that has no node yet will not be started with a claim that is to go.
pub(super) fn uses_claim(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    !node.is_empty() && claims(pod).iter().any(|name| name == claim.name())
}

pub(super) fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Attribute classes that a claim asks for, has, or is on the way to.
pub(super) fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target = status
        .and_then(|status| status.modify_volume_status.as_ref())
        .and_then(|status| status.target_volume_attributes_class_name.clone());
    [wanted, current, target].into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

pub(super) fn class_of_volume(volume: &PersistentVolume) -> Option<String> {
    let name = volume.spec.as_ref()?.volume_attributes_class_name.clone();
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FINALIZER: &str = "kubernetes.io/pvc-protection";

    fn metadata(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_finalizer_goes_only_when_the_object_is_to_go_and_nobody_uses_it() {
        let ending = json!({"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": [FINALIZER]});
        assert_eq!(step(&metadata(ending.clone()), FINALIZER, || true), Step::Keep);
        assert_eq!(step(&metadata(ending), FINALIZER, || false), Step::Remove);
        assert_eq!(step(&metadata(json!({})), FINALIZER, || false), Step::Add);
        assert_eq!(step(&metadata(json!({"finalizers": [FINALIZER]})), FINALIZER, || false), Step::Keep);
        let without = json!({"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["x/y"]});
        assert_eq!(step(&metadata(without), FINALIZER, || false), Step::Keep);
    }

    #[test]
    fn a_pod_uses_claims_once_it_has_a_node() {
        let claim = |name: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
        };
        let pod = |node: Value| -> Pod {
            let volumes =
                json!([{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "ephemeral": {}}]);
            let spec = json!({"containers": [], "nodeName": node, "volumes": volumes});
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
        };
        assert!(uses_claim(&pod("n".into()), &claim("data")) && uses_claim(&pod("n".into()), &claim("p-b")));
        assert!(!uses_claim(&pod(Value::Null), &claim("data")) && !uses_claim(&pod("n".into()), &claim("other")));
    }
}
