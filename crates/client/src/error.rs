//! What can go wrong with a request.

use apimachinery::Status;

use crate::TransportError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("{}", .0.message)]
    Api(Box<Status>),
    #[error("reach the API server")]
    Transport(#[from] TransportError),
    #[error("read the API server's answer")]
    Body(#[source] crate::BoxError),
    #[error("decode the API server's answer")]
    Decode(#[source] serde_json::Error),
    #[error("encode the request")]
    Encode(#[source] serde_json::Error),
    #[error("build the request")]
    Request(#[from] http::Error),
}

impl Error {
    /// The server's status code, when it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api(status) => Some(status.code),
            _ => None,
        }
    }

    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.reason_is("NotFound")
    }

    pub fn is_conflict(&self) -> bool {
        self.reason_is("Conflict")
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason_is("AlreadyExists")
    }

    pub fn is_forbidden(&self) -> bool {
        self.reason_is("Forbidden")
    }

    pub fn is_invalid(&self) -> bool {
        self.reason_is("Invalid")
    }

    /// The history asked for is gone: list again.
    pub fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }

    fn reason_is(&self, reason: &str) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }
}
