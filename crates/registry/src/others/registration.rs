//! APIServices, as a stored kind.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, is_port_number};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, text};
use crate::defaults::{present, set};
use crate::strategy::{Column, Context, NameRule, Strategy, keep_all_but_the_status};

pub struct ApiService;

const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1000;

impl Strategy for ApiService {
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_the_status(new, old);
    }

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
        // One that is absent is complained of by then.
        if !own.is_empty() && own != required {
            errors.invalid(
                &Path::new("metadata.name"),
                own,
                format!("must be `spec.version+\".\"+spec.group`: {required:?}"),
            );
        }
        group_and_version(&spec, &mut errors);
        match spec.at("service").present() {
            true => remote(&spec, &mut errors),
            false => local(&spec, &mut errors),
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for condition in At::root(new).to("status.conditions").items() {
            let status = condition.at("status");
            if !STATUSES.contains(&status.text()) {
                errors.not_supported(&status.path, status.text(), &STATUSES);
            }
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

fn group_and_version(spec: &At<'_>, errors: &mut ErrorList) {
    let (group, version) = (spec.at("group"), spec.at("version"));
    if group.empty() && version.text() != "v1" {
        errors.required(&group.path, "only v1 may have an empty group and it better be legacy kube");
    }
    if !group.empty() {
        group.follows(errors, is_dns1123_subdomain);
    }
    version.follows(errors, is_dns1035_label);
    for (field, max) in [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)] {
        let priority = spec.at(field);
        let value = priority.int().unwrap_or_default();
        if !(1..=max).contains(&value) {
            errors.invalid(&priority.path, value, format!("must be positive and less than {max}"));
        }
    }
}

/// Served by this server itself.
fn local(spec: &At<'_>, errors: &mut ErrorList) {
    let (bundle, insecure) = (spec.at("caBundle"), spec.at("insecureSkipTLSVerify"));
    if !bundle.empty() {
        let bytes = STANDARD.decode(bundle.text()).map_or(0, |bytes| bytes.len());
        errors.invalid(&bundle.path, format!("{bytes} bytes"), "local APIServices may not have a caBundle");
    }
    if insecure.is_true() {
        insecure.invalid(errors, "local APIServices may not have insecureSkipTLSVerify");
    }
}

fn remote(spec: &At<'_>, errors: &mut ErrorList) {
    let service = spec.at("service");
    service.at("namespace").required(errors, "");
    service.at("name").required(errors, "");
    let port = service.at("port");
    let wrong = is_port_number(port.int().unwrap_or_default());
    if !wrong.is_empty() {
        port.invalid(errors, &format!("port is not valid: {}", wrong.join(", ")));
    }
    let insecure = spec.at("insecureSkipTLSVerify");
    if insecure.is_true() && !spec.at("caBundle").empty() {
        insecure.invalid(errors, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_judged() {
        for (name, spec, expected) in [
            ("v1.", json!({"version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}), vec![]),
            (
                "V.",
                json!({"version": "V", "groupPriorityMinimum": 20_001, "caBundle": "eA==", "insecureSkipTLSVerify": true}),
                vec![
                    "FieldValueRequired spec.group",
                    "FieldValueInvalid spec.version",
                    "FieldValueInvalid spec.groupPriorityMinimum",
                    "FieldValueInvalid spec.versionPriority",
                    "FieldValueInvalid spec.caBundle",
                    "FieldValueInvalid spec.insecureSkipTLSVerify",
                ],
            ),
            (
                "v1.a",
                json!({"version": "v1", "group": "a", "groupPriorityMinimum": 1, "versionPriority": 1,
                    "service": {"port": 0}}),
                vec![
                    "FieldValueRequired spec.service.namespace",
                    "FieldValueRequired spec.service.name",
                    "FieldValueInvalid spec.service.port",
                ],
            ),
        ] {
            let errors = ApiService.validate(&json!({"metadata": {"name": name}, "spec": spec}));
            let found: Vec<_> = errors.iter().map(|e| format!("{} {}", e.kind.reason(), e.field)).collect();
            assert_eq!(found, expected);
        }
    }
}
