//! Entries of other API versions.

use serde_json::Value;

use crate::structured_merge::Place;

/// What the caller knows of a kind's versions. An entry stays in the version that its manager wrote in, so what it
/// owns is compared in that version.
pub trait Versions {
    /// The schema of the kind in a version; `None` if it is not served in that version (any more): then its entries
    /// are forgotten.
    fn place(&self, api_version: &str) -> Option<Place<'_>>;

    /// The object in a version that is served.
    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String>;
}

/// A kind with a single version.
pub struct OneVersion<'a> {
    pub api_version: &'a str,
    pub place: Place<'a>,
}

impl Versions for OneVersion<'_> {
    fn place(&self, api_version: &str) -> Option<Place<'_>> {
        (api_version == self.api_version).then_some(self.place)
    }

    fn convert(&self, object: &Value, _api_version: &str) -> Result<Value, String> {
        Ok(object.clone())
    }
}
