//! Validation of `metav1.Condition` lists.

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_qualified_name, regex_error};

use crate::at::{At, duplicates};

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const REASON_FORM: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";

/// The rules of each condition; a type may be there once.
pub fn validate(conditions: &At<'_>, errors: &mut ErrorList) {
    let all = conditions.items();
    all.iter().for_each(|found| condition(found, errors));
    duplicates(errors, all.iter().map(|found| found.at("type")));
}

fn condition(condition: &At<'_>, errors: &mut ErrorList) {
    if condition.at("type").required(errors, "") {
        condition.at("type").follows(errors, is_qualified_name);
    }
    if !["True", "False", "Unknown"].contains(&condition.at("status").text()) {
        let status = condition.at("status");
        errors.not_supported(&status.path, status.text(), &["False", "True", "Unknown"]);
    }
    let generation = condition.at("observedGeneration");
    if generation.int().is_some_and(|value| value < 0) {
        generation.invalid(errors, "must be greater than or equal to zero");
    }
    condition.at("lastTransitionTime").required(errors, "must be set");
    reason(&condition.at("reason"), errors);
    let message = condition.at("message");
    if message.text().len() > MESSAGE_MAX {
        errors.push(apimachinery::field::FieldError::too_long(&message.path, MESSAGE_MAX));
    }
}

fn reason(reason: &At<'_>, errors: &mut ErrorList) {
    if !reason.required(errors, "") {
        return;
    }
    if !is_reason(reason.text()) {
        let message = "a condition reason must start with alphabetic character, optionally followed by a string of \
                       alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
        let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
        reason.invalid(errors, &regex_error(message, REASON_FORM, &examples));
    }
    if reason.text().len() > REASON_MAX {
        errors.push(apimachinery::field::FieldError::too_long(&reason.path, REASON_MAX));
    }
}

fn is_reason(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    let (first, last) = (text.bytes().next().unwrap_or_default(), text.bytes().next_back().unwrap_or_default());
    first.is_ascii_alphabetic() && text.bytes().all(inner) && (last == b'_' || last.is_ascii_alphanumeric())
}
