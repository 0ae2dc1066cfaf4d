//! DeviceClasses.

use apimachinery::field::ErrorList;
use serde_json::Value;

use super::device::{CONFIGS_MAX, at_most, configuration, selectors};
use crate::at::At;
use crate::pod_spec;
use crate::strategy::Strategy;

pub struct DeviceClass;

impl Strategy for DeviceClass {
    fn validate(&self, class: &Value) -> ErrorList {
        validate(class, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        validate(new, Some(old))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn reset_fields(&self, _subresource: &str) -> &'static [&'static str] {
        &[]
    }
}

/// What did not change was valid once.
fn validate(class: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::root(class).at("spec");
    let stored = |field: &str| old.is_some_and(|old| old["spec"][field] == *spec.at(field).value);
    selectors(&spec.at("selectors"), stored("selectors"), &mut errors);
    for config in at_most(&spec.at("config"), CONFIGS_MAX, &mut errors) {
        configuration(&config, stored("config"), &mut errors);
    }
    let extended = spec.at("extendedResourceName");
    if extended.present() && !pod_spec::is_extended(extended.text()) {
        extended.invalid(&mut errors, "must be a valid extended resource name");
    }
    errors
}
