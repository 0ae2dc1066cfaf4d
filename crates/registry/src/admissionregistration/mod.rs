//! The group `admissionregistration.k8s.io`.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{is_dns1123_subdomain, label_selector};
use serde_json::{Value, json};

use crate::at::{At, duplicates};
use crate::cells::{count, name};
use crate::defaults::{items, object, present, set};
use crate::strategy::{Column, Strategy};

/// MutatingWebhookConfigurations.
pub struct MutatingWebhookConfiguration;
/// ValidatingWebhookConfigurations.
pub struct ValidatingWebhookConfiguration;

const COLUMNS: &[Column] = &[Column::NAME, Column::of("Webhooks", "integer"), Column::AGE];

macro_rules! webhooks {
    ($kind:ident, $mutating:expr) => {
        impl Strategy for $kind {
            fn default(&self, configuration: &mut Value) {
                items(configuration, "webhooks").for_each(|hook| default_hook(hook, $mutating));
            }

            fn validate(&self, configuration: &Value) -> ErrorList {
                let mut errors = ErrorList::new();
                let hooks = At::root(configuration).at("webhooks");
                hooks.items().iter().for_each(|hook| validate_hook(hook, &mut errors));
                duplicates(&mut errors, hooks.items().iter().map(|hook| hook.at("name")));
                errors
            }

            fn has_generation(&self) -> bool {
                true
            }

            fn generation_moves(&self, old: &Value, new: &Value) -> bool {
                old["webhooks"] != new["webhooks"]
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
    set(hook, "failurePolicy", "Fail");
    set(hook, "matchPolicy", "Equivalent");
    set(hook, "namespaceSelector", json!({}));
    set(hook, "objectSelector", json!({}));
    set(hook, "timeoutSeconds", 10);
    if mutating {
        set(hook, "reinvocationPolicy", "Never");
    }
    items(hook, "rules").for_each(|rule| set(rule, "scope", "*"));
    if let Some(service) = present(hook, "clientConfig").and_then(|config| present(config, "service")) {
        set(service, "port", 443);
    }
    object(hook, "clientConfig");
}

fn validate_hook(hook: &At<'_>, errors: &mut ErrorList) {
    let name = hook.at("name");
    if name.required(errors, "") {
        if name.text().split('.').count() < 3 {
            name.invalid(errors, "should be a domain with at least three segments separated by dots");
        } else {
            name.follows(errors, is_dns1123_subdomain);
        }
    }
    rules(hook, errors);
    hook.at("failurePolicy").one_of(errors, &["Fail", "Ignore"]);
    hook.at("matchPolicy").one_of(errors, &["Equivalent", "Exact"]);
    hook.at("reinvocationPolicy").one_of(errors, &["IfNeeded", "Never"]);
    hook.at("sideEffects").required_one_of(errors, &["None", "NoneOnDryRun"]);
    hook.at("timeoutSeconds").in_range(errors, 1, 30);
    for field in ["namespaceSelector", "objectSelector"] {
        errors.append(label_selector(hook.at(field).value, &hook.path.child(field)));
    }
    client(&hook.at("clientConfig"), errors);
    let versions = hook.at("admissionReviewVersions");
    if versions.required(errors, "must specify one of v1, v1beta1")
        && !versions.items().iter().any(|version| ["v1", "v1beta1"].contains(&version.text()))
    {
        versions.invalid(errors, "must include at least one of v1, v1beta1");
    }
}

fn rules(hook: &At<'_>, errors: &mut ErrorList) {
    for rule in hook.at("rules").items() {
        for field in ["operations", "apiGroups", "apiVersions", "resources"] {
            rule.at(field).required(errors, "");
        }
        for operation in rule.at("operations").items() {
            operation.one_of(errors, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
        }
        rule.at("scope").one_of(errors, &["*", "Cluster", "Namespaced"]);
    }
}

fn client(client: &At<'_>, errors: &mut ErrorList) {
    let (url, service) = (client.at("url"), client.at("service"));
    match (url.present(), service.present()) {
        (true, true) | (false, false) => {
            errors.required(&client.path, "exactly one of url or service is required");
        }
        (true, false) => {
            if !url.text().starts_with("https://") {
                url.invalid(errors, "'https' is the only allowed URL scheme; desired format: https://host[/path]");
            }
        }
        (false, true) => {
            service.at("name").required(errors, "service name is required");
            service.at("namespace").required(errors, "service namespace is required");
            service.at("port").in_range(errors, 1, 65535);
        }
    }
}
