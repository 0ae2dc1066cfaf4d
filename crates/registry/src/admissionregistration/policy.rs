//! What validating and mutating admission policies share.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, is_path_segment_name, label_selector};
use serde_json::Value;

use super::rules::{self, FAILURE_POLICIES};
use crate::at::At;
use crate::cel::{self, Environment, Expected, Scope};
use crate::cells::{count, name, text};
use crate::defaults::{object, present, set_pointer};
use crate::strategy::Column;

/// The strategy of a kind of policy: what it does stands in a list, and is judged by `$validate`.
macro_rules! policy_kind {
    ($kind:ident, $column:expr, $list:expr, $validate:expr, $validate_status:expr) => {
        impl Strategy for $kind {
            fn default(&self, object: &mut Value) {
                policy::default_spec(object);
            }

            fn validate(&self, object: &Value) -> ErrorList {
                $validate(object, None)
            }

            fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
                $validate(new, Some(old))
            }

            fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
                crate::strategy::keep_all_but_the_status(new, old);
            }

            fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
                $validate_status(new)
            }

            fn has_generation(&self) -> bool {
                true
            }

            fn allows_unconditional_update(&self) -> bool {
                false
            }

            fn columns(&self) -> &[Column] {
                const { &[Column::NAME, Column::of($column, "integer"), Column::text("ParamKind"), Column::AGE] }
            }

            fn row(&self, object: &Value, now: i64) -> Vec<Value> {
                policy::policy_row(object, $list, now)
            }
        }
    };
}

/// The strategy of the bindings of a kind of policy. `$validate` judges what only these have.
macro_rules! binding_kind {
    ($kind:ident, $validate:expr) => {
        impl Strategy for $kind {
            fn default(&self, binding: &mut Value) {
                policy::default_binding(binding);
            }

            fn validate(&self, binding: &Value) -> ErrorList {
                let mut errors = ErrorList::new();
                let spec = At::root(binding).at("spec");
                policy::validate_binding(&spec, &mut errors);
                $validate(&spec, &mut errors);
                errors
            }

            fn has_generation(&self) -> bool {
                true
            }

            fn allows_unconditional_update(&self) -> bool {
                false
            }

            fn columns(&self) -> &[Column] {
                policy::BINDING_COLUMNS
            }

            fn row(&self, binding: &Value, now: i64) -> Vec<Value> {
                policy::binding_row(binding, now)
            }
        }
    };
}

pub(super) use {binding_kind, policy_kind};

pub const BINDING_COLUMNS: &[Column] =
    &[Column::NAME, Column::text("PolicyName"), Column::text("ParamRef"), Column::AGE];

pub fn policy_row(policy: &Value, list: &str, now: i64) -> Vec<Value> {
    vec![name(policy), count(policy, list), param_kind_cell(policy).into(), table::age(policy, now)]
}

pub fn binding_row(binding: &Value, now: i64) -> Vec<Value> {
    vec![
        name(binding),
        text(binding, "/spec/policyName").into(),
        param_ref_cell(binding).into(),
        table::age(binding, now),
    ]
}

pub fn default_spec(policy: &mut Value) {
    let Some(spec) = object(policy, "spec") else { return };
    set_pointer(spec, "failurePolicy", "Fail");
    if let Some(matches) = present(spec, "matchConstraints") {
        rules::default_match_resources(matches);
    }
}

pub fn default_binding(binding: &mut Value) {
    if let Some(matches) = object(binding, "spec").and_then(|spec| present(spec, "matchResources")) {
        rules::default_match_resources(matches);
    }
}

/// A policy's spec, with the old object's when it changes.
pub struct Policy<'a> {
    pub spec: At<'a>,
    old: Option<&'a Value>,
    variables: Vec<(&'a str, &'a str)>,
    patch_types: bool,
}

impl<'a> Policy<'a> {
    pub fn new(policy: &'a Value, old: Option<&'a Value>, patch_types: bool) -> Self {
        let spec = At::root(policy).at("spec");
        let all = spec.at("variables").items();
        let variables = all.iter().map(|one| (one.at("name").text(), one.at("expression").text())).collect();
        Self { spec, old: old.map(|old| &old["spec"]), variables, patch_types }
    }

    fn params(&self) -> bool {
        self.spec.at("paramKind").present()
    }

    /// Whether `expression` stood in the old object, in the same field of an item of the list.
    fn stored(&self, list: &str, field: &str, expression: &str) -> bool {
        let items = self.old.and_then(|old| old[list].as_array()).into_iter().flatten();
        items.into_iter().any(|item| item[field] == expression)
    }

    /// Judges an expression that sees all variables.
    pub fn check(&self, at: &At<'_>, expected: Expected, list: &str, field: &str, errors: &mut ErrorList) {
        self.compile(at, expected, &self.variables, self.stored(list, field, at.text()), errors);
    }

