//! The group `rbac.authorization.k8s.io`.

use apimachinery::field::ErrorList;
use apimachinery::labels::Selector;
use apimachinery::table;
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

use crate::at::At;
use crate::cells::{created_at, list, name, text};
use crate::defaults::{items, present, set};
use crate::strategy::{Column, NameRule, Strategy};

pub const GROUP: &str = "rbac.authorization.k8s.io";

/// Roles.
pub struct Role;
/// ClusterRoles.
pub struct ClusterRole;
/// RoleBindings.
pub struct RoleBinding;
/// ClusterRoleBindings.
pub struct ClusterRoleBinding;

const ROLE_COLUMNS: &[Column] = &[Column::NAME, Column::of("Created At", "date")];
const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role"),
    Column::AGE,
    Column::wide("Users"),
    Column::wide("Groups"),
    Column::wide("ServiceAccounts"),
];

impl Strategy for Role {
    fn validate(&self, role: &Value) -> ErrorList {
        rules(&At::root(role).at("rules"), true)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        ROLE_COLUMNS
    }

    fn row(&self, role: &Value, _now: i64) -> Vec<Value> {
        vec![name(role), created_at(role)]
    }
}

impl Strategy for ClusterRole {
    fn validate(&self, role: &Value) -> ErrorList {
        let root = At::root(role);
        let mut errors = rules(&root.at("rules"), false);
        let aggregation = root.at("aggregationRule");
        if aggregation.present() {
            let selectors = aggregation.at("clusterRoleSelectors");
            selectors.required(&mut errors, "at least one clusterRoleSelector required if aggregationRule is non-nil");
            for selector in selectors.items() {
                errors.append(apimachinery::validation::label_selector(selector.value, &selector.path));
                if Selector::from_label_selector(Some(selector.value)).is_err() {
                    selector.invalid(&mut errors, "invalid label selector.");
                }
            }
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        ROLE_COLUMNS
    }

    fn row(&self, role: &Value, _now: i64) -> Vec<Value> {
        vec![name(role), created_at(role)]
    }
}

fn rules(rules: &At<'_>, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    for rule in rules.items() {
        rule.at("verbs").required(&mut errors, "verbs must contain at least one value");
        let urls = rule.at("nonResourceURLs");
        if !urls.empty() {
            if namespaced {
                urls.invalid(&mut errors, "namespaced rules cannot apply to non-resource URLs");
            }
            if !rule.at("resources").empty() || !rule.at("apiGroups").empty() || !rule.at("resourceNames").empty() {
                urls.invalid(&mut errors, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        rule.at("apiGroups").required(&mut errors, "resource rules must supply at least one api group");
        rule.at("resources").required(&mut errors, "resource rules must supply at least one resource");
    }
    errors
}

macro_rules! binding {
    ($kind:ident, $roles:expr, $namespaced:expr) => {
        impl Strategy for $kind {
            fn default(&self, binding: &mut Value) {
                default_binding(binding);
            }

            fn validate(&self, binding: &Value) -> ErrorList {
                validate_binding(binding, $roles, $namespaced)
            }

            fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
                let mut errors = self.validate(new);
                if new["roleRef"] != old["roleRef"] {
                    At::root(new).at("roleRef").invalid(&mut errors, "cannot change roleRef");
                }
                errors
            }

            fn name_rule(&self) -> NameRule {
                NameRule::PathSegment
            }

            fn allows_create_on_update(&self) -> bool {
                true
            }

            fn columns(&self) -> &[Column] {
                BINDING_COLUMNS
            }

            fn row(&self, binding: &Value, now: i64) -> Vec<Value> {
                binding_row(binding, now)
            }
        }
    };
}

binding!(RoleBinding, &["ClusterRole", "Role"], true);
binding!(ClusterRoleBinding, &["ClusterRole"], false);

fn default_binding(binding: &mut Value) {
    if let Some(role) = present(binding, "roleRef") {
        set(role, "apiGroup", GROUP);
    }
    for subject in items(binding, "subjects") {
        if ["User", "Group"].contains(&text(subject, "/kind")) {
            set(subject, "apiGroup", GROUP);
        }
    }
}

fn validate_binding(binding: &Value, roles: &[&str], namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = At::root(binding);
    let role = root.at("roleRef");
    for (field, supported) in [("apiGroup", &[GROUP][..]), ("kind", roles)] {
        let at = role.at(field);
        if !supported.contains(&at.text()) {
            errors.not_supported(&at.path, at.text(), supported);
        }
    }
    if role.at("name").required(&mut errors, "") {
        role.at("name").follows(&mut errors, apimachinery::validation::is_path_segment_name);
    }
    root.at("subjects").items().iter().for_each(|found| subject(found, namespaced, &mut errors));
    errors
}

fn subject(subject: &At<'_>, namespaced: bool, errors: &mut ErrorList) {
    subject.at("name").required(errors, "");
    let group = subject.at("apiGroup");
    match subject.at("kind").text() {
        "ServiceAccount" => {
            if !subject.at("name").empty() {
                subject.at("name").follows(errors, is_dns1123_subdomain);
            }
            if !group.empty() {
                errors.not_supported(&group.path, group.text(), &[""]);
            }
            if !namespaced {
                subject.at("namespace").required(errors, "");
            }
        }
        "User" | "Group" => {
            if group.text() != GROUP {
                errors.not_supported(&group.path, group.text(), &[GROUP]);
            }
        }
        other => errors.not_supported(&subject.path.child("kind"), other, &["Group", "ServiceAccount", "User"]),
    }
}

fn binding_row(binding: &Value, now: i64) -> Vec<Value> {
    let of = |kind: &str| -> Vec<String> {
        let subjects = list(binding, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
        subjects
            .map(|subject| match text(subject, "/namespace") {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "/name")),
                _ => text(subject, "/name").to_owned(),
            })
            .collect()
    };
    vec![
        name(binding),
        format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into(),
        table::age(binding, now),
        of("User").join(", ").into(),
        of("Group").join(", ").into(),
        of("ServiceAccount").join(", ").into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
    }

    #[test]
    fn a_binding_names_a_role_and_whom_it_is_given_to() {
        let mut binding = json!({"subjects": [{"kind": "User", "name": ""}, {"kind": "Robot", "name": "r"}]});
        RoleBinding.default(&mut binding);
        assert_eq!(
            causes(&RoleBinding.validate(&binding)),
            [
                "roleRef.apiGroup NotSupported",
                "roleRef.kind NotSupported",
                "roleRef.name Required",
                "subjects[0].name Required",
                "subjects[1].kind NotSupported",
            ]
        );
    }

    #[test]
    fn roles_are_gathered_by_selectors_that_can_be_read() {
        let role = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a b": "c"}}]}});
        let selector = "aggregationRule.clusterRoleSelectors[0]";
        let expected = [format!("{selector}.matchLabels Invalid"), format!("{selector} Invalid")];
        assert_eq!(causes(&ClusterRole.validate(&role)), expected);
    }
}
