//! ValidatingAdmissionPolicies and their bindings.

use apimachinery::field::ErrorList;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::policy::{self, Policy, binding_kind, policy_kind};
use crate::at::{At, duplicates};
use crate::cel::Expected;
use crate::cells::text;
use crate::conditions;
use crate::strategy::{Column, Strategy};

pub struct ValidatingAdmissionPolicy;
pub struct ValidatingAdmissionPolicyBinding;

const AUDIT_ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_MAX: usize = 5 * 1024;
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

policy_kind!(ValidatingAdmissionPolicy, "Validations", "/spec/validations", validate, validate_status);
binding_kind!(ValidatingAdmissionPolicyBinding, |spec: &At<'_>, errors: &mut ErrorList| {
    actions(&spec.at("validationActions"), errors);
});

fn validate_status(policy: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let status = At::root(policy).at("status");
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
        message.invalid(errors, "must be non-empty if specified");
    } else if message.text().trim().contains(['\n', '\r']) {
        message.invalid(errors, "must not contain line breaks");
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

fn actions(actions: &At<'_>, errors: &mut ErrorList) {
    let all = actions.items();
    all.iter().for_each(|action| action.one_of(errors, &["Audit", "Deny", "Warn"]));
    duplicates(errors, actions.items());
    let has = |wanted: &str| all.iter().any(|action| action.text() == wanted);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        actions.invalid(errors, detail);
    }
    actions.required(errors, "at least one validation action is required");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    #[test]
    fn expressions_are_compiled_where_they_stand() {
        let mut policy = json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["pods"]}]},
            "variables": [{"name": "a-b", "expression": "1"}, {"name": "x", "expression": "variables.y"}],
            "matchConditions": [{"name": "c", "expression": "1"}, {"name": "c", "expression": "true"}],
            "validations": [{"expression": "1"}, {"expression": "params.x"}, {"expression": "true",
                "messageExpression": "1", "message": "a\nb", "reason": "Gone"}],
            "auditAnnotations": [{"key": "k", "valueExpression": "1"}]}});
        ValidatingAdmissionPolicy.default(&mut policy);
        let expected = [
            "FieldValueInvalid spec.matchConditions[0].expression",
            "FieldValueDuplicate spec.matchConditions[1].name",
            "FieldValueInvalid spec.variables[0].name",
            "FieldValueInvalid spec.variables[1].expression",
            "FieldValueInvalid spec.validations[0].expression",
            "FieldValueInvalid spec.validations[1].expression",
            "FieldValueInvalid spec.validations[2].messageExpression",
            "FieldValueInvalid spec.validations[2].message",
            "FieldValueNotSupported spec.validations[2].reason",
            "FieldValueInvalid spec.auditAnnotations[0].valueExpression",
        ];
        assert_eq!(causes(&ValidatingAdmissionPolicy.validate(&policy)), expected);
    }

    #[test]
    fn bindings_name_a_policy_and_what_is_done() {
        let mut binding = json!({"spec": {"policyName": "P", "paramRef": {"name": "a", "selector": {}},
            "matchResources": {"matchPolicy": "Some"}, "validationActions": ["Deny", "Warn", "Deny"]}});
        ValidatingAdmissionPolicyBinding.default(&mut binding);
        let expected = [
            "FieldValueInvalid spec.policyName",
            "FieldValueForbidden spec.paramRef.name",
            "FieldValueForbidden spec.paramRef.selector",
            "FieldValueRequired spec.paramRef.parameterNotFoundAction",
            "FieldValueNotSupported spec.matchResources.matchPolicy",
            "FieldValueDuplicate spec.validationActions[2]",
            "FieldValueInvalid spec.validationActions",
        ];
        assert_eq!(causes(&ValidatingAdmissionPolicyBinding.validate(&binding)), expected);
    }
}
