//! Groups of the community need an approval.

use apimachinery::field::{ErrorList, Path};
use apimachinery::status::quote;
use serde_json::Value;

use crate::json::text;

const ANNOTATION: &str = "api-approved.kubernetes.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    Invalid,
    Approved,
    Bypassed,
    Missing,
}

pub fn is_protected_group(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|zone| group.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn annotation(definition: &Value) -> &str {
    text(&definition["metadata"]["annotations"], ANNOTATION)
}

/// What the annotation comes to, and why.
pub fn approval(definition: &Value) -> (Approval, String) {
    const WHERE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let value = annotation(definition);
    let needed = format!("protected groups must have approval annotation {}", quote(ANNOTATION));
    match value {
        "" => (Approval::Missing, format!("{needed}, {WHERE}")),
        _ if value.starts_with("unapproved") => (Approval::Bypassed, format!("not approved: {}", quote(value))),
        _ if is_url(value) => (Approval::Approved, format!("approved in {value}")),
        _ => {
            (Approval::Invalid, format!("{needed} with either a URL or a reason starting with \"unapproved\", {WHERE}"))
        }
    }
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    !scheme.is_empty() && !host.is_empty() && crate::checks::formats::is_valid("uri", value)
}

pub fn validate(definition: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    if !is_protected_group(text(&definition["spec"], "group")) {
        return errors;
    }
    let (state, why) = approval(definition);
    if old.is_some_and(|old| approval(old).0 == state) {
        return errors;
    }
    let path = Path::new("metadata.annotations").key(ANNOTATION);
    match state {
        Approval::Invalid => errors.invalid(&path, annotation(definition), why),
        Approval::Missing => errors.required(&path, &why),
        Approval::Approved | Approval::Bypassed => {}
    }
    errors
}
