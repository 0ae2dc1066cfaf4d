//! CSIStorageCapacities.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_subdomain, label_selector};
use serde_json::Value;

use crate::at::At;
use crate::cells::{created_at, name};
use crate::pod_spec::{old_node_label, selector_term_warnings};
use crate::strategy::{Column, Strategy};

pub struct CsiStorageCapacity;

impl Strategy for CsiStorageCapacity {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let topology = At::root(new).at("nodeTopology");
        selector_term_warnings(&topology, false, &mut warnings);
        for (label, _) in topology.at("matchLabels").entries() {
            let path = topology.path.child("matchLabels").child(label);
            warnings.extend(old_node_label(label).map(|why| format!("{path}: {why}")));
        }
        warnings
    }

    fn validate(&self, capacity: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(capacity);
        errors.append(label_selector(root.at("nodeTopology").value, &root.path.child("nodeTopology")));
        root.at("storageClassName").follows(&mut errors, is_dns1123_subdomain);
        let capacity = root.at("capacity");
        if capacity.quantity().is_some_and(Quantity::is_negative) {
            capacity.invalid(&mut errors, "must be greater than or equal to 0");
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        for field in ["nodeTopology", "storageClassName"] {
            At::root(new).at(field).immutable(&mut errors, &old[field]);
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Created At", "date")] }
    }

    fn row(&self, capacity: &Value, _now: i64) -> Vec<Value> {
        vec![name(capacity), created_at(capacity)]
    }
}
