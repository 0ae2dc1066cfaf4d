//! The next step for a claim or for a volume.
//!
//! A pass makes one write; what it changes wakes the next pass. A binding takes four: the volume refers to the claim, is Bound,
//! the claim refers to the volume, is Bound. Whatever interrupts it, the next pass goes on where it stands.

use std::sync::Arc;

use api::corev1::{PersistentVolume, PersistentVolumeClaim};
use api::metav1::ObjectMeta;
use api::storagev1::StorageClass;
use client::Object;
use client::events::EventType::{self, Normal, Warning};

use super::matching::{class_of_claim, find, has_same_mode, is_reserved_for, objection};
use crate::pods::annotation;

pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const BETA_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
const IN_TREE: &str = "kubernetes.io/";

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Volume(Box<PersistentVolume>),
    VolumeStatus(Box<PersistentVolume>),
    Claim(Box<PersistentVolumeClaim>),
    ClaimStatus(Box<PersistentVolumeClaim>),
}

/// What users are told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub step: Option<Step>,
    pub note: Option<Note>,
}

impl Plan {
    fn step(step: Option<Step>) -> Self {
        Self { step, note: None }
    }

    fn note(self, kind: EventType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { note: Some(Note { kind, reason, message: message.into() }), ..self }
    }

    /// For what is told once, when it comes about.
    fn note_if_new(self, kind: EventType, reason: &'static str, message: impl Into<String>) -> Self {
        if self.step.is_some() { self.note(kind, reason, message) } else { self }
    }
}

/// What is known around a claim.
pub(super) struct AroundClaim<'a> {
    pub volumes: &'a [Arc<PersistentVolume>],
    /// The claim's class, if there is one of its name.
    pub class: Option<&'a StorageClass>,
    /// Names of pods that wait for the claim.
    pub pods: &'a [String],
}

pub(super) fn plan_claim(claim: &PersistentVolumeClaim, around: &AroundClaim<'_>) -> Plan {
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    let volume = around.volumes.iter().find(|volume| volume.name() == name);
    if has(&claim.metadata, BIND_COMPLETED) {
        return plan_bound_claim(claim, name, volume.map(Arc::as_ref));
    }
    match volume {
        Some(volume) => plan_wanted_volume(claim, volume),
        None if !name.is_empty() => Plan::step(claim_phase(claim, "Pending", None)),
        None => plan_unbound_claim(claim, around),
    }
}

fn plan_unbound_claim(claim: &PersistentVolumeClaim, around: &AroundClaim<'_>) -> Plan {
    let mode = around.class.and_then(|class| class.volume_binding_mode.as_deref());
    let delayed = mode == Some("WaitForFirstConsumer");
    if let Some(volume) = find(claim, around.volumes, delayed) {
        return Plan::step(bind(claim, &volume));
    }
    let pending = Plan::step(claim_phase(claim, "Pending", None));
    if delayed && !has(&claim.metadata, SELECTED_NODE) {
        let (reason, message) = waiting(around.pods);
        return pending.note(Normal, reason, message);
    }
    match (class_of_claim(claim), around.class) {
        ("", _) => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            pending.note(Normal, "FailedBinding", message)
        }
        (class, None) => {
            let message = format!("storageclass.storage.k8s.io {class:?} not found");
            pending.note(Warning, "ProvisioningFailed", message)
        }
        (_, Some(class)) => provision(claim, class, pending),
    }
}

/// Volumes are made by provisioners outside, which look for the claim's annotation.
fn provision(claim: &PersistentVolumeClaim, class: &StorageClass, pending: Plan) -> Plan {
    let provisioner = &class.provisioner;
    if provisioner.starts_with(IN_TREE) {
        let message = format!("no volume plugin matched name: {provisioner}");
        return pending.note(Warning, "ProvisioningFailed", message);
    }
    let told = [PROVISIONER, BETA_PROVISIONER].iter().all(|name| annotation(&claim.metadata, name) == provisioner);
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    if told || pending.step.is_some() {
        return pending.note(Normal, "ExternalProvisioning", message);
    }
    let mut asking = claim.clone();
    annotate(&mut asking.metadata, PROVISIONER, provisioner);
    annotate(&mut asking.metadata, BETA_PROVISIONER, provisioner);
    Plan::step(Some(Step::Claim(Box::new(asking))))
}

fn waiting(pods: &[String]) -> (&'static str, String) {
    match pods {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".into()),
        [pod] => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        pods => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
    }
}

/// The claim asks for this volume.
fn plan_wanted_volume(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    let is_free = volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none());
    let pending = || Plan::step(claim_phase(claim, "Pending", None));
    if is_free && let Some(why) = objection(volume, claim) {
        let message = format!("Cannot bind to requested volume {:?}: {why}", volume.name());
        return pending().note(Warning, "VolumeMismatch", message);
    }
    if is_free || is_reserved_for(volume, claim) {
        return Plan::step(bind(claim, volume));
    }
    let message = format!("volume {:?} already bound to a different claim.", volume.name());
    pending().note(Warning, "FailedBinding", message)
}

