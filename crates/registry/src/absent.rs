//! What a typed server shows of a field that is not there: its zero.
//!
//! Rules look at JSON, where what was left out is null. Upstream's look at Go's values, where a text that was left out is
//! empty and a number nothing.

use api::schema::{SchemaNode, Type};
use apimachinery::field::{ErrorList, FieldError};
use serde_json::Value;

/// The errors as they are told, for an object of this schema.
pub fn shown(errors: ErrorList, node: SchemaNode<'_>) -> ErrorList {
    errors.into_iter().map(|error| if error.absent { with_zero(error, node) } else { error }).collect()
}

fn with_zero(mut error: FieldError, node: SchemaNode<'_>) -> FieldError {
    if let Some(zero) = place(node, &error.field).and_then(|node| zero(&node)) {
        error.value = zero;
    }
    error
}

/// What a path leads to. Upstream's paths do not all follow the fields; those lead nowhere.
fn place<'a>(mut node: SchemaNode<'a>, path: &str) -> Option<SchemaNode<'a>> {
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            rest = inside.split_once(']')?.1;
            node = node.items()?;
        } else {
            let step = rest.trim_start_matches('.');
            let end = step.find(['.', '[']).unwrap_or(step.len());
            node = node.child(&step[..end])?;
            rest = &step[end..];
        }
    }
    Some(node)
}

fn zero(node: &SchemaNode<'_>) -> Option<Value> {
    match node.scalar()? {
        Type::String => Some("".into()),
        Type::Int32 | Type::Int64 | Type::Double => Some(0.into()),
        Type::Bool => Some(false.into()),
        Type::Quantity => Some("0".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::by_kind;

    use super::*;

    #[test]
    fn what_is_absent_is_told_as_its_zero() {
        let told = |kind: &str, api: &str, object: &Value| {
            let resource = by_kind(api, "v1", kind).unwrap();
            let errors = shown(resource.strategy.validate(object), resource.schema.node());
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let range = told("LimitRange", "", &json!({"spec": {"limits": [{}]}}));
        assert!(range[0].starts_with("spec.limits[0].type: Invalid value: \"\": "), "{range:?}");
        let schema =
            told("FlowSchema", "flowcontrol.apiserver.k8s.io", &json!({"metadata": {"name": "a"}, "spec": {}}));
        let precedence = schema.iter().find(|error| error.starts_with("spec.matchingPrecedence")).unwrap();
        assert!(precedence.contains("Invalid value: 0: "), "{precedence}");
    }

    #[test]
    fn paths_are_followed_through_lists_and_maps() {
        let pod = by_kind("", "v1", "Pod").unwrap().schema.node();
        let at = |path: &str| place(pod, path).and_then(|node| zero(&node));
        assert_eq!(at("spec.containers[0].env[1].value"), Some("".into()));
        assert_eq!(at("spec.containers[0].resources.limits[example.com/x]"), Some("0".into()));
        assert_eq!(at("spec.securityContext.runAsNonRoot"), Some(false.into()));
        assert_eq!(at("spec.containers"), None);
        assert_eq!(at("metadata.taints[0].key"), None);
    }
}
