//! The pod's claims exist and are bound, to volumes that the node can reach.
//!
//! Claims that wait for their first consumer are not provisioned from here: without a volume controller that would, they
//! fit no node, as upstream says it.

use std::sync::Arc;

use api::corev1::{PersistentVolume, PersistentVolumeClaim};
use apimachinery::ObjectKey;
use apimachinery::nodes::selects;
use client::Object;

use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, NodeFilter, PreFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub struct VolumeBinding;

impl FilterPlugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        match observe(cycle) {
            Ok(None) => PreFilter::Skip,
            Ok(Some(volumes)) => PreFilter::check(volumes),
            Err(reason) => PreFilter::Reject(Rejection::unresolvable(reason)),
        }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::ClaimChanged(claim) => {
                claim.namespace() == pod.key.namespace && pod.claims().any(|(name, _)| name == claim.name())
            }
            ClusterEvent::VolumeChanged(_) | ClusterEvent::StorageClassChanged | ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => old.metadata.labels != new.metadata.labels,
            _ => false,
        }
    }
}

#[derive(Default)]
struct Volumes {
    bound: Vec<Arc<PersistentVolume>>,
    /// A claim is bound to a volume that is not there.
    lost: bool,
    /// A claim waits for its first consumer.
    waiting: bool,
}

/// `None`: the pod has no claims.
fn observe(cycle: &Cycle<'_>) -> Result<Option<Volumes>, String> {
    let mut volumes = Volumes::default();
    let (mut any, mut immediate) = (false, false);
    for (name, ephemeral) in cycle.pod.claims() {
        any = true;
        let claim = usable_claim(cycle, &name, ephemeral)?;
        match claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|_| is_bound(&claim)) {
            Some(volume) => match cycle.cluster.volumes.get(&ObjectKey::new("", volume)) {
                Some(volume) => volumes.bound.push(volume),
                None => volumes.lost = true,
            },
            None if waits_for_consumer(cycle, &claim) => volumes.waiting = true,
            None => immediate = true,
        }
    }
    if immediate {
        return Err("pod has unbound immediate PersistentVolumeClaims".into());
    }
    Ok(any.then_some(volumes))
}

fn usable_claim(cycle: &Cycle<'_>, name: &str, ephemeral: bool) -> Result<Arc<PersistentVolumeClaim>, String> {
    let key = ObjectKey::new(&cycle.pod.key.namespace, name);
    let Some(claim) = cycle.cluster.claims.get(&key) else {
        return Err(match ephemeral {
            true => format!("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""),
            false => format!("persistentvolumeclaim \"{name}\" not found"),
        });
    };
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase == Some("Lost") {
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        return Err(format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
    }
    let owners = claim.metadata.owner_references.iter().flatten();
    if ephemeral && !owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == cycle.pod.uid) {
        let (namespace, pod) = (&cycle.pod.key.namespace, &cycle.pod.key.name);
        return Err(format!("PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"));
    }
    Ok(claim)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let annotations = claim.metadata.annotations.as_ref();
    let named = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.as_ref().is_some_and(|name| !name.is_empty()));
    named && annotations.is_some_and(|all| all.contains_key("pv.kubernetes.io/bind-completed"))
}

fn waits_for_consumer(cycle: &Cycle<'_>, claim: &PersistentVolumeClaim) -> bool {
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
    let class = cycle.cluster.storage_classes.get(&ObjectKey::new("", class));
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

impl NodeFilter for Volumes {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if self.lost {
            let reason = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
            return Err(Rejection::unresolvable(reason));
        }
        if !self.bound.iter().all(|volume| reaches(volume, node)) {
            return Err(Rejection::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
        }
        if self.waiting {
            return Err(Rejection::unresolvable("node(s) didn't find available persistent volumes to bind"));
        }
        Ok(())
    }
}

fn reaches(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|required| selects(required, &node.node))
}
