//! ValidatingAdmissionPolicies and their bindings.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::policy::{self, Policy};
use super::rules;
use crate::at::{At, duplicates};
use crate::cel::Expected;
use crate::cells::{count, name, text};
use crate::conditions;
use crate::strategy::{Column, Strategy};

pub struct ValidatingAdmissionPolicy;
pub struct ValidatingAdmissionPolicyBinding;

const AUDIT_ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_MAX: usize = 5 * 1024;
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

impl Strategy for ValidatingAdmissionPolicy {
    fn default(&self, policy: &mut Value) {
        policy::default_spec(policy);
    }

    fn validate(&self, policy: &Value) -> ErrorList {
        validate(policy, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        validate(new, Some(old))
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        for warning in status.to("typeChecking.expressionWarnings").items() {
            warning.at("warning").required(&mut errors, "");
            let field = warning.at("fieldRef");
            if field.text().trim().is_empty() {
                errors.required(&field.path, "");
            }
        }
        conditions::validate(&status.at("conditions"), &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Validations", "integer"), Column::text("ParamKind"), Column::AGE] }
    }

    fn row(&self, policy: &Value, now: i64) -> Vec<Value> {
        vec![
            name(policy),
            count(policy, "/spec/validations"),
            policy::param_kind_cell(policy).into(),
            table::age(policy, now),
        ]
    }
}

fn validate(object: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let policy = Policy::new(object, old, false);
    policy.validate(&mut errors);
    let (validations, annotations) = (policy.spec.at("validations"), policy.spec.at("auditAnnotations"));
    if validations.empty() && annotations.empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.required(&validations.path, detail);
        errors.required(&annotations.path, detail);
        return errors;
    }
    validations.items().iter().for_each(|found| validation(&policy, found, &mut errors));
    let all = annotations.items();
    if all.len() > AUDIT_ANNOTATIONS_MAX {
        annotations.invalid(&mut errors, &format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations"));
    }
    all.iter().for_each(|found| audit_annotation(&policy, text(object, "/metadata/name"), found, &mut errors));
    duplicates(&mut errors, all.iter().map(|found| found.at("key")));
    errors
}

fn validation(policy: &Policy<'_>, validation: &At<'_>, errors: &mut ErrorList) {
    let expression = validation.at("expression");
    if expression.text().trim().is_empty() {
        errors.required(&expression.path, "expression is not specified");
    } else {
        policy.check(&expression, Expected::Bool, "validations", "expression", errors);
    }
    let by_expression = validation.at("messageExpression");
    match (by_expression.text(), by_expression.text().trim()) {
        ("", _) => {}
        (_, "") => by_expression.invalid(errors, "must be non-empty if specified"),
        _ => policy.check(&by_expression, Expected::Text, "validations", "messageExpression", errors),
    }
    let message = validation.at("message");
    if !message.empty() && message.text().trim().is_empty() {
        message.invalid(errors, "message must be non-empty if specified");
    } else if message.text().trim().contains(['\n', '\r']) {
        message.invalid(errors, "message must not contain line breaks");
    }
    validation.at("reason").one_of(errors, &REASONS);
}

fn audit_annotation(policy: &Policy<'_>, policy_name: &str, annotation: &At<'_>, errors: &mut ErrorList) {
    let (key, value) = (annotation.at("key"), annotation.at("valueExpression"));
    if policy_name.is_empty() {
        key.invalid(errors, "requires metadata.name be non-empty");
    } else {
        let full = format!("{policy_name}/{}", key.text());
        errors.invalid_all(&key.path, &full, is_qualified_name(&full));
    }
    match value.text().trim().len() {
        0 => errors.required(&value.path, "valueExpression is not specified"),
        length if length > VALUE_EXPRESSION_MAX => {
            errors.required(&value.path, &format!("must not exceed {VALUE_EXPRESSION_MAX} bytes in length"));
        }
        _ => policy.check(&value, Expected::TextOrNull, "auditAnnotations", "valueExpression", errors),
    }
}

impl Strategy for ValidatingAdmissionPolicyBinding {
    fn default(&self, binding: &mut Value) {
        policy::default_binding(binding);
    }

    fn validate(&self, binding: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(binding).at("spec");
        policy::validate_binding(&spec, &mut errors);
        if spec.at("matchResources").present() {
            // The name of the field is misspelled upstream, and clients see it.
            let matches = At { value: spec.at("matchResources").value, path: spec.path.child("matchResouces") };
            rules::match_resources(&matches, &mut errors);
        }
        actions(&spec.at("validationActions"), &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &[Column] {
        BINDING_COLUMNS
    }

    fn row(&self, binding: &Value, now: i64) -> Vec<Value> {
        binding_row(binding, now)
    }
}

pub const BINDING_COLUMNS: &[Column] =
    &[Column::NAME, Column::text("PolicyName"), Column::text("ParamRef"), Column::AGE];

pub fn binding_row(binding: &Value, now: i64) -> Vec<Value> {
    vec![
        name(binding),
        text(binding, "/spec/policyName").into(),
        policy::param_ref_cell(binding).into(),
        table::age(binding, now),
    ]
}

fn actions(actions: &At<'_>, errors: &mut ErrorList) {
    let all = actions.items();
    all.iter().for_each(|action| action.one_of(errors, &["Audit", "Deny", "Warn"]));
    let has = |wanted: &str| all.iter().any(|action| action.text() == wanted);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        actions.invalid(errors, detail);
    }
    actions.required(errors, "at least one validation action is required");
    duplicates(errors, all);
}
