//! Webhook configurations.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, label_selector, webhook};
use serde_json::{Value, json};

use super::rules::{self, FAILURE_POLICIES, MATCH_POLICIES};
use crate::at::{At, duplicates};
use crate::cells::{count, name};
use crate::defaults::{items, object, present, set, set_pointer};
use crate::strategy::{Column, Strategy};

/// MutatingWebhookConfigurations.
pub struct MutatingWebhookConfiguration;
/// ValidatingWebhookConfigurations.
pub struct ValidatingWebhookConfiguration;

const COLUMNS: &[Column] = &[Column::NAME, Column::of("Webhooks", "integer"), Column::AGE];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
const SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

macro_rules! webhooks {
    ($kind:ident, $mutating:expr) => {
        impl Strategy for $kind {
            fn default(&self, configuration: &mut Value) {
                items(configuration, "webhooks").for_each(|hook| default_hook(hook, $mutating));
            }

            fn validate(&self, configuration: &Value) -> ErrorList {
                validate(configuration, &Demands::NEW)
            }

            fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
                validate(new, &Demands::after(new, old))
            }

            fn has_generation(&self) -> bool {
                true
            }

            fn generation_moves(&self, old: &Value, new: &Value) -> bool {
                old["webhooks"] != new["webhooks"]
            }

            fn allows_unconditional_update(&self) -> bool {
                false
            }

            fn reset_fields(&self, _subresource: &str) -> &'static [&'static str] {
                &[]
            }

            fn columns(&self) -> &[Column] {
                COLUMNS
            }

            fn row(&self, configuration: &Value, now: i64) -> Vec<Value> {
                vec![name(configuration), count(configuration, "/webhooks"), table::age(configuration, now)]
            }
        }
    };
}

webhooks!(MutatingWebhookConfiguration, true);
webhooks!(ValidatingWebhookConfiguration, false);

fn default_hook(hook: &mut Value, mutating: bool) {
    set_pointer(hook, "failurePolicy", "Fail");
    set_pointer(hook, "matchPolicy", "Equivalent");
    set(hook, "namespaceSelector", json!({}));
    set(hook, "objectSelector", json!({}));
    set(hook, "timeoutSeconds", 10);
    if mutating {
        set_pointer(hook, "reinvocationPolicy", "Never");
    }
    rules::default_rules(hook, "rules");
    if let Some(service) = present(hook, "clientConfig").and_then(|config| present(config, "service")) {
        set(service, "port", 443);
    }
    object(hook, "clientConfig");
}

/// What is asked of the hooks. A configuration that already fell short of a demand may go on doing so.
struct Demands<'a> {
    conditions: bool,
    no_side_effects: bool,
    known_version: bool,
    unique_names: bool,
    label_values: bool,
    stored: Vec<&'a str>,
}

impl<'a> Demands<'a> {
    const NEW: Self = Self {
        conditions: true,
        no_side_effects: true,
        known_version: true,
        unique_names: true,
        label_values: true,
        stored: Vec::new(),
    };

    fn after(new: &Value, old: &'a Value) -> Self {
        let list = |object: &'a Value| object["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let before = list(old);
        let after = new["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let same_conditions = before.len() == after.len()
            && before.iter().zip(after).all(|(old, new)| old["matchConditions"] == new["matchConditions"]);
        let effects = |hook: &Value| NO_SIDE_EFFECTS.contains(&hook["sideEffects"].as_str().unwrap_or_default());
        let names: std::collections::HashSet<_> = before.iter().map(|hook| hook["name"].as_str()).collect();
        Self {
            conditions: !same_conditions,
            no_side_effects: before.iter().all(effects),
            known_version: before.iter().all(|hook| has_known_version(&hook["admissionReviewVersions"])),
            unique_names: names.len() == before.len(),
            label_values: !before.iter().any(|hook| SELECTORS.iter().any(|field| is_wrong(&hook[field]))),
            stored: before.iter().flat_map(|hook| rules::expressions(&hook["matchConditions"])).collect(),
        }
    }
}

fn is_wrong(selector: &Value) -> bool {
    !label_selector(selector, &Path::root()).is_empty()
}

/// An empty list is another fault.
fn has_known_version(versions: &Value) -> bool {
    let all = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    all.is_empty() || all.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str().unwrap_or_default()))
}

fn validate(configuration: &Value, demands: &Demands<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let hooks = At::root(configuration).at("webhooks").items();
    hooks.iter().for_each(|hook| validate_hook(hook, demands, &mut errors));
    if demands.unique_names {
        duplicates(&mut errors, hooks.iter().map(|hook| hook.at("name")));
    }
    errors
}