    fn compile(
        &self,
        at: &At<'_>,
        expected: Expected,
        variables: &[(&str, &str)],
        stored: bool,
        errors: &mut ErrorList,
    ) {
        let authorizer = expected != Expected::Text;
        let scope = Scope::Admission { params: self.params(), authorizer, patch_types: self.patch_types, variables };
        cel::check(at, &Environment { expected, scope, stored }, errors);
    }

    /// What both kinds of policy must have.
    pub fn validate(&self, errors: &mut ErrorList) {
        self.spec.at("failurePolicy").required_one_of(errors, &FAILURE_POLICIES);
        if self.params() {
            param_kind(&self.spec.at("paramKind"), errors);
        }
        let matches = self.spec.at("matchConstraints");
        if matches.present() {
            rules::match_resources(&matches, errors);
            matches.at("resourceRules").required(errors, "");
        } else {
            errors.required(&matches.path, "");
        }
        self.match_conditions(errors);
        for (index, variable) in self.spec.at("variables").items().iter().enumerate() {
            self.variable(variable, index, errors);
        }
    }

    /// Conditions that did not change were valid once.
    fn match_conditions(&self, errors: &mut ErrorList) {
        let conditions = self.spec.at("matchConditions");
        let none = Value::Null;
        let old = self.old.map_or(&none, |old| &old["matchConditions"]);
        let same_params = self.old.is_some_and(|old| old["paramKind"] == *self.spec.at("paramKind").value);
        if !(same_params && old == conditions.value) {
            rules::match_conditions(&conditions, self.params(), &rules::expressions(old), errors);
        }
    }

    fn variable(&self, variable: &At<'_>, index: usize, errors: &mut ErrorList) {
        let (name, expression) = (variable.at("name"), variable.at("expression"));
        if name.text().trim().is_empty() {
            errors.required(&name.path, "name is not specified");
        } else if !expressions::is_identifier(name.text()) {
            name.invalid(errors, "must be a valid CEL identifier");
        }
        if expression.text().trim().is_empty() {
            errors.required(&expression.path, "expression is not specified");
        } else {
            let stored = self.stored("variables", "expression", expression.text());
            self.compile(&expression, Expected::Anything, &self.variables[..index], stored, errors);
        }
    }
}

fn param_kind(kind: &At<'_>, errors: &mut ErrorList) {
    let version = kind.at("apiVersion");
    if version.required(errors, "") {
        group_version(&version, errors);
    }
    let kind = kind.at("kind");
    if kind.required(errors, "") {
        let wrong = is_dns1035_label(&kind.text().to_lowercase());
        if !wrong.is_empty() {
            kind.invalid(errors, &format!("may have mixed case, but should otherwise match: {}", wrong.join(",")));
        }
    }
}

fn group_version(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().matches('/').count() > 1 {
        return at.invalid(errors, &format!("unexpected GroupVersion string: {}", at.text()));
    }
    let (group, version) = at.text().split_once('/').unwrap_or(("", at.text()));
    if !group.is_empty() {
        let wrong = is_dns1123_subdomain(group);
        errors.invalid_all(&at.path, group, (!wrong.is_empty()).then(|| wrong.join(",")));
    }
    if version.is_empty() {
        return at.invalid(errors, "version must be specified");
    }
    let wrong = is_dns1035_label(version);
    errors.invalid_all(&at.path, version, (!wrong.is_empty()).then(|| wrong.join(",")));
}

/// The policy, its parameters, and what is meant.
pub fn validate_binding(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("policyName");
    if policy.required(errors, "") {
        policy.follows(errors, is_dns1123_subdomain);
    }
    if spec.at("paramRef").present() {
        param_ref(&spec.at("paramRef"), errors);
    }
    if spec.at("matchResources").present() {
        rules::match_resources(&spec.at("matchResources"), errors);
    }
}

fn param_ref(reference: &At<'_>, errors: &mut ErrorList) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selector) = (reference.at("name"), reference.at("selector"));
    let both = !name.empty() && selector.present();
    if !name.empty() {
        name.follows(errors, is_path_segment_name);
    }
    if both {
        errors.forbidden(&name.path, EXCLUSIVE);
    }
    errors.append(label_selector(selector.value, &selector.path));
    if both {
        errors.forbidden(&selector.path, EXCLUSIVE);
    }
    if name.empty() && !selector.present() {
        errors.required(&reference.path, "one of name or selector must be specified");
    }
    reference.at("parameterNotFoundAction").required_one_of(errors, &["Deny", "Allow"]);
}

/// `apiVersion/kind` of the parameters, as a cell.
fn param_kind_cell(policy: &Value) -> String {
    let kind = &policy["spec"]["paramKind"];
    if kind.is_object() { format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")) } else { "<unset>".into() }
}

/// The parameters that a binding names, as a cell.
fn param_ref_cell(binding: &Value) -> String {
    let reference = &binding["spec"]["paramRef"];
    let (namespace, name) = (text(reference, "/namespace"), text(reference, "/name"));
    match (namespace, name) {
        _ if !reference.is_object() => "<unset>".into(),
        (_, "") => crate::cells::selector(reference.get("selector")),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}
