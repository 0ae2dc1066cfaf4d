//! Why a webhook was not asked, gave no answer, or gave a wrong one.

use apimachinery::Status;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Subject to the failure policy.
    Failed { webhook: String, why: String, code: u16 },
    /// The webhook said no.
    Denied(Box<Status>),
    /// The webhook may not be asked in a dry run.
    DryRun(String),
    /// The answer cannot be used.
    Unusable(String),
}

impl CallError {
    /// With the code that it is counted under.
    pub fn failed(webhook: &str, why: impl std::fmt::Display, code: u16) -> CallError {
        CallError::Failed { webhook: webhook.to_owned(), why: why.to_string(), code }
    }

    pub fn to_status(&self) -> Status {
        match self {
            CallError::Failed { webhook, why, .. } => {
                Status::internal(format!("failed calling webhook {webhook:?}: {why}"))
            }
            CallError::Denied(status) => (**status).clone(),
            CallError::DryRun(webhook) => {
                Status::bad_request(format!("admission webhook {webhook:?} does not support dry run"))
            }
            CallError::Unusable(why) => Status::internal(why),
        }
    }
}

/// What a client is told when a webhook denies: the webhook's own status, made a failure.
pub fn denial(webhook: &str, result: Option<Status>) -> Status {
    let mut status = result.unwrap_or_else(|| Status { status: "Failure".into(), ..Status::default() });
    let denied = format!("admission webhook {webhook:?} denied the request");
    status.code = status.code.max(400);
    if status.status.is_empty() || status.status == "Success" {
        status.status = "Failure".into();
    }
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    (status.kind, status.api_version) = ("Status".into(), "v1".into());
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_keeps_code_and_reason_and_names_the_webhook() {
        let told = denial("a.b.c", Some(Status { code: 422, message: "no".into(), ..Status::default() }));
        assert_eq!((told.code, told.message.as_str()), (422, "admission webhook \"a.b.c\" denied the request: no"));
        let told = denial("a.b.c", Some(Status { code: 200, reason: "Why".into(), ..Status::default() }));
        assert_eq!((told.code, told.message.as_str()), (400, "admission webhook \"a.b.c\" denied the request: Why"));
        let told = denial("a.b.c", None);
        assert_eq!(told.message, "admission webhook \"a.b.c\" denied the request without explanation");
    }
}
