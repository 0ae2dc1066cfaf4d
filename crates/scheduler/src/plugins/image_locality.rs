//! Prefers nodes that have the pod's images, in proportion to what need not be pulled.

use crate::framework::{Cycle, MAX_SCORE, NodeScore, ScorePlugin};
use crate::node_info::NodeInfo;

const MEGABYTE: i64 = 1024 * 1024;
/// Less is pulled in no time.
const THRESHOLD_MIN: i64 = 23 * MEGABYTE;
const THRESHOLD_MAX_PER_CONTAINER: i64 = 1000 * MEGABYTE;

pub struct ImageLocality;

impl ScorePlugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, _nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let spec = cycle.pod.spec();
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref());
        let names = containers.map(|container| container.image.as_deref());
        let names = names.chain(volumes.map(|image| image.reference.as_deref()));
        let names: Vec<String> = names.map(|name| with_tag(name.unwrap_or_default())).collect();
        let count = names.len();
        let total = cycle.cache.nodes().len();
        let spread = |name: String| {
            let nodes = cycle.cache.nodes_with_image(&name);
            (nodes > 0).then_some((name, nodes))
        };
        let images: Vec<(String, usize)> = names.into_iter().filter_map(spread).collect();
        (!images.is_empty()).then(|| Box::new(Images { images, count, total }) as Box<dyn NodeScore>)
    }
}

/// Nodes list their images with tags.
fn with_tag(name: &str) -> String {
    let after_path = name.rfind('/').map_or(name, |slash| &name[slash..]);
    if after_path.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

struct Images {
    /// With the number of nodes that have it.
    images: Vec<(String, usize)>,
    count: usize,
    total: usize,
}

impl NodeScore for Images {
    fn score(&self, node: &NodeInfo) -> i64 {
        let size =
            |(name, nodes): &(String, usize)| node.images.get(name).map(|size| scaled(*size, *nodes, self.total));
        let present: i64 = self.images.iter().filter_map(size).sum();
        let highest = THRESHOLD_MAX_PER_CONTAINER * i64::try_from(self.count).unwrap_or(i64::MAX);
        let counted = present.clamp(THRESHOLD_MIN, highest.max(THRESHOLD_MIN));
        MAX_SCORE * (counted - THRESHOLD_MIN) / (highest - THRESHOLD_MIN).max(1)
    }
}

/// An image that few nodes have counts less, or all pods would gather there.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "cut as upstream")]
fn scaled(size: i64, nodes: usize, total: usize) -> i64 {
    (size as f64 * (nodes as f64 / total as f64)) as i64
}
