//! MutatingAdmissionPolicies and their bindings.

use apimachinery::field::ErrorList;
use serde_json::Value;

use super::policy::{self, Policy, binding_kind, policy_kind};
use crate::at::At;
use crate::cel::Expected;
use crate::strategy::{Column, Strategy};

pub struct MutatingAdmissionPolicy;
pub struct MutatingAdmissionPolicyBinding;

/// What is deleted cannot be changed.
const OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];

policy_kind!(MutatingAdmissionPolicy, "Mutations", "/spec/mutations", validate, |_| ErrorList::new());
binding_kind!(MutatingAdmissionPolicyBinding, |spec: &At<'_>, errors: &mut ErrorList| {
    operations(&spec.at("matchResources"), errors);
});

fn validate(object: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let policy = Policy::new(object, old, true);
    policy.validate(&mut errors);
    operations(&policy.spec.at("matchConstraints"), &mut errors);
    policy.spec.at("mutations").required(&mut errors, "mutations must contain at least one item");
    policy.spec.at("mutations").items().iter().for_each(|found| mutation(&policy, found, &mut errors));
    policy.spec.at("reinvocationPolicy").required_one_of(&mut errors, &["Never", "IfNeeded"]);
    errors
}

fn operations(matches: &At<'_>, errors: &mut ErrorList) {
    let rules = matches.at("resourceRules");
    let path = rules.path.child("operations");
    for operation in rules.items().iter().flat_map(|rule| rule.at("operations").items()) {
        if !OPERATIONS.contains(&operation.text()) {
            errors.not_supported(&path, operation.text(), &OPERATIONS);
        }
    }
}

fn mutation(policy: &Policy<'_>, mutation: &At<'_>, errors: &mut ErrorList) {
    let kind = mutation.at("patchType");
    if !kind.required(errors, "") {
        return;
    }
    match kind.text() {
        "JSONPatch" => patch(policy, mutation, ["jsonPatch", "applyConfiguration"], Expected::JsonPatch, errors),
        "ApplyConfiguration" => {
            let fields = ["applyConfiguration", "jsonPatch"];
            patch(policy, mutation, fields, Expected::ApplyConfiguration, errors);
        }
        other => errors.not_supported(&kind.path, other, &["ApplyConfiguration", "JSONPatch"]),
    }
}

/// The first field belongs to the type of the patch, the other must be absent.
fn patch(
    policy: &Policy<'_>,
    mutation: &At<'_>,
    [wanted, other]: [&str; 2],
    expected: Expected,
    errors: &mut ErrorList,
) {
    let kind = mutation.at("patchType").text();
    let (wanted, other_at) = (mutation.at(wanted), mutation.at(other));
    let expression = wanted.at("expression");
    if !wanted.present() {
        errors.required(&wanted.path, &format!("must be specified when patchType is {kind}"));
    } else if expression.text().trim().is_empty() {
        errors.required(&expression.path, "");
    } else {
        policy.check(&expression, expected, "mutations", "", errors);
    }
    if other_at.present() {
        let detail = format!("must not be specified when patchType is {kind}");
        errors.invalid(&other_at.path, format!("{{{other}}}"), detail);
    }
}