fn plan_bound_claim(claim: &PersistentVolumeClaim, name: &str, volume: Option<&PersistentVolume>) -> Plan {
    let lost =
        |reason, message: &str| Plan::step(claim_phase(claim, "Lost", None)).note_if_new(Warning, reason, message);
    let Some(volume) = volume else {
        let what = if name.is_empty() { "reference to PersistentVolume" } else { "its PersistentVolume" };
        let message = format!("Bound claim has lost {what}. Data on the volume is lost!");
        return lost("ClaimLost", &message);
    };
    let holder = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    match holder {
        Some(holder) if holder.uid.as_deref() != Some(claim.uid()) && !is_reserved_for(volume, claim) => {
            lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
        _ => Plan::step(bind(claim, volume)),
    }
}

/// The first step of a binding that is not yet made.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Step> {
    let refers = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if refers.is_none_or(|refers| refers.uid.as_deref() != Some(claim.uid())) {
        return Some(Step::Volume(Box::new(referring(volume, claim))));
    }
    if let Some(step) = volume_phase(volume, "Bound", "") {
        return Some(step);
    }
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) == Some(volume.name());
    if named && has(&claim.metadata, BIND_COMPLETED) {
        return claim_phase(claim, "Bound", Some(volume));
    }
    let mut bound = claim.clone();
    if !named {
        bound.spec.get_or_insert_default().volume_name = Some(volume.name().to_owned());
        annotate(&mut bound.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    annotate(&mut bound.metadata, BIND_COMPLETED, "yes");
    Some(Step::Claim(Box::new(bound)))
}

/// A volume that nobody reserved is marked, so that its reference may be taken back.
fn referring(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut bound = volume.clone();
    if !is_reserved_for(volume, claim) {
        annotate(&mut bound.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    bound.spec.get_or_insert_default().claim_ref = Some(client::events::reference(claim));
    bound
}

/// The step to a claim's new status, with what it has of its volume.
fn claim_phase(claim: &PersistentVolumeClaim, phase: &str, volume: Option<&PersistentVolume>) -> Option<Step> {
    let mut changed = claim.clone();
    let status = changed.status.get_or_insert_default();
    let spec = volume.and_then(|volume| volume.spec.as_ref());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    // A claim that is Bound keeps its capacity: its file system may be smaller than the volume for a time.
    if volume.is_none() || status.phase.as_deref() != Some(phase) {
        status.capacity = spec.and_then(|spec| spec.capacity.clone());
        status.current_volume_attributes_class_name = spec.and_then(|spec| spec.volume_attributes_class_name.clone());
    }
    status.phase = Some(phase.to_owned());
    (changed != *claim).then(|| Step::ClaimStatus(Box::new(changed)))
}

fn volume_phase(volume: &PersistentVolume, phase: &str, message: &str) -> Option<Step> {
    let status = volume.status.as_ref();
    let old = |field: Option<&String>| field.cloned().unwrap_or_default();
    let same = old(status.and_then(|status| status.phase.as_ref())) == phase
        && old(status.and_then(|status| status.message.as_ref())) == message;
    if same {
        return None;
    }
    let mut changed = volume.clone();
    let status = changed.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.message = (!message.is_empty()).then(|| message.to_owned());
    Some(Step::VolumeStatus(Box::new(changed)))
}

/// `claim`: the one that the volume refers to, if it is there, whatever its UID.
pub(super) fn plan_volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Plan {
    let refers = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = refers.and_then(|refers| refers.uid.as_deref()).unwrap_or_default();
    if uid.is_empty() {
        return Plan::step(volume_phase(volume, "Available", ""));
    }
    let Some(claim) = claim.filter(|claim| claim.uid() == uid) else { return release(volume) };
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if name == volume.name() {
        return Plan::step(volume_phase(volume, "Bound", ""));
    }
    if name.is_empty() {
        let message = format!(
            "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
            claim.name()
        );
        let plan = Plan::default(); // the claim's own pass goes on with the binding
        return if has_same_mode(volume, claim) { plan } else { plan.note(Warning, "VolumeMismatch", message) };
    }
    if has(&volume.metadata, PROVISIONED_BY) && policy(volume) == "Delete" {
        return release(volume); // made for the claim, which chose another
    }
    Plan::step(Some(Step::Volume(Box::new(unbound(volume)))))
}

/// A reservation by a user stays, for whoever comes under that name.
fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut free = volume.clone();
    let ours = has(&free.metadata, BOUND_BY_CONTROLLER);
    let spec = free.spec.get_or_insert_default();
    if ours {
        spec.claim_ref = None;
        free.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER);
    } else if let Some(refers) = &mut spec.claim_ref {
        refers.uid = None;
    }
    free
}

/// The claim is gone. What becomes of the volume is its policy's: whoever made it deletes it, and nobody else can.
fn release(volume: &PersistentVolume) -> Plan {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if !matches!(phase, "Released" | "Failed") {
        return Plan::step(volume_phase(volume, "Released", ""));
    }
    let made_outside = !annotation(&volume.metadata, PROVISIONED_BY).is_empty()
        && !annotation(&volume.metadata, PROVISIONED_BY).starts_with(IN_TREE);
    match policy(volume) {
        "Delete" if made_outside => Plan::default(),
        "Delete" => {
            let message = undeletable(volume);
            Plan::step(volume_phase(volume, "Failed", &message)).note_if_new(Warning, "VolumeFailedDelete", message)
        }
        "Recycle" => {
            let message = "No recycler plugin found for the volume!";
            Plan::step(volume_phase(volume, "Failed", message)).note_if_new(Warning, "VolumeFailedRecycle", message)
        }
        _ => Plan::default(),
    }
}

fn undeletable(volume: &PersistentVolume) -> String {
    let path = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref()).map(|source| source.path.as_str());
    match path {
        Some(path) if !path.starts_with("/tmp/") => {
            format!("host_path deleter only supports /tmp/.+ but received provided {path}")
        }
        _ => {
            let name = volume.name();
            format!("error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched")
        }
    }
}

fn policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or("Retain")
}

fn has(metadata: &ObjectMeta, name: &str) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(name))
}

fn annotate(metadata: &mut ObjectMeta, name: &str, value: &str) {
    metadata.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests;
