//! What pods tolerate by default, and at most, is said by their namespace or else by the administrator.

use apimachinery::{GroupResource, Status, object};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tolerations;
use crate::configuration::{ConfigurationError, settings};
use crate::{Operation, Plugin, Request};

pub struct PodTolerationRestriction;

const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
const KIND: (&str, &str) = ("podtolerationrestriction.admission.k8s.io/v1alpha1", "Configuration");

/// The administrator's tolerations, for namespaces that name none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tolerations {
    default: Vec<Value>,
    whitelist: Vec<Value>,
}

impl Tolerations {
    pub fn of(value: &Value) -> Result<Self, ConfigurationError> {
        if value.is_null() { Ok(Self::default()) } else { settings(value, &[KIND]) }
    }
}

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if !concerns(request) {
            return Ok(());
        }
        let mut added = if request.operation == Operation::Create { defaults(request)? } else { Vec::new() };
        if let Some(pod) = request.object.as_deref_mut() {
            added.extend(under_pressure(pod));
            add(pod, &added);
        }
        check(request)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if concerns(request) { check(request) } else { Ok(()) }
    }
}

fn concerns(request: &Request<'_>) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    writes && request.is_resource("", "pods") && request.subresource.is_empty()
}

fn defaults(request: &Request<'_>) -> Result<Vec<Value>, Status> {
    let own = of_namespace(request, DEFAULTS)?;
    Ok(own.unwrap_or_else(|| request.services.configuration.tolerations.default.clone()))
}

/// Only pods that promise nothing are kept from nodes whose memory runs out.
fn under_pressure(pod: &Value) -> Option<Value> {
    let promises = registry::qos_class(&pod["spec"]) != "BestEffort";
    promises.then(|| json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}))
}

fn add(pod: &mut Value, added: &[Value]) {
    if !added.is_empty() {
        pod["spec"]["tolerations"] = tolerations::merge(tolerations::of_pod(pod), added).into();
    }
}

fn check(request: &Request<'_>) -> Result<(), Status> {
    let own = request.object.as_deref().map(tolerations::of_pod).unwrap_or_default();
    if own.is_empty() {
        return Ok(());
    }
    let cluster = &request.services.configuration.tolerations.whitelist;
    let (allowed, scope) = match of_namespace(request, ALLOWED)? {
        Some(allowed) => (allowed, "namespace"),
        None => (cluster.clone(), "cluster"),
    };
    if tolerations::all_within(own, &allowed) {
        return Ok(());
    }
    Err(plain(format!(
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope} whitelist"
    )))
}

/// Upstream's error has no status of its own.
fn plain(why: String) -> Status {
    Status::failure(500, "", why)
}

/// The tolerations in an annotation of the namespace. An empty annotation is an empty list.
fn of_namespace(request: &Request<'_>, annotation: &str) -> Result<Option<Vec<Value>>, Status> {
    let name = request.namespace;
    let Some(stored) = request.get("", "namespaces", "", name) else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), name));
    };
    object::annotation(&stored.value(), annotation).map(parse).transpose()
}

fn parse(text: &str) -> Result<Vec<Value>, Status> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let list: Option<Vec<Value>> = serde_json::from_str(text).map_err(|error| plain(error.to_string()))?;
    Ok(list.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_promise_something_tolerate_pressure_on_memory() {
        let mut pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let added: Vec<Value> = under_pressure(&pod).into_iter().collect();
        add(&mut pod, &added);
        assert_eq!(pod["spec"]["tolerations"][0]["key"], "node.kubernetes.io/memory-pressure");
        assert!(under_pressure(&json!({"spec": {"containers": [{}]}})).is_none());
    }

    #[test]
    fn an_annotation_that_is_no_list_is_an_error() {
        assert_eq!(parse("").unwrap(), Vec::<Value>::new());
        assert_eq!(parse(r#"[{"key": "a"}]"#).unwrap(), [json!({"key": "a"})]);
        assert_eq!(parse("{").unwrap_err().code, 500);
    }
}
