//! IngressClasses.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_dns1123_subdomain;
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
        if controller.required(&mut errors, "") {
            domain_prefixed(&controller, &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let before = old.pointer("/spec/controller").unwrap_or(&Value::Null);
        At::root(new).to("spec.controller").immutable(&mut errors, before);
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

/// `example.com/path`.
fn domain_prefixed(at: &At<'_>, errors: &mut ErrorList) {
    match at.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            errors.invalid_all(&at.path, host, is_dns1123_subdomain(host));
        }
        _ => at.invalid(errors, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}
