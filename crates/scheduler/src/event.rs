//! What happens in the cluster and may make room for a pod that waits.

use api::corev1::{Node, PersistentVolume, PersistentVolumeClaim};
use client::Object;

use crate::pod_info::PodInfo;

#[derive(Clone, Copy)]
pub enum ClusterEvent<'a> {
    NodeAdded(&'a Node),
    NodeUpdated {
        old: &'a Node,
        new: &'a Node,
    },
    NodeDeleted(&'a Node),
    /// A pod is on a node now.
    AssignedPodAdded(&'a PodInfo),
    AssignedPodUpdated {
        old: &'a PodInfo,
        new: &'a PodInfo,
    },
    /// A pod is gone from its node, or has ended there, or was not bound after all.
    AssignedPodDeleted(&'a PodInfo),
    /// The waiting pod itself has changed.
    PodUpdated {
        old: &'a PodInfo,
        new: &'a PodInfo,
    },
    ClaimChanged(&'a PersistentVolumeClaim),
    VolumeChanged(&'a PersistentVolume),
    StorageClassChanged,
    NamespaceChanged,
}

impl ClusterEvent<'_> {
    /// Whether a plugin could care at all: a node's heartbeat concerns nobody.
    pub fn is_relevant(&self) -> bool {
        match self {
            Self::NodeUpdated { old, new } => {
                let status = |node: &Node| node.status.clone().unwrap_or_default();
                old.spec != new.spec
                    || old.metadata.labels != new.metadata.labels
                    || status(old).allocatable != status(new).allocatable
            }
            Self::AssignedPodUpdated { old, new } => {
                old.labels != new.labels || old.requests != new.requests || old.is_terminating != new.is_terminating
            }
            Self::PodUpdated { old, new } => old.pod().spec != new.pod().spec || old.labels != new.labels,
            _ => true,
        }
    }

    /// The node that was added, or is another than before.
    pub fn node(&self) -> Option<(Option<&Node>, &Node)> {
        match self {
            Self::NodeAdded(node) => Some((None, node)),
            Self::NodeUpdated { old, new } => Some((Some(old), new)),
            _ => None,
        }
    }
}

impl std::fmt::Debug for ClusterEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NodeAdded(node) => write!(f, "node {} added", node.name()),
            Self::NodeUpdated { new, .. } => write!(f, "node {} updated", new.name()),
            Self::NodeDeleted(node) => write!(f, "node {} deleted", node.name()),
            Self::AssignedPodAdded(pod) => write!(f, "pod {} assigned", pod.key),
            Self::AssignedPodUpdated { new, .. } => write!(f, "assigned pod {} updated", new.key),
            Self::AssignedPodDeleted(pod) => write!(f, "assigned pod {} gone", pod.key),
            Self::PodUpdated { new, .. } => write!(f, "waiting pod {} updated", new.key),
            Self::ClaimChanged(claim) => write!(f, "claim {} changed", claim.key()),
            Self::VolumeChanged(volume) => write!(f, "volume {} changed", volume.name()),
            Self::StorageClassChanged => f.write_str("storage class changed"),
            Self::NamespaceChanged => f.write_str("namespace changed"),
        }
    }
}