fn validate_hook(hook: &At<'_>, demands: &Demands<'_>, errors: &mut ErrorList) {
    fully_qualified(&hook.at("name"), errors);
    hook.at("rules").items().iter().for_each(|found| rules::rule(found, errors));
    hook.at("failurePolicy").one_of(errors, &FAILURE_POLICIES);
    hook.at("matchPolicy").one_of(errors, &MATCH_POLICIES);
    side_effects(&hook.at("sideEffects"), demands, errors);
    let timeout = hook.at("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        timeout.invalid(errors, "the timeout value must be between 1 and 30 seconds");
    }
    for selector in SELECTORS.iter().map(|field| hook.at(field)) {
        let mut wrong = label_selector(selector.value, &selector.path);
        if !demands.label_values {
            wrong = wrong.iter().filter(|error| !error.field.ends_with(']')).cloned().collect();
        }
        errors.append(wrong);
    }
    hook.at("reinvocationPolicy").one_of(errors, &["IfNeeded", "Never"]);
    client(&hook.at("clientConfig"), errors);
    if demands.conditions {
        rules::match_conditions(&hook.at("matchConditions"), false, &demands.stored, errors);
    }
    review_versions(&hook.at("admissionReviewVersions"), demands, errors);
}

fn fully_qualified(name: &At<'_>, errors: &mut ErrorList) {
    if !name.required(errors, "") {
        return;
    }
    let wrong = is_dns1123_subdomain(name.text());
    if !wrong.is_empty() {
        name.invalid(errors, &wrong.join(","));
    } else if name.text().split('.').count() < 3 {
        name.invalid(errors, "should be a domain with at least three segments separated by dots");
    }
}

fn side_effects(effects: &At<'_>, demands: &Demands<'_>, errors: &mut ErrorList) {
    let allowed: &[&str] = if demands.no_side_effects { &NO_SIDE_EFFECTS } else { &SIDE_EFFECTS };
    if !effects.present() {
        errors.required(&effects.path, &format!("must specify one of {}", allowed.join(", ")));
    }
    effects.one_of(errors, allowed);
}

fn review_versions(versions: &At<'_>, demands: &Demands<'_>, errors: &mut ErrorList) {
    if !versions.required(errors, "must specify one of v1, v1beta1") {
        return;
    }
    let all = versions.items();
    for (index, version) in all.iter().enumerate() {
        if all[..index].iter().any(|before| before.value == version.value) {
            version.invalid(errors, "duplicate version");
        } else {
            version.follows(errors, is_dns1035_label);
        }
    }
    if demands.known_version && !has_known_version(versions.value) {
        versions.invalid(errors, "must include at least one of v1, v1beta1");
    }
}

/// Where a webhook is.
fn client(client: &At<'_>, errors: &mut ErrorList) {
    let (url, service) = (client.at("url"), client.at("service"));
    match (url.present(), service.present()) {
        (true, true) | (false, false) => {
            errors.required(&client.path, "exactly one of url or service is required");
        }
        (true, false) => errors.append(webhook::address(url.text(), &url.path)),
        (false, true) => errors.append(webhook::service(service.value, &service.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    fn configuration(hook: &Value) -> Value {
        let mut configuration = json!({"webhooks": [hook]});
        ValidatingWebhookConfiguration.default(&mut configuration);
        configuration
    }

    #[test]
    fn addresses_of_webhooks_are_judged() {
        for (client, expected) in [
            (json!({"url": "https://a.b/c"}), vec![]),
            (json!({"url": "a.b:443/c"}), vec!["FieldValueInvalid webhooks[0].clientConfig.url"; 2]),
            (json!({"url": "127.0.0.1:443/c"}), vec!["FieldValueRequired webhooks[0].clientConfig.url"]),
            (json!({"url": "https://u@a.b/c?d#e"}), vec!["FieldValueInvalid webhooks[0].clientConfig.url"; 3]),
            (json!({"url": "https://a.b", "service": {}}), vec!["FieldValueRequired webhooks[0].clientConfig"]),
            (
                json!({"service": {"name": "a", "port": 70_000, "path": "a//b"}}),
                vec![
                    "FieldValueRequired webhooks[0].clientConfig.service.name",
                    "FieldValueInvalid webhooks[0].clientConfig.service.port",
                    "FieldValueInvalid webhooks[0].clientConfig.service.path",
                    "FieldValueInvalid webhooks[0].clientConfig.service.path",
                    "FieldValueInvalid webhooks[0].clientConfig.service.path",
                ],
            ),
        ] {
            let hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": client});
            assert_eq!(causes(&ValidatingWebhookConfiguration.validate(&configuration(&hook))), expected, "{client}");
        }
    }

    #[test]
    fn what_was_wrong_before_may_stay_so() {
        let hook = json!({"name": "a.b.c", "sideEffects": "Some", "admissionReviewVersions": ["v2"],
            "clientConfig": {"url": "https://a.b"}, "objectSelector": {"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["not a value!"]}]}});
        let wrong = configuration(&hook);
        let expected = [
            "FieldValueNotSupported webhooks[0].sideEffects",
            "FieldValueInvalid webhooks[0].objectSelector.matchExpressions[0].values[0]",
            "FieldValueInvalid webhooks[0].admissionReviewVersions",
        ];
        assert_eq!(causes(&ValidatingWebhookConfiguration.validate(&wrong)), expected);
        assert_eq!(causes(&ValidatingWebhookConfiguration.validate_update(&wrong, &wrong)), Vec::<String>::new());
    }
}
