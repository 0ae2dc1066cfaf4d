//! Which requests are meant: rules, match conditions, match resources.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{is_path_segment_name, is_qualified_name, label_selector};
use serde_json::{Value, json};

use crate::at::{At, duplicates};
use crate::cel::{self, Environment, Expected, Scope};
use crate::defaults::{items, set, set_pointer};

pub const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
pub const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const MATCH_CONDITIONS_MAX: usize = 64;
const ALL: &str = "*";

/// The scope of rules is everything.
pub fn default_rules(parent: &mut Value, list: &str) {
    items(parent, list).for_each(|rule| set(rule, "scope", ALL));
}

/// The matches of a policy or a binding.
pub fn default_match_resources(matches: &mut Value) {
    set_pointer(matches, "matchPolicy", "Equivalent");
    set(matches, "namespaceSelector", json!({}));
    set(matches, "objectSelector", json!({}));
    default_rules(matches, "resourceRules");
    default_rules(matches, "excludeResourceRules");
}

pub fn match_resources(matches: &At<'_>, errors: &mut ErrorList) {
    matches.at("matchPolicy").required_one_of(errors, &MATCH_POLICIES);
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = matches.at(field);
        if !selector.present() {
            errors.required(&selector.path, "");
        }
        errors.append(label_selector(selector.value, &selector.path));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        matches.at(list).items().iter().for_each(|found| named_rule(found, errors));
    }
}

fn named_rule(found: &At<'_>, errors: &mut ErrorList) {
    let names = found.at("resourceNames").items();
    names.iter().for_each(|name| name.follows(errors, is_path_segment_name));
    duplicates(errors, names);
    rule(found, errors);
}

/// A rule with its operations.
pub fn rule(rule: &At<'_>, errors: &mut ErrorList) {
    let operations = rule.at("operations");
    operations.required(errors, "");
    alone(&operations, "if '*' is present, must not specify other operations", errors);
    for operation in operations.items() {
        operation.one_of(errors, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    let (groups, versions) = (rule.at("apiGroups"), rule.at("apiVersions"));
    groups.required(errors, "");
    alone(&groups, "if '*' is present, must not specify other API groups", errors);
    versions.required(errors, "");
    alone(&versions, "if '*' is present, must not specify other API versions", errors);
    for version in versions.items() {
        version.required(errors, "");
    }
    resources(&rule.at("resources"), errors);
    rule.at("scope").one_of(errors, &["*", "Cluster", "Namespaced"]);
}

fn alone(list: &At<'_>, detail: &str, errors: &mut ErrorList) {
    let all = list.items();
    if all.len() > 1 && all.iter().any(|item| item.text() == ALL) {
        list.invalid(errors, detail);
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`: none may say again what another says.
fn resources(resources: &At<'_>, errors: &mut ErrorList) {
    resources.required(errors, "");
    let (mut whole, mut everywhere) = (HashSet::new(), HashSet::new());
    let mut plain_last = false;
    for item in resources.items() {
        let text = item.text();
        if !item.required(errors, "") {
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            plain_last = text != ALL;
            continue;
        };
        if whole.contains(resource) {
            item.invalid(errors, &format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if everywhere.contains(sub) {
            item.invalid(errors, &format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == ALL {
            whole.insert(resource);
        }
        if resource == ALL {
            everywhere.insert(sub);
        }
    }
    let has = |wanted: &str| resources.items().iter().any(|item| item.text() == wanted);
    if resources.items().len() > 1 && has("*/*") {
        resources.invalid(errors, "if '*/*' is present, must not specify other resources");
    }
    if has(ALL) && plain_last {
        resources.invalid(errors, "if '*' is present, must not specify other resources without subresources");
    }
}

/// Conditions of webhooks and policies. `stored` are the expressions that the old object had.
pub fn match_conditions(conditions: &At<'_>, params: bool, stored: &[&str], errors: &mut ErrorList) {
    let all = conditions.items();
    if all.len() > MATCH_CONDITIONS_MAX {
        errors.push(FieldError::too_many(&conditions.path, all.len(), MATCH_CONDITIONS_MAX));
    }
    for condition in &all {
        let (expression, name) = (condition.at("expression"), condition.at("name"));
        if expression.text().trim().is_empty() {
            errors.required(&expression.path, "");
        } else {
            let scope = Scope::Admission { params, authorizer: true, patch_types: false, variables: &[] };
            let stored = stored.contains(&expression.text());
            cel::check(&expression, &Environment { expected: Expected::Bool, scope, stored }, errors);
        }
        if name.required(errors, "") {
            name.follows(errors, is_qualified_name);
        }
    }
    duplicates(errors, all.iter().map(|condition| condition.at("name")));
}

/// The expressions of match conditions.
pub fn expressions(conditions: &Value) -> Vec<&str> {
    conditions.as_array().into_iter().flatten().filter_map(|condition| condition["expression"].as_str()).collect()
}
