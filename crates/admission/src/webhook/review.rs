//! The question, an AdmissionReview of `admission.k8s.io/v1`, and the check of its answer.

use std::collections::BTreeMap;

use apimachinery::{Gvk, Status};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Request;
use crate::matching::Target;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A review of a request in a target's form.
pub fn question(request: &Request<'_>, target: &Target, uid: &str) -> Value {
    let shown = |object: Option<&Value>| object.map(|object| target.converted(request, object));
    let mut asked = described(request, target);
    asked["uid"] = uid.into();
    asked["object"] = json!(shown(request.object.as_deref()));
    asked["oldObject"] = json!(shown(request.old));
    json!({"kind": KIND, "apiVersion": API_VERSION, "request": asked})
}

/// A request without its objects.
pub fn described(request: &Request<'_>, target: &Target) -> Value {
    let own = request.resource;
    let mut described = json!({
        "kind": kind(&target.kind),
        "resource": {"group": target.resource.group, "version": target.version, "resource": target.resource.resource},
        "requestKind": kind(&request.kind()),
        "requestResource": {"group": own.group, "version": own.version, "resource": own.name},
        "operation": request.operation.name(),
        "userInfo": request.user,
        "dryRun": request.dry_run,
        "options": request.origin.options(request.operation),
    });
    let texts = [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.object_name()),
        ("namespace", request.scope()),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        described[field] = text.into();
    }
    described
}

fn kind(gvk: &Gvk) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

/// What a webhook says.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub allowed: bool,
    pub result: Option<Status>,
    /// A JSON patch; empty if nothing is to change.
    pub patch: Vec<u8>,
    pub warnings: Vec<String>,
    pub audit_annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    kind: String,
    api_version: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(rename = "status")]
    result: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    warnings: Option<Vec<String>>,
    audit_annotations: Option<BTreeMap<String, String>>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("failed to call webhook: {0}")]
    Undecodable(String),
    #[error("received invalid webhook response: {0}")]
    Invalid(String),
}

fn invalid(why: impl Into<String>) -> AnswerError {
    AnswerError::Invalid(why.into())
}

/// Reads what a webhook sent back to the question with that uid.
pub fn answer(body: &[u8], uid: &str, mutating: bool) -> Result<Answer, AnswerError> {
    let review: Review = serde_json::from_slice(body)
        .map_err(|error| AnswerError::Undecodable(format!("decode the response: {error}")))?;
    let Some(response) = review.response else { return Err(invalid("webhook response was absent")) };
    if response.uid != uid {
        return Err(invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid)));
    }
    if (review.api_version.as_str(), review.kind.as_str()) != (API_VERSION, KIND) {
        let got = if review.api_version.is_empty() { "/" } else { &review.api_version };
        let got = format!("{got}, Kind={}", review.kind);
        return Err(invalid(format!("expected webhook response of {API_VERSION}, Kind={KIND}, got {got}")));
    }
    let patch = if mutating { patch(&response)? } else { no_patch(&response).map(|()| Vec::new())? };
    Ok(Answer {
        allowed: response.allowed,
        result: response.result,
        patch,
        warnings: response.warnings.unwrap_or_default(),
        audit_annotations: response.audit_annotations.unwrap_or_default(),
    })
}

fn no_patch(response: &Response) -> Result<(), AnswerError> {
    match (response.patch.as_deref(), &response.patch_type) {
        (None | Some(""), None) => Ok(()),
        (None | Some(""), Some(_)) => Err(invalid("validating webhook may not return response.patchType")),
        _ => Err(invalid("validating webhook may not return response.patch")),
    }
}

fn patch(response: &Response) -> Result<Vec<u8>, AnswerError> {
    let text = response.patch.as_deref().unwrap_or_default();
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    let patch = decoded.map_err(|error| AnswerError::Undecodable(format!("response.patch: {error}")))?;
    match (patch.is_empty(), response.patch_type.as_deref()) {
        (true, None) => Ok(patch),
        (true, Some(_)) => Err(invalid("webhook returned response.patchType but not response.patch")),
        (false, None) => Err(invalid("webhook returned response.patch but not response.patchType")),
        (false, Some("")) => Err(invalid("webhook returned invalid response.patchType of \"\"")),
        (false, Some("JSONPatch")) => Ok(patch),
        (false, Some(other)) => Err(invalid(format!("unsupported patch type {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(response: Value, mutating: bool, want: Expect) {
        let review = json!({"apiVersion": API_VERSION, "kind": KIND, "response": response});
        let told = match answer(review.to_string().as_bytes(), "u", mutating) {
            Ok(answer) => format!("allowed={} patch={}", answer.allowed, String::from_utf8_lossy(&answer.patch)),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&told);
    }

    #[test]
    fn answers_must_fit_the_question() {
        check(json!({"uid": "u", "allowed": true}), true, expect!["allowed=true patch="]);
        check(
            json!({"uid": "x"}),
            true,
            expect![[r#"received invalid webhook response: expected response.uid="u", got "x""#]],
        );
        check(Value::Null, true, expect!["received invalid webhook response: webhook response was absent"]);
        check(
            json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
            true,
            expect!["allowed=true patch=[]"],
        );
        check(
            json!({"uid": "u", "allowed": true, "patch": "W10="}),
            true,
            expect!["received invalid webhook response: webhook returned response.patch but not response.patchType"],
        );
        check(
            json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
            false,
            expect!["received invalid webhook response: validating webhook may not return response.patch"],
        );
    }

    #[test]
    fn another_kind_is_no_answer() {
        let told = answer(br#"{"response": {"uid": "u"}}"#, "u", true).unwrap_err().to_string();
        expect!["received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="]
            .assert_eq(&told);
    }
}
