//! A pod that is bound to a node learns the zone and the region of the node from labels.

use apimachinery::{Status, object};
use async_trait::async_trait;

use crate::{Operation, Plugin, Request};

pub struct PodTopologyLabels;

const LABELS: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let Some(node) = node(request).filter(|node| !node.is_empty()).map(str::to_owned) else { return Ok(()) };
        let Some(stored) = request.get("", "nodes", "", &node) else { return Ok(()) };
        if let Some(object) = request.object.as_deref_mut() {
            let known = LABELS.iter().filter_map(|label| Some((*label, stored.header.label(label)?)));
            known.for_each(|(label, value)| object::set_label(object, label, value));
        }
        Ok(())
    }
}

/// The node of a binding, or of a pod that is created where it is to run.
fn node<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    let object = request.object.as_deref()?;
    if request.operation != Operation::Create || !request.is_resource("", "pods") {
        return None;
    }
    match request.subresource {
        "" => object.pointer("/spec/nodeName")?.as_str(),
        "binding" if object["target"]["kind"] == "Node" => object.pointer("/target/name")?.as_str(),
        _ => None,
    }
}
