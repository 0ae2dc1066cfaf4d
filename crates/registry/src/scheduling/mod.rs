//! The group `scheduling.k8s.io`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{int, name, text};
use crate::defaults::set_pointer;
use crate::strategy::{Column, Strategy};

/// PriorityClasses.
pub struct PriorityClass;

const USER_VALUE_MAX: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

impl Strategy for PriorityClass {
    fn default(&self, class: &mut Value) {
        set_pointer(class, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(class);
        let (name, value) = (text(class, "/metadata/name"), root.at("value"));
        let known = SYSTEM.iter().any(|(known, number)| *known == name && Some(*number) == value.int());
        if name.starts_with("system-") && !known {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors
                .forbidden(&Path::new("metadata.name"), format!("{detail}{name} is not a known system priority class"));
        } else if !known && value.int().is_some_and(|value| value > USER_VALUE_MAX) {
            errors.forbidden(
                &value.path,
                format!("maximum allowed value of a user defined priority is {USER_VALUE_MAX}"),
            );
        }
        root.at("preemptionPolicy").required_one_of(&mut errors, &["Never", "PreemptLowerPriority"]);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(new);
        if new["value"] != old["value"] {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        root.at("preemptionPolicy").immutable(&mut errors, &old["preemptionPolicy"]);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::of("Value", "integer"),
                Column::of("Global-Default", "boolean"),
                Column::AGE,
                Column::text("PreemptionPolicy"),
            ]
        }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        vec![
            name(class),
            int(class, "/value").into(),
            (class["globalDefault"] == true).into(),
            table::age(class, now),
            text(class, "/preemptionPolicy").into(),
        ]
    }
}
