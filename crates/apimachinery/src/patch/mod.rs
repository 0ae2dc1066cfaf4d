//! The patch types except server-side apply. Each takes the current object and the patch and gives the patched object,
//! which still has to be decoded against the schema ([`crate::strict::normalize`]).

pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

use crate::field::{ErrorList, FieldError, Path};
use crate::{GroupKind, Status};

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    Unprocessable(String),
    /// More operations than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// Directives that contradict each other; upstream answers 500.
    #[error("{0}")]
    Contradictory(String),
}

impl PatchError {
    pub fn to_status(&self) -> Status {
        match self {
            Self::Malformed(why) => Status::bad_request(why.clone()),
            Self::TooLarge(why) => Status::request_entity_too_large(why),
            Self::Contradictory(why) => Status::failure(500, "", why.clone()),
            Self::Unprocessable(_) => {
                Status::failure(422, "Invalid", "the server rejected our request due to an error in our request")
                    .with_details(crate::status::Details::default())
            }
        }
    }
}

/// The answer when the patched object does not fit its kind.
pub fn undecodable(patch: &str, why: &str) -> Status {
    let error = FieldError::invalid(&Path::new("patch"), patch, why);
    Status::invalid(&GroupKind::new("", ""), "", &ErrorList::from_iter([error]))
}

/// A patch may change neither `apiVersion` nor `kind`; it may drop them.
#[allow(clippy::result_large_err, reason = "built once, on failure")]
pub fn check_kind(patched: &Value, original: &Value, patch: &str) -> Result<(), Status> {
    for field in ["apiVersion", "kind"] {
        if !patched[field].is_null() && patched[field] != original[field] {
            let (got, expected) = (&patched[field], &original[field]);
            let why = format!("the {field} in the data ({got}) does not match the expected {field} ({expected})");
            return Err(undecodable(patch, &why));
        }
    }
    Ok(())
}

fn parse(patch: &[u8]) -> Result<Value, PatchError> {
    serde_json::from_slice(patch).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))
}
