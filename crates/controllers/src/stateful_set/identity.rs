//! Who a pod of a StatefulSet is: its name, its number, its claims.

use api::appsv1::StatefulSet;
use api::corev1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume};
use api::metav1::{ObjectMeta, OwnerReference};
use client::Object;

use super::revisions::{POD_REVISION, Revision};
use crate::ownership::{controller_of, reference};
use crate::pods::label;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The pod's number in this set.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (parent, number) = pod.name().rsplit_once('-')?;
    number.parse().ok().filter(|number| *number >= 0 && parent == set.name())
}

pub(super) fn revision_of(pod: &Pod) -> &str {
    label(&pod.metadata, POD_REVISION)
}

pub(super) fn new_pod(set: &StatefulSet, revision: &Revision, ordinal: i32) -> Pod {
    let template = revision.template.clone();
    let metadata = template.metadata.unwrap_or_default();
    let name = format!("{}-{ordinal}", set.name());
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            generate_name: Some(format!("{}-", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    };
    identify(&mut pod, ordinal);
    pod.metadata.labels.get_or_insert_default().insert(POD_REVISION.into(), revision.name.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    mount_claims(set, &mut pod, ordinal);
    pod
}

/// Puts the labels of its identity on the pod.
pub(super) fn identify(pod: &mut Pod, ordinal: i32) {
    let name = pod.name().to_owned();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name);
    labels.insert(POD_INDEX.into(), ordinal.to_string());
}

pub(super) fn is_own_label(name: &str) -> bool {
    [POD_NAME, POD_INDEX].contains(&name)
}

/// The claims' volumes take the place of the template's volumes of the same name.
fn mount_claims(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let claims = templates(set).iter().map(|template| Volume {
        name: template.name().to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(set, template, ordinal),
            read_only: None,
        }),
        ..Volume::default()
    });
    let mut volumes: Vec<Volume> = claims.collect();
    let spec = pod.spec.get_or_insert_default();
    for volume in spec.volumes.take().unwrap_or_default() {
        if !volumes.iter().any(|claim| claim.name == volume.name) {
            volumes.push(volume);
        }
    }
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
}

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.name(), set.name())
}

/// The claims of one pod, as they are made.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, template, ordinal));
        claim.metadata.namespace = set.metadata.namespace.clone();
        claim.metadata.labels.get_or_insert_default().extend(selector.clone());
        claim.status = None;
        claim
    };
    templates(set).iter().map(claim).collect()
}

/// When claims go with what uses them.
#[derive(Clone, Copy)]
pub(super) struct Retention {
    pub delete_with_set: bool,
    pub delete_when_scaled: bool,
}

impl Retention {
    pub fn of(set: &StatefulSet) -> Self {
        let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |value: Option<&String>| value.is_some_and(|value| value == "Delete");
        Retention {
            delete_with_set: deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
            delete_when_scaled: deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }

    /// Who is to own the claim of a pod. `condemned`: the pod is beyond the set's size. `pod_uid` is absent while
    /// the pod is not made yet.
    pub fn owners(
        self,
        claim: &PersistentVolumeClaim,
        set: &StatefulSet,
        pod: &Pod,
        condemned: bool,
    ) -> Vec<OwnerReference> {
        let ours = |owner: &OwnerReference| is_set(owner, set) || is_pod(owner, pod);
        let known = claim.metadata.owner_references.iter().flatten();
        let mut owners: Vec<_> = known.filter(|owner| !ours(owner)).cloned().collect();
        if controller_of(&claim.metadata).is_some_and(|controller| !ours(controller)) {
            return owners;
        }
        if self.delete_when_scaled && condemned {
            owners.extend((!pod.uid().is_empty()).then(|| reference(pod)));
        } else if self.delete_with_set {
            owners.push(reference(set));
        }
        owners
    }
}

fn is_set(owner: &OwnerReference, set: &StatefulSet) -> bool {
    owner.kind == "StatefulSet" && owner.name == set.name()
}

fn is_pod(owner: &OwnerReference, pod: &Pod) -> bool {
    owner.kind == "Pod" && owner.name == pod.name()
}

/// Whether the claim goes with an earlier pod of the same name.
pub(super) fn is_stale(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    claim.metadata.owner_references.iter().flatten().any(|owner| is_pod(owner, pod) && owner.uid != pod.uid())
}
