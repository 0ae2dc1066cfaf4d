//! Pods may demand to be apart on nodes only, not in zones or other domains.

use apimachinery::Status;
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct LimitPodHardAntiAffinityTopology;

const HOSTNAME: &str = "kubernetes.io/hostname";

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_resource("", "pods") || !request.subresource.is_empty() {
            return Ok(());
        }
        match request.object.as_deref().and_then(wider_key) {
            Some(key) => Err(request.forbidden(format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} is allowed"
            ))),
            None => Ok(()),
        }
    }
}

/// The first required topology key that is not a node's.
fn wider_key(pod: &Value) -> Option<&str> {
    let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let keys = terms.as_array()?.iter().map(|term| term["topologyKey"].as_str().unwrap_or_default());
    keys.into_iter().find(|key| *key != HOSTNAME)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_required_terms_count_and_only_the_hostname_is_allowed() {
        let pod = |rule: &str, keys: &[&str]| {
            let terms: Vec<Value> = keys.iter().map(|key| json!({"topologyKey": key})).collect();
            json!({"spec": {"affinity": {"podAntiAffinity": {rule: terms}}}})
        };
        let (required, preferred) =
            ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
        let cases = [
            (json!({"spec": {}}), None),
            (pod(required, &[]), None),
            (pod(required, &[HOSTNAME]), None),
            (pod(required, &["zone"]), Some("zone")),
            (pod(required, &[HOSTNAME, "zone", "rack"]), Some("zone")),
            (pod(required, &[""]), Some("")),
            (pod(preferred, &["zone"]), None),
        ];
        for (pod, expected) in cases {
            assert_eq!(wider_key(&pod), expected, "{pod}");
        }
    }
}
