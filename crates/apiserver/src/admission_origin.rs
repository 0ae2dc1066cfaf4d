//! What admission sees of a request beside the object, and what it says to it.

use std::sync::Arc;

use admission::{Operation, Origin};
use registry::strategy::Resource;
use serde_json::{Value, json};

use crate::call::Call;
use crate::catalog::ResourceExt;

impl Origin for Call {
    fn warn(&self, text: String) {
        Call::warn(self, text);
    }

    fn annotate(&self, key: &str, value: String) {
        Call::annotate(self, key, &value);
    }

    fn options(&self, operation: Operation) -> Option<Value> {
        match operation {
            Operation::Create => Some(write_options(self, "CreateOptions")),
            // A patch is admitted as the update that it comes to.
            Operation::Update => Some(write_options(self, "UpdateOptions")),
            Operation::Delete => self.delete_options.lock().clone(),
            Operation::Connect => None,
        }
    }

    fn versions(&self, resource: &Resource) -> Vec<Arc<Resource>> {
        let same = |other: &&Arc<Resource>| other.storage() == resource.storage();
        self.catalog.resources().filter(same).cloned().collect()
    }
}

fn write_options(call: &Call, kind: &str) -> Value {
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    let dry_run: Vec<&str> = call.query.all("dryRun").collect();
    if !dry_run.is_empty() {
        options["dryRun"] = json!(dry_run);
    }
    for field in ["fieldManager", "fieldValidation"] {
        if let Some(text) = call.query.get(field).filter(|text| !text.is_empty()) {
            options[field] = text.into();
        }
    }
    options
}
