//! Namespaces.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::object_meta;
use apimachinery::{object, table};
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{name, text};
use crate::strategy::{Column, Context, NameRule, Strategy, keep_all_but_status_and_metadata, keep_status};

pub struct Namespace;

impl Strategy for Namespace {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["spec"],
            "finalize" => &["status"],
            _ => &[],
        }
    }

    fn prepare_for_create(&self, namespace: &mut Value, _context: &Context<'_>) {
        label_with_name(namespace);
        namespace["status"] = json!({"phase": "Active"});
        let finalizers = &mut namespace["spec"]["finalizers"];
        match finalizers.as_array_mut() {
            Some(list) if !list.iter().any(|finalizer| finalizer == "kubernetes") => list.push("kubernetes".into()),
            Some(_) => {}
            None => *finalizers = json!(["kubernetes"]),
        }
    }

    /// The label with the namespace's own name is kept by the server. While a name is being generated there is none.
    fn default(&self, namespace: &mut Value) {
        let fresh = object::resource_version(namespace).is_empty();
        if !fresh || object::generate_name(namespace).is_empty() {
            label_with_name(namespace);
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        label_with_name(new);
        keep_status(new, old);
        new["spec"] = old["spec"].clone();
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let phase = text(new, "/status/phase");
        let path = Path::new("status.Phase");
        match (object::deletion_timestamp(new).is_some(), phase) {
            (false, "Active" | "") | (true, "Terminating") => {}
            (false, _) => errors.invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty"),
            (true, _) => errors.invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"),
        }
        errors
    }

    fn validate(&self, namespace: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let finalizers = At::root(namespace).to("spec.finalizers");
        for name in finalizers.items() {
            // Upstream does not say which.
            errors.append(object_meta::finalizer(name.text(), &finalizers.path, &finalizers.path));
        }
        errors
    }

    /// Upstream judges the metadata alone.
    fn validate_update(&self, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::new()
    }

    fn validate_part_update(&self, subresource: &str, new: &Value, old: &Value) -> ErrorList {
        if subresource != "finalize" {
            return self.validate_status_update(new, old);
        }
        let mut errors = ErrorList::new();
        for name in At::root(new).to("spec.finalizers").items() {
            errors.append(object_meta::finalizer(name.text(), &name.path, &name.path));
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::DnsLabel
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Status"), Column::AGE] }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![name(object), text(object, "/status/phase").into(), table::age(object, now)]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", text(object, "/status/phase").to_owned())]
    }
}

fn label_with_name(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    if !name.is_empty() {
        object::set_label(namespace, "kubernetes.io/metadata.name", &name);
    }
}
