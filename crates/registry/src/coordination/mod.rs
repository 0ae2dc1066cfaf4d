//! The group `coordination.k8s.io`.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{name, text};
use crate::strategy::{Column, Context, Strategy};

/// Leases.
pub struct Lease;

impl Strategy for Lease {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    /// Coordinated leader election is off, and its fields with it.
    fn prepare_for_create(&self, lease: &mut Value, _context: &Context<'_>) {
        drop_disabled(lease);
    }

    fn prepare_for_update(&self, new: &mut Value, _old: &Value, _context: &Context<'_>) {
        drop_disabled(new);
    }

    fn validate(&self, lease: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(lease).at("spec");
        let duration = spec.at("leaseDurationSeconds");
        if duration.int().is_some_and(|seconds| seconds <= 0) {
            duration.invalid(&mut errors, "must be greater than 0");
        }
        spec.at("leaseTransitions").not_negative(&mut errors);
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Holder"), Column::AGE] }
    }

    fn row(&self, lease: &Value, now: i64) -> Vec<Value> {
        vec![name(lease), text(lease, "/spec/holderIdentity").into(), table::age(lease, now)]
    }
}

fn drop_disabled(lease: &mut Value) {
    if let Some(spec) = crate::defaults::present(lease, "spec") {
        crate::defaults::remove(spec, "strategy");
        crate::defaults::remove(spec, "preferredHolder");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_can_be_given_up() {
        let released = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
        assert!(Lease.validate(&released).is_empty());
        let never = json!({"spec": {"leaseDurationSeconds": 0}});
        assert_eq!(Lease.validate(&never).len(), 1);
    }
}
