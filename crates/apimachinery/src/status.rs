//! The one error of the API, with upstream's codes, reasons and messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field::ErrorList;
use crate::gvk::{GroupKind, GroupResource};

/// What the API answers instead of an object.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub kind: String,
    pub api_version: String,
    pub metadata: ListMeta,
    /// `Success` or `Failure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u16,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u16,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u16) -> bool {
    *value == 0
}

impl Default for Status {
    fn default() -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: ListMeta::default(),
            status: String::new(),
            message: String::new(),
            reason: String::new(),
            details: None,
            code: 0,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `"name"` with Go's quotes.
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

impl Status {
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { status: "Failure".into(), message: message.into(), reason: reason.into(), code, ..Self::default() }
    }

    /// What a delete answers.
    pub fn success(resource: &GroupResource, name: &str, uid: &str) -> Self {
        let details = Details { uid: uid.into(), ..Details::of(resource, name) };
        Self { status: "Success".into(), details: Some(details), ..Self::default() }
    }

    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    pub fn with_retry_after(mut self, seconds: u16) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    pub fn retry_after_seconds(&self) -> u16 {
        self.details.as_ref().map_or(0, |details| details.retry_after_seconds)
    }

    fn about(code: u16, reason: &str, resource: &GroupResource, name: &str, message: String) -> Self {
        Self::failure(code, reason, message).with_details(Details::of(resource, name))
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} not found", quote(name));
        Self::about(404, "NotFound", resource, name, message)
    }

    /// No such path.
    pub fn path_not_found() -> Self {
        Self::failure(404, "NotFound", "the server could not find the requested resource")
            .with_details(Details::default())
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} already exists", quote(name));
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    pub fn generate_name_conflict(resource: &GroupResource, name: &str, retry_after: u16) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Self::about(409, "AlreadyExists", resource, name, message).with_retry_after(retry_after)
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {}: {why}", quote(name));
        Self::about(409, "Conflict", resource, name, message)
    }

    /// The conflict of an update with a stale resource version.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// The conflict of server-side apply.
    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Self {
        Self::failure(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
    }

    pub fn invalid(kind: &GroupKind, name: &str, errors: &ErrorList) -> Self {
        let why = if errors.is_empty() { String::new() } else { format!(": {errors}") };
        let message = format!("{kind} {} is invalid{why}", quote(name));
        let causes = errors.iter().map(|error| Cause {
            reason: error.kind.reason().into(),
            message: error.body(),
            field: error.field.clone(),
        });
        Self::failure(422, "Invalid", message).with_details(Details {
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            name: name.into(),
            causes: causes.collect(),
            ..Details::default()
        })
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (resource.resource.as_str(), name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} {} is forbidden: {why}", quote(name)),
        };
        Self::about(403, "Forbidden", resource, name, message)
    }

    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind {}", quote(&resource.to_string()));
        Self::about(405, "MethodNotAllowed", resource, "", message)
    }

    /// A verb that the path does not have at all.
    pub fn method_not_allowed() -> Self {
        Self::failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(Details::default())
    }

    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::failure(406, "NotAcceptable", message)
    }

    /// What upstream's router says before anything else is looked at.
    pub fn no_representation(available: &[&str]) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
        Self::failure(406, "NotAcceptable", message).with_details(Details::default())
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// The resource version or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    pub fn timeout(message: impl fmt::Display, retry_after: u16) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}")).with_retry_after(retry_after)
    }

    pub fn server_timeout(resource: &GroupResource, operation: &str, retry_after: u16) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::about(500, "ServerTimeout", resource, operation, message).with_retry_after(retry_after)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after: u16) -> Self {
        Self::failure(429, "TooManyRequests", message).with_retry_after(retry_after)
    }

    pub fn internal(why: impl fmt::Display) -> Self {
        let cause = Cause { message: why.to_string(), ..Cause::default() };
        Self::failure(500, "InternalError", format!("Internal error occurred: {why}"))
            .with_details(Details { causes: vec![cause], ..Details::default() })
    }

    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    pub fn request_entity_too_large(message: impl fmt::Display) -> Self {
        Self::failure(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"))
    }

    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    pub fn is_gone(&self) -> bool {
        self.code == 410
    }

    pub fn is_invalid(&self) -> bool {
        self.reason == "Invalid"
    }

    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a Status is JSON")
    }
}

impl Details {
    pub fn of(resource: &GroupResource, name: &str) -> Self {
        Self { name: name.into(), group: resource.group.clone(), kind: resource.resource.clone(), ..Self::default() }
    }
}
