//! The pods of a namespace run on the nodes that the namespace, or else the administrator, selects.

use std::collections::BTreeMap;

use apimachinery::validation::{is_label_value, is_qualified_name};
use apimachinery::{GroupResource, Status, object};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct PodNodeSelector;

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
/// The entry of the settings for namespaces without an annotation. The other entries are namespaces.
const DEFAULT: &str = "clusterDefaultNodeSelector";

type Selector = BTreeMap<String, String>;

/// The administrator's selectors. They have no version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectors {
    pod_node_selector_plugin_config: Selector,
}

impl NodeSelectors {
    fn of(&self, entry: &str) -> Result<Selector, String> {
        self.pod_node_selector_plugin_config.get(entry).map_or_else(|| Ok(Selector::new()), |text| parse(text))
    }
}

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let selector = of_namespace(request)?;
        check_conflicts(request, &selector)?;
        if let Some(pod) = request.object.as_deref_mut() {
            merge(pod, &selector);
        }
        check(request, &selector)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        check(request, &of_namespace(request)?)
    }
}

fn check(request: &Request<'_>, selector: &Selector) -> Result<(), Status> {
    check_conflicts(request, selector)?;
    let allowed = request.services.configuration.node_selectors.of(request.namespace).map_err(plain)?;
    let own = request.object.as_deref().map(own).unwrap_or_default();
    if allowed.is_empty() || own.iter().all(|(key, value)| allowed.get(key) == Some(value)) {
        return Ok(());
    }
    Err(request.forbidden("pod node label selector labels conflict with its namespace whitelist"))
}

fn check_conflicts(request: &Request<'_>, selector: &Selector) -> Result<(), Status> {
    let own = request.object.as_deref().map(own).unwrap_or_default();
    if own.iter().all(|(key, value)| selector.get(key).is_none_or(|other| other == value)) {
        return Ok(());
    }
    Err(request.forbidden("pod node label selector conflicts with its namespace node label selector"))
}

fn of_namespace(request: &Request<'_>) -> Result<Selector, Status> {
    let name = request.namespace;
    let Some(stored) = request.get("", "namespaces", "", name) else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), name));
    };
    let annotated = object::annotation(&stored.value(), ANNOTATION).map(parse);
    annotated.unwrap_or_else(|| request.services.configuration.node_selectors.of(DEFAULT)).map_err(plain)
}

/// Upstream's error has no status of its own.
fn plain(why: String) -> Status {
    Status::failure(500, "", why)
}

/// `key=value,key=value`.
fn parse(text: &str) -> Result<Selector, String> {
    if text.is_empty() {
        return Ok(Selector::new());
    }
    text.split(',').map(pair).collect()
}

fn pair(label: &str) -> Result<(String, String), String> {
    let parts: Vec<&str> = label.split('=').collect();
    let [key, value] = parts[..] else { return Err(format!("invalid selector: [{}]", parts.join(" "))) };
    let (key, value) = (key.trim(), value.trim());
    let wrong: Vec<String> =
        is_qualified_name(key).iter().chain(&is_label_value(value)).map(ToString::to_string).collect();
    if wrong.is_empty() {
        return Ok((key.to_owned(), value.to_owned()));
    }
    Err(format!("invalid selector: {label}: {}", wrong.join("; ")))
}

fn own(pod: &Value) -> Selector {
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object).into_iter().flatten();
    selector.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn merge(pod: &mut Value, selector: &Selector) {
    let mut merged = selector.clone();
    merged.extend(own(pod));
    if !merged.is_empty() {
        pod["spec"]["nodeSelector"] = merged.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_a_list_of_labels() {
        let labels = parse("env = test,tier=db").unwrap();
        assert_eq!(labels, Selector::from([("env".into(), "test".into()), ("tier".into(), "db".into())]));
        assert!(parse("").unwrap().is_empty());
        assert_eq!(parse("a=b,c").unwrap_err(), "invalid selector: [c]");
        assert_eq!(parse("a=b=c").unwrap_err(), "invalid selector: [a b c]");
        assert!(parse("a b=c").is_err() && parse("a=b c").is_err());
    }

    #[test]
    fn a_pod_keeps_its_own_labels_beside_those_of_the_namespace() {
        let mut pod = json!({"spec": {"nodeSelector": {"a": "1"}}});
        merge(&mut pod, &parse("b=2").unwrap());
        assert_eq!(pod["spec"]["nodeSelector"], json!({"a": "1", "b": "2"}));
        let mut plain = json!({"spec": {}});
        merge(&mut plain, &Selector::new());
        assert_eq!(plain, json!({"spec": {}}));
    }
}
