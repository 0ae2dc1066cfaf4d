//! APIServices and CustomResourceDefinitions, as stored kinds.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::is_dns1035_label;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{created_at, list, name, text};
use crate::defaults::{object, present, set};
use crate::strategy::{Column, Context, Strategy};

pub struct ApiService;
pub struct CustomResourceDefinition;

impl Strategy for ApiService {
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

    fn columns(&self) -> &'static [Column] {
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

impl Strategy for CustomResourceDefinition {
    fn prepare_for_create(&self, definition: &mut Value, _context: &Context<'_>) {
        let versions = list(definition, "/spec/versions").iter().filter(|version| version["storage"] == true);
        let stored: Vec<Value> = versions.map(|version| version["name"].clone()).collect();
        definition["status"] =
            json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
    }

    fn default(&self, definition: &mut Value) {
        let Some(spec) = object(definition, "spec") else { return };
        set(spec, "scope", "Namespaced");
        if let Some(conversion) = object(spec, "conversion") {
            set(conversion, "strategy", "None");
        }
        if let Some(names) = object(spec, "names") {
            let kind = names["kind"].as_str().unwrap_or_default().to_owned();
            set(names, "singular", kind.to_lowercase());
            set(names, "listKind", format!("{kind}List"));
        }
    }

    fn validate(&self, definition: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(definition).at("spec");
        let required = format!("{}.{}", spec.to("names.plural").text(), spec.at("group").text());
        let own = text(definition, "/metadata/name");
        if own != required {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            errors.invalid(&Path::new("metadata.name"), own, detail);
        }
        spec.at("group").required(&mut errors, "");
        spec.at("scope").required_one_of(&mut errors, &["Cluster", "Namespaced"]);
        for field in ["plural", "kind", "singular", "listKind"] {
            let at = spec.at("names").at(field);
            if at.required(&mut errors, "") {
                errors.invalid_all(&at.path, at.text(), is_dns1035_label(&at.text().to_lowercase()));
            }
        }
        let versions = spec.at("versions");
        let storage = versions.items().iter().filter(|version| version.at("storage").is_true()).count();
        if storage != 1 {
            versions.invalid(&mut errors, "must have exactly one version marked as storage version");
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[Column::NAME, Column::of("Created At", "date")] }
    }

    fn row(&self, definition: &Value, _now: i64) -> Vec<Value> {
        vec![name(definition), created_at(definition)]
    }
}
