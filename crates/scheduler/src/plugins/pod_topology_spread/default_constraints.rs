//! Constraints for pods that have none of their own: those of one Service, ReplicaSet, ReplicationController or StatefulSet
//! are spread over nodes and zones, softly.

use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use serde_json::{Map, Value, json};

use super::{Constraint, HOSTNAME};
use crate::cluster::Cluster;
use crate::pod_info::PodInfo;

const ZONE: &str = "topology.kubernetes.io/zone";
const DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), (ZONE, 5)];

pub(super) fn of(pod: &PodInfo, cluster: &Cluster) -> Vec<Constraint> {
    let Some(selector) = group_selector(pod, cluster) else { return Vec::new() };
    let constraint = |(key, max_skew): (&str, i64)| Constraint {
        max_skew,
        topology_key: key.to_owned(),
        selector: selector.clone(),
        min_domains: 1,
        honors_affinity: true,
        honors_taints: false,
    };
    DEFAULTS.into_iter().map(constraint).collect()
}

/// What the pod's services and its owner select by, together. `None`: it belongs to no group.
fn group_selector(pod: &PodInfo, cluster: &Cluster) -> Option<Selector> {
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for service in cluster.services.namespace(&pod.key.namespace) {
        let own = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|own| !own.is_empty());
        let own = own.and_then(|own| serde_json::to_value(own).ok());
        if own.is_some() && pod.matches(&Selector::from_map(own.as_ref())) {
            labels.extend(own.as_ref().and_then(Value::as_object).cloned().unwrap_or_default());
        }
    }
    owner_selector(pod, cluster, &mut expressions);
    let selector = json!({"matchLabels": labels, "matchExpressions": expressions});
    let selector = Selector::from_label_selector(Some(&selector)).ok()?;
    (!selector.is_everything()).then_some(selector)
}

fn owner_selector(pod: &PodInfo, cluster: &Cluster, expressions: &mut Vec<Value>) {
    let owners = pod.pod().metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else { return };
    let key = ObjectKey::new(&pod.key.namespace, &owner.name);
    let selector = match owner.kind.as_str() {
        "ReplicaSet" => {
            cluster.replica_sets.get(&key).and_then(|set| json_of(set.spec.as_ref().map(|spec| &spec.selector)))
        }
        "StatefulSet" => {
            cluster.stateful_sets.get(&key).and_then(|set| json_of(set.spec.as_ref().map(|spec| &spec.selector)))
        }
        "ReplicationController" => {
            let controller = cluster.replication_controllers.get(&key);
            let own = controller.and_then(|own| json_of(own.spec.as_ref().and_then(|spec| spec.selector.as_ref())));
            own.map(|own| json!({"matchLabels": own}))
        }
        _ => None,
    };
    let Some(selector) = selector else { return };
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        expressions.push(json!({"key": key, "operator": "In", "values": [value]}));
    }
    expressions.extend(selector["matchExpressions"].as_array().into_iter().flatten().cloned());
}

fn json_of(value: Option<impl serde::Serialize>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}
