//! APIServices, as a stored kind.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, text};
use crate::defaults::{present, set};
use crate::strategy::{Column, Context, NameRule, Strategy};

pub struct ApiService;

impl Strategy for ApiService {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        }
    }

    /// That of the core group ends in a dot.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_for_create(&self, service: &mut Value, context: &Context<'_>) {
        service["status"] = json!({});
        if service.pointer("/spec/service").is_none_or(Value::is_null) {
            service["status"]["conditions"] = json!([{
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available", "lastTransitionTime": context.now,
            }]);
        }
    }

    fn default(&self, service: &mut Value) {
        if let Some(found) = present(service, "spec").and_then(|spec| present(spec, "service")) {
            set(found, "port", 443);
        }
    }

    fn validate(&self, service: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(service).at("spec");
        let required = format!("{}.{}", spec.at("version").text(), spec.at("group").text());
        let own = text(service, "/metadata/name");
        if own != required {
            errors.invalid(
                &Path::new("metadata.name"),
                own,
                format!("must be `spec.version+\".\"+spec.group`: {required:?}"),
            );
        }
        let insecure = spec.at("insecureSkipTLSVerify");
        if insecure.is_true() && !spec.at("caBundle").empty() {
            insecure.invalid(&mut errors, "may not be true if caBundle is present");
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Service"), Column::text("Available"), Column::AGE] }
    }

    fn row(&self, service: &Value, now: i64) -> Vec<Value> {
        let target = match service.pointer("/spec/service") {
            Some(found) => format!("{}/{}", text(found, "/namespace"), text(found, "/name")),
            None => "Local".into(),
        };
        let available = list(service, "/status/conditions").iter().find(|condition| condition["type"] == "Available");
        let available = match available {
            Some(condition) if condition["status"] == "True" => "True".to_owned(),
            Some(condition) => format!("{} ({})", text(condition, "/status"), text(condition, "/reason")),
            None => "Unknown".into(),
        };
        vec![name(service), target.into(), available.into(), table::age(service, now)]
    }
}
