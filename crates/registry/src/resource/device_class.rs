//! DeviceClasses.

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_subdomain, is_qualified_name};
use serde_json::Value;

use super::device::{CONFIGS_MAX, at_most, configuration, selectors};
use crate::at::At;
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
    if extended.present() && !is_extended(extended.text()) {
        extended.invalid(&mut errors, "must be a valid extended resource name");
    }
    errors
}

/// A resource with a domain of its own, whose quota name is valid too.
fn is_extended(name: &str) -> bool {
    let foreign = name.split_once('/').is_some_and(|(domain, _)| {
        domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io") && is_dns1123_subdomain(domain).is_empty()
    });
    foreign && !name.starts_with("requests.") && is_qualified_name(&format!("requests.{name}")).is_empty()
}
