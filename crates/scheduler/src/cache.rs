//! All nodes with what runs there, kept up to date by events, and with what is about to run: pods that are being bound are
//! assumed to be there.

use std::collections::HashMap;
use std::sync::Arc;

use api::corev1::Node;
use client::Object;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

struct Placed {
    node: String,
    /// Not yet confirmed by the API.
    assumed: bool,
}

#[derive(Default)]
pub struct Cache {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    pods: HashMap<String, Placed>,
    /// Pods whose node is not known (yet).
    homeless: HashMap<String, Vec<Arc<PodInfo>>>,
    /// On how many nodes each image is.
    image_nodes: HashMap<String, usize>,
    /// How many pods have (required anti-)affinity: when none has, nobody needs to look for them.
    with_affinity: usize,
    with_required_anti_affinity: usize,
}

impl Cache {
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|index| &self.nodes[*index])
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    pub fn any_affinity(&self) -> bool {
        self.with_affinity > 0
    }

    pub fn any_required_anti_affinity(&self) -> bool {
        self.with_required_anti_affinity > 0
    }

    pub fn put_node(&mut self, node: &Arc<Node>) {
        match self.by_name.get(node.name()) {
            Some(&index) => {
                let before = self.nodes[index].images.clone();
                self.count_images(&before, false);
                self.nodes[index].set_node(node);
            }
            None => self.add_node(node),
        }
        let now = self.node(node.name()).expect("it was put above").images.clone();
        self.count_images(&now, true);
    }

    fn add_node(&mut self, node: &Arc<Node>) {
        let mut info = NodeInfo::new(node);
        for pod in self.homeless.remove(node.name()).unwrap_or_default() {
            info.add_pod(&pod);
        }
        self.by_name.insert(node.name().to_owned(), self.nodes.len());
        self.nodes.push(info);
    }

    /// Its pods are kept until their own deletion is seen.
    pub fn remove_node(&mut self, name: &str) {
        let Some(index) = self.by_name.remove(name) else { return };
        let gone = self.nodes.swap_remove(index);
        if let Some(moved) = self.nodes.get(index) {
            self.by_name.insert(moved.name().to_owned(), index);
        }
        self.count_images(&gone.images, false);
        if !gone.pods.is_empty() {
            self.homeless.insert(name.to_owned(), gone.pods);
        }
    }

    fn count_images(&mut self, images: &HashMap<String, i64>, add: bool) {
        for name in images.keys() {
            let count = self.image_nodes.entry(name.clone()).or_default();
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.image_nodes.remove(name);
            }
        }
    }

    /// The API says that the pod is on its node. Replaces what was known or assumed of it.
    pub fn put_pod(&mut self, pod: &Arc<PodInfo>) {
        self.remove_pod(&pod.uid);
        self.place(pod, pod.node_name().to_owned(), false);
    }

    /// The pod is about to be bound to the node.
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.uid);
        self.place(pod, node.to_owned(), true);
    }

    /// The pod was not bound after all. Gives its node when it was only assumed to be there.
    pub fn forget(&mut self, uid: &str) -> Option<String> {
        let node = self.pods.get(uid).filter(|placed| placed.assumed)?.node.clone();
        self.remove_pod(uid);
        Some(node)
    }

    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.assumed)
    }

    fn place(&mut self, pod: &Arc<PodInfo>, node: String, assumed: bool) {
        self.with_affinity += usize::from(!pod.affinity.is_empty());
        self.with_required_anti_affinity += usize::from(!pod.affinity.required_anti.is_empty());
        match self.by_name.get(&node) {
            Some(index) => self.nodes[*index].add_pod(pod),
            None => self.homeless.entry(node.clone()).or_default().push(pod.clone()),
        }
        self.pods.insert(pod.uid.clone(), Placed { node, assumed });
    }

    pub fn remove_pod(&mut self, uid: &str) {
        let Some(placed) = self.pods.remove(uid) else { return };
        let pod = match self.by_name.get(&placed.node) {
            Some(index) => self.nodes[*index].remove_pod(uid),
            None => self.remove_homeless(&placed.node, uid),
        };
        if let Some(pod) = pod {
            self.with_affinity -= usize::from(!pod.affinity.is_empty());
            self.with_required_anti_affinity -= usize::from(!pod.affinity.required_anti.is_empty());
        }
    }

    fn remove_homeless(&mut self, node: &str, uid: &str) -> Option<Arc<PodInfo>> {
        let pods = self.homeless.get_mut(node)?;
        let index = pods.iter().position(|pod| pod.uid == uid)?;
        let pod = pods.swap_remove(index);
        if pods.is_empty() {
            self.homeless.remove(node);
        }
        Some(pod)
    }
}
