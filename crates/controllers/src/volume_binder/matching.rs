//! Which volume suits a claim.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{PersistentVolume, PersistentVolumeClaim};
use api::k8s::apimachinery::pkg::api::resource::Quantity;
use client::Object;
use serde_json::Value;

use crate::pods::{annotation, is_deleted, matches, selector};

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The claim's class; the annotation of old comes first.
pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    either(annotation(&claim.metadata, CLASS), spec)
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    either(annotation(&volume.metadata, CLASS), spec)
}

fn either<'a>(annotation: &'a str, spec: Option<&'a str>) -> &'a str {
    if annotation.is_empty() { spec.unwrap_or_default() } else { annotation }
}

fn storage(map: Option<&BTreeMap<String, Quantity>>) -> Option<apimachinery::Quantity> {
    let text = map?.get("storage")?;
    Some(apimachinery::Quantity::of(&Value::from(text.0.as_str())))
}

fn size_of_volume(volume: &PersistentVolume) -> Option<apimachinery::Quantity> {
    storage(volume.spec.as_ref()?.capacity.as_ref())
}

fn is_large_enough(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let wanted = resources.and_then(|resources| storage(resources.requests.as_ref()));
    wanted.is_none_or(|wanted| size_of_volume(volume).is_some_and(|size| size >= wanted))
}

pub(super) fn has_same_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let volume = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
    let claim = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
    volume.unwrap_or("Filesystem") == claim.unwrap_or("Filesystem")
}

fn has_same_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let volume = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let claim = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    volume.unwrap_or_default() == claim.unwrap_or_default()
}

fn modes_of_volume(volume: &PersistentVolume) -> &[String] {
    volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default()
}

fn has_access_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| modes_of_volume(volume).contains(mode))
}

/// Whether the volume is reserved for the claim: by a reference to it, or to one of its name.
pub(super) fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(wanted) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let uid = wanted.uid.as_deref().unwrap_or_default();
    wanted.name.as_deref() == Some(claim.name())
        && wanted.namespace.as_deref() == Some(claim.namespace())
        && (uid.is_empty() || uid == claim.uid())
}

/// Why a volume that the claim asks for by name cannot be had.
pub(super) fn objection(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if is_deleted(&volume.metadata) {
        return Some(format!("the volume is marked for deletion {:?}", volume.name()));
    }
    let rules = [
        (is_large_enough(volume, claim), "requested PV is too small"),
        (class_of_volume(volume) == class_of_claim(claim), "storageClassName does not match"),
        (has_same_mode(volume, claim), "incompatible volumeMode"),
        (has_same_attributes(volume, claim), "volumeAttributesClassName does not match"),
        (has_access_modes(volume, claim), "incompatible accessMode"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why.to_owned())
}

/// The volume for a claim: one reserved for it, else, unless only those count, the one with the fewest access modes beside
/// those wanted, and of these the smallest.
pub(super) fn find(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    reserved_only: bool,
) -> Option<Arc<PersistentVolume>> {
    let fits = |volume: &PersistentVolume| {
        is_large_enough(volume, claim)
            && has_same_mode(volume, claim)
            && has_same_attributes(volume, claim)
            && has_access_modes(volume, claim)
            && !is_deleted(&volume.metadata)
    };
    let fitting: Vec<_> = volumes.iter().filter(|volume| fits(volume)).collect();
    if let Some(reserved) = fitting.iter().find(|volume| is_reserved_for(volume, claim)) {
        return Some(Arc::clone(reserved));
    }
    let labels = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(selector);
    let is_free = |volume: &PersistentVolume| {
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Available")
            && volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none())
            && class_of_volume(volume) == class_of_claim(claim)
            && labels.as_ref().is_none_or(|labels| matches(labels, &volume.metadata))
    };
    let free = fitting.into_iter().filter(|volume| !reserved_only && is_free(volume));
    let order = |one: &Arc<PersistentVolume>, other: &Arc<PersistentVolume>| {
        let modes = modes_of_volume(one).len().cmp(&modes_of_volume(other).len());
        let sizes = size_of_volume(one).partial_cmp(&size_of_volume(other));
        modes.then(sizes.unwrap_or(std::cmp::Ordering::Equal)).then(one.name().cmp(other.name()))
    };
    free.min_by(|one, other| order(one, other)).cloned()
}
