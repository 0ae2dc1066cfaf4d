//! IngressClasses.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::table;
use apimachinery::validation::is_dns1123_label;
use serde_json::Value;

use crate::at::At;
use crate::cells::{name, text};
use crate::defaults::{present, set};
use crate::strategy::{Column, Strategy};

pub struct IngressClass;

impl Strategy for IngressClass {
    fn default(&self, class: &mut Value) {
        if let Some(parameters) = present(class, "spec").and_then(|spec| present(spec, "parameters")) {
            set(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let controller = At::root(class).to("spec.controller");
        if controller.text().len() > CONTROLLER_LEN_MAX {
            errors.push(FieldError::too_long(&controller.path, CONTROLLER_LEN_MAX));
        }
        controller.domain_prefixed_path(&mut errors);
        parameters(&At::root(class).to("spec.parameters"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let before = old.pointer("/spec/controller").unwrap_or(&Value::Null);
        At::root(new).to("spec.controller").immutable(&mut errors, before);
        errors.append(self.validate(new));
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Controller"), Column::text("Parameters"), Column::AGE] }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        let parameters = match class.pointer("/spec/parameters") {
            None => "<none>".to_owned(),
            Some(found) => match text(found, "/apiGroup") {
                "" => format!("{}/{}", text(found, "/kind"), text(found, "/name")),
                group => format!("{}.{group}/{}", text(found, "/kind"), text(found, "/name")),
            },
        };
        vec![name(class), text(class, "/spec/controller").into(), parameters.into(), table::age(class, now)]
    }
}

const CONTROLLER_LEN_MAX: usize = 250;

/// Further settings: an object of the cluster, or of a namespace that is named.
fn parameters(parameters: &At<'_>, errors: &mut ErrorList) {
    if !parameters.present() {
        return;
    }
    super::ingress::reference(parameters, errors);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match scope.text() {
        "Namespace" if namespace.empty() => {
            errors.required(&namespace.path, "`parameters.scope` is set to 'Namespace'")
        }
        "Namespace" => namespace.follows(errors, is_dns1123_label),
        "Cluster" if namespace.present() => {
            errors.forbidden(&namespace.path, "`parameters.scope` is set to 'Cluster'");
        }
        "Cluster" => {}
        other => errors.not_supported(&scope.path, other, &["Cluster", "Namespace"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_lie_where_their_scope_says() {
        let causes = |parameters: Value| -> Vec<String> {
            let errors =
                IngressClass.validate(&json!({"spec": {"controller": "example.com/c", "parameters": parameters}}));
            let reason = |error: &FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
            errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
        };
        let named = |scope: &str| json!({"kind": "K", "name": "n", "scope": scope});
        assert_eq!(causes(named("Cluster")), [""; 0]);
        assert_eq!(causes(named("Namespace")), ["spec.parameters.namespace Required"]);
        assert_eq!(causes(named("World")), ["spec.parameters.scope NotSupported"]);
        assert_eq!(
            causes(json!({"scope": "Cluster"})),
            ["spec.parameters.kind Required", "spec.parameters.name Required"]
        );
    }
}
