//! From what a user names to one pod, and one container in it.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::Value;

use crate::Streams;
use crate::failure::{Failure, fail};
use crate::objects::{Call, Info, Watcher};
use crate::session::Session;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Which of several pods comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// For attaching: one that has long been ready.
    Active,
    /// For logs: one that has not.
    Logging,
}

/// All pods that an object selects; of a pod, itself. Waits for the first.
pub async fn pod_behind(
    session: &Session,
    info: &Info,
    order: Order,
    timeout: Duration,
) -> Result<Vec<Value>, Failure> {
    if info.mapping.kind == "Pod" && info.mapping.group.is_empty() {
        return Ok(vec![info.object.clone()]);
    }
    let Some(selector) = selector_of(info) else {
        let doing = if order == Order::Active { "attach to" } else { "get the logs from" };
        let kind = format!("*{}.{}", info.mapping.version, info.mapping.kind);
        return fail!("cannot {doing} {kind}: selector for {kind} not implemented");
    };
    let client = session.client()?;
    let pods = session.catalog().await?.resource("pods")?;
    let call = || Call::get(pods.collection(&info.namespace)).maybe("labelSelector", Some(&selector));
    let mut list = call().value(client).await?;
    if let Value::Array(mut found) = list["items"].take()
        && !found.is_empty()
    {
        found.sort_by_key(|pod| rank(pod, order));
        return Ok(found);
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let first = async {
        let mut watcher = Watcher::start(client, call().query("resourceVersion", &version)).await?;
        while let Some(event) = watcher.next().await? {
            if ["ADDED", "MODIFIED"].contains(&event.kind.as_str()) {
                return Ok(vec![event.object]);
            }
        }
        fail!("timed out waiting for the condition")
    };
    tokio::time::timeout(timeout, first).await.unwrap_or_else(|_| fail!("timed out waiting for the condition"))
}

/// As text, of what selects pods.
fn selector_of(info: &Info) -> Option<String> {
    let spec = &info.object["spec"];
    match (info.mapping.group.as_str(), info.mapping.kind.as_str()) {
        ("", "Service" | "ReplicationController") => pairs(&spec["selector"]),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") => {
            Some(selector_text(&spec["selector"]))
        }
        _ => None,
    }
}

fn pairs(labels: &Value) -> Option<String> {
    let labels = labels.as_object()?;
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    Some(labels.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// A label selector as a query takes it.
pub fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = pairs(&selector["matchLabels"]).filter(|text| !text.is_empty()).into_iter().collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

/// Smaller is better. Assigned before not, running before pending, then as the order says, then fewer restarts.
fn rank(pod: &Value, order: Order) -> impl Ord + use<> {
    let status = &pod["status"];
    let unassigned = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let phase = match status["phase"].as_str() {
        Some("Running") => 0,
        Some("Unknown") => 1,
        _ => 2,
    };
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let since = ready.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or_default().to_owned();
    let containers = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let restarts = containers.iter().filter_map(|container| container["restartCount"].as_i64()).max().unwrap_or(0);
    let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    let unready = ready.is_none();
    match order {
        Order::Active => (unassigned, phase, unready, since, restarts, Reverse(created)),
        Order::Logging => (unassigned, phase, unready, since, -restarts, Reverse(created)),
    }
}

/// A container of a pod, by kind of list.
pub struct Container<'a> {
    pub name: &'a str,
    pub list: &'static str,
}

/// All containers, in the order in which messages name them.
pub fn containers(pod: &Value) -> Vec<Container<'_>> {
    let mut all = Vec::new();
    for list in ["containers", "ephemeralContainers", "initContainers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            all.push(Container { name: container["name"].as_str().unwrap_or_default(), list });
        }
    }
    all
}

fn names(containers: &[Container<'_>]) -> String {
    let name = |container: &Container<'_>| match container.list {
        "ephemeralContainers" => format!("{} (ephem)", container.name),
        "initContainers" => format!("{} (init)", container.name),
        _ => container.name.to_owned(),
    };
    containers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The container that is meant; says so when it was not named and there are others.
pub fn default_container(streams: &Streams, pod: &Value, named: Option<&str>, quiet: bool) -> Result<String, Failure> {
    let all = containers(pod);
    let pod_name = apimachinery::object::name(pod);
    if let Some(name) = named {
        if all.iter().any(|container| container.name == name) {
            return Ok(name.to_owned());
        }
        return fail!("container {name} is not valid for pod {pod_name} out of: {}", names(&all));
    }
    if let Some(name) = apimachinery::object::annotation(pod, DEFAULT_CONTAINER).filter(|name| !name.is_empty()) {
        if all.iter().any(|container| container.name == name) {
            return Ok(name.to_owned());
        }
        streams.note(format!("Default container name {name:?} not found in pod {pod_name}"));
    }
    let first = all.first().ok_or("the pod has no containers")?.name;
    if all.len() > 1 && !quiet {
        streams.note(format!("Defaulted container {first:?} out of: {}", names(&all)));
    }
    Ok(first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_become_queries() {
        let selector = json!({
            "matchLabels": {"a": "b", "c": "d"},
            "matchExpressions": [{"key": "e", "operator": "In", "values": ["f", "g"]}, {"key": "h", "operator": "Exists"}],
        });
        assert_eq!(selector_text(&selector), "a=b,c=d,e in (f,g),h");
    }

    #[test]
    fn a_running_pod_is_preferred() {
        let pod = |phase: &str, ready: &str| {
            let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
            json!({"spec": {"nodeName": "n"}, "status": {"phase": phase, "conditions": conditions}})
        };
        let (running, unready, pending) = (pod("Running", "True"), pod("Running", "False"), pod("Pending", "False"));
        assert!(rank(&running, Order::Active) < rank(&unready, Order::Active));
        assert!(rank(&unready, Order::Active) < rank(&pending, Order::Active));
    }
}
