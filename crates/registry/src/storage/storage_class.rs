//! StorageClasses.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;
use crate::cells::{or, text};
use crate::defaults::set;
use crate::strategy::{Column, Strategy};

pub struct StorageClass;

const DEFAULT_CLASS: [&str; 2] = [
    "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
    "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
];

impl Strategy for StorageClass {
    fn default(&self, class: &mut Value) {
        set(class, "reclaimPolicy", "Delete");
        set(class, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(class);
        let provisioner = root.at("provisioner");
        if provisioner.required(&mut errors, "") {
            errors.invalid_all(
                &provisioner.path,
                provisioner.text(),
                is_qualified_name(&provisioner.text().to_lowercase()),
            );
        }
        if root.at("parameters").entries().iter().any(|(key, _)| key.is_empty()) {
            root.at("parameters").invalid(&mut errors, "field can not be empty.");
        }
        root.at("reclaimPolicy").one_of(&mut errors, &["Delete", "Retain"]);
        root.at("volumeBindingMode").required_one_of(&mut errors, &["Immediate", "WaitForFirstConsumer"]);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let root = At::root(new);
        if new["parameters"] != old["parameters"] {
            errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
        }
        if new["provisioner"] != old["provisioner"] {
            root.at("provisioner").invalid(&mut errors, "updates to provisioner are forbidden.");
        }
        if new["reclaimPolicy"] != old["reclaimPolicy"] {
            errors.forbidden(&Path::new("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
        }
        root.at("volumeBindingMode").immutable(&mut errors, &old["volumeBindingMode"]);
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Provisioner"),
                Column::text("ReclaimPolicy"),
                Column::text("VolumeBindingMode"),
                Column::text("AllowVolumeExpansion"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        let default = DEFAULT_CLASS.iter().any(|pointer| text(class, pointer) == "true");
        let shown = format!("{}{}", text(class, "/metadata/name"), if default { " (default)" } else { "" });
        vec![
            shown.into(),
            text(class, "/provisioner").into(),
            or(text(class, "/reclaimPolicy"), "Delete").into(),
            or(text(class, "/volumeBindingMode"), "Immediate").into(),
            (class["allowVolumeExpansion"] == true).into(),
            table::age(class, now),
        ]
    }
}
