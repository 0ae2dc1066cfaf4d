//! CSINodes.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use apimachinery::validation::object_meta::immutable;
use serde_json::Value;

use crate::at::At;
use crate::cells::{count, list, name};
use crate::strategy::{Column, Strategy};

pub struct CsiNode;

const NODE_ID_MAX: usize = 256;

impl Strategy for CsiNode {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, node: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let drivers = At::root(node).to("spec.drivers");
        let mut names = HashSet::new();
        for found in drivers.items() {
            driver(&found, &mut errors);
            let name = found.at("name");
            if !names.insert(name.text()) {
                errors.duplicate(&name.path, name.text());
            }
            topology_keys(&found, &mut errors);
        }
        errors
    }

    /// A driver may come and go, and say anew how much it can attach; else it stays as it is.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        // Upstream judges a change twice.
        errors.append(self.validate(new));
        for before in list(old, "/spec/drivers") {
            for after in list(new, "/spec/drivers").iter().filter(|after| after["name"] == before["name"]) {
                errors.append(immutable(&fixed(after), &fixed(before), &Path::new("spec.drivers")));
            }
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Drivers", "integer"), Column::AGE] }
    }

    fn row(&self, node: &Value, now: i64) -> Vec<Value> {
        vec![name(node), count(node, "/spec/drivers"), table::age(node, now)]
    }
}

/// What of a driver does not change.
fn fixed(driver: &Value) -> Value {
    let mut driver = driver.clone();
    crate::defaults::remove(&mut driver, "allocatable");
    driver
}

fn driver(driver: &At<'_>, errors: &mut ErrorList) {
    crate::pod_spec::driver_name(&driver.at("name"), errors);
    let id = driver.at("nodeID");
    id.required(errors, "");
    if id.text().len() > NODE_ID_MAX {
        id.invalid(errors, &format!("must be {NODE_ID_MAX} characters or less"));
    }
    driver.to("allocatable.count").not_negative(errors);
}

/// What is wrong with a key is said of the driver.
fn topology_keys(driver: &At<'_>, errors: &mut ErrorList) {
    let mut keys = HashSet::new();
    for key in driver.at("topologyKeys").items() {
        if key.empty() {
            errors.required(&driver.path, "");
        }
        if !keys.insert(key.text()) {
            errors.duplicate(&driver.path, key.text());
        }
        errors.invalid_all(&driver.path, key.text(), is_qualified_name(key.text()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    #[test]
    fn drivers_are_judged_one_by_one() {
        let node = json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "n", "topologyKeys": ["z", "z", ""]},
            {"name": "a.b", "nodeID": "", "allocatable": {"count": -1}}]}});
        let expected = [
            "FieldValueDuplicate spec.drivers[0]",
            "FieldValueRequired spec.drivers[0]",
            "FieldValueInvalid spec.drivers[0]",
            "FieldValueInvalid spec.drivers[0]",
            "FieldValueRequired spec.drivers[1].nodeID",
            "FieldValueInvalid spec.drivers[1].allocatable.count",
            "FieldValueDuplicate spec.drivers[1].name",
        ];
        assert_eq!(causes(&CsiNode.validate(&node)), expected);
    }

    #[test]
    fn a_driver_only_changes_how_much_it_attaches() {
        let node = |id: &str, count: i64| json!({"spec": {"drivers": [{"name": "a", "nodeID": id, "allocatable": {"count": count}}]}});
        assert!(CsiNode.validate_update(&node("n", 2), &node("n", 1)).is_empty());
        let changed = CsiNode.validate_update(&node("m", 1), &node("n", 1));
        assert_eq!(causes(&changed), ["FieldValueInvalid spec.drivers"]);
        let wrong = CsiNode.validate_update(&node("n", -1), &node("n", 1));
        assert_eq!(causes(&wrong), ["FieldValueInvalid spec.drivers[0].allocatable.count"; 2]);
    }
}
