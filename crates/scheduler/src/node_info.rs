//! A node and all that runs there, summed up.

use std::collections::HashMap;
use std::sync::Arc;

use api::corev1::{Node, Taint};
use apimachinery::Quantity;
use client::Object;

use crate::pod_info::{HostPort, PodInfo};
use crate::resources::Resources;

#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub node: Arc<Node>,
    pub pods: Vec<Arc<PodInfo>>,
    pub pods_with_affinity: Vec<Arc<PodInfo>>,
    pub pods_with_required_anti_affinity: Vec<Arc<PodInfo>>,
    pub allocatable: Resources,
    pub allowed_pods: usize,
    pub requested: Resources,
    /// CPU and memory, with a little for containers that ask for none.
    pub scored_requests: (i64, i64),
    pub used_ports: Vec<HostPort>,
    /// Sizes of the images that the node has, by name.
    pub images: Arc<HashMap<String, i64>>,
}

impl NodeInfo {
    pub fn new(node: &Arc<Node>) -> Self {
        let mut info = Self {
            node: node.clone(),
            pods: Vec::new(),
            pods_with_affinity: Vec::new(),
            pods_with_required_anti_affinity: Vec::new(),
            allocatable: Resources::default(),
            allowed_pods: 0,
            requested: Resources::default(),
            scored_requests: (0, 0),
            used_ports: Vec::new(),
            images: Arc::default(),
        };
        info.set_node(node);
        info
    }

    pub fn set_node(&mut self, node: &Arc<Node>) {
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        self.allocatable = Resources::from_list(allocatable);
        let pods = allocatable.and_then(|list| list.get("pods")).and_then(|text| text.0.parse::<Quantity>().ok());
        self.allowed_pods = usize::try_from(pods.unwrap_or_default().value()).unwrap_or(0);
        self.images = Arc::new(images(node));
        self.node = node.clone();
    }

    pub fn name(&self) -> &str {
        self.node.name()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub fn taints(&self) -> &[Taint] {
        self.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    pub fn add_pod(&mut self, pod: &Arc<PodInfo>) {
        if !pod.affinity.is_empty() {
            self.pods_with_affinity.push(pod.clone());
        }
        if !pod.affinity.required_anti.is_empty() {
            self.pods_with_required_anti_affinity.push(pod.clone());
        }
        self.requested.add(&pod.requests);
        self.scored_requests.0 += pod.scored_requests.0;
        self.scored_requests.1 += pod.scored_requests.1;
        self.used_ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod.clone());
    }

    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let index = self.pods.iter().position(|pod| pod.uid == uid)?;
        let pod = self.pods.swap_remove(index);
        self.pods_with_affinity.retain(|other| other.uid != uid);
        self.pods_with_required_anti_affinity.retain(|other| other.uid != uid);
        self.requested.subtract(&pod.requests);
        self.scored_requests.0 -= pod.scored_requests.0;
        self.scored_requests.1 -= pod.scored_requests.1;
        for port in &pod.host_ports {
            if let Some(index) = self.used_ports.iter().position(|used| used == port) {
                self.used_ports.swap_remove(index);
            }
        }
        Some(pod)
    }
}

fn images(node: &Node) -> HashMap<String, i64> {
    let images = node.status.as_ref().and_then(|status| status.images.as_ref()).into_iter().flatten();
    let named = images.flat_map(|image| {
        let size = image.size_bytes.unwrap_or(0);
        image.names.iter().flatten().map(move |name| (name.clone(), size))
    });
    named.collect()
}
