//! What all parts of the kubelet share.

use std::path::PathBuf;
use std::sync::Arc;

use api::corev1::{Node, ObjectReference, Pod, Service};
use client::Client;
use client::events::{EventRecorder, reference};
use container::ContainerRuntime;
use controller_runtime::Lister;
use image::ImageService;
use rt::{Clock, TaskSet};

use crate::config::Config;
use crate::images::Puller;
use crate::network::PodNetwork;
use crate::pods::ephemeral::find_container;
use crate::pods::model::{Role, uid};
use crate::references::References;
use crate::volumes::token::Tokens;

pub struct Context {
    pub config: Config,
    pub client: Client,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub images: Arc<dyn ImageService>,
    pub puller: Puller,
    pub network: Arc<dyn PodNetwork>,
    pub recorder: EventRecorder,
    pub clock: Arc<dyn Clock>,
    pub services: Lister<Service>,
    pub nodes: Lister<Node>,
    pub references: References,
    pub tasks: TaskSet,
    pub memory_capacity: i64,
    pub tokens: Tokens,
}

impl Context {
    /// What a pod keeps on this node: volumes and files.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.data_dir.join("pods").join(uid)
    }

    /// A pod's logs; they outlive its containers, not the pod.
    pub fn log_dir(&self, pod: &Pod) -> PathBuf {
        let metadata = &pod.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        self.config.data_dir.join("logs/pods").join(format!("{namespace}_{name}_{}", uid(pod)))
    }
}

/// A reference to a pod, or to one of its containers.
pub fn pod_reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let mut about = reference(pod);
    about.field_path = container.map(|name| match find_container(pod, name) {
        Some((Role::Init | Role::Sidecar, _)) => format!("spec.initContainers{{{name}}}"),
        Some((Role::Ephemeral, _)) => format!("spec.ephemeralContainers{{{name}}}"),
        _ => format!("spec.containers{{{name}}}"),
    });
    about
}
