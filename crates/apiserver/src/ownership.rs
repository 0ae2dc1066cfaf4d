//! The door of managed fields for a change: which kind, in which version, through which resource.

use apimachinery::managed_fields::{Endpoint, Versions};
use apimachinery::structured_merge::Place;
use apimachinery::{Status, managed_fields, object};
use registry::strategy::Resource;
use serde_json::Value;

use crate::catalog::{Catalog, ResourceExt};
use crate::change::{Change, Part};
use crate::encode;

/// Whether a write's owners are still to be settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The writer gets what it changes.
    #[default]
    Kept,
    /// The wanted object names its owners: it was applied, or is the parent of what was written.
    Settled,
}

/// The versions in which a resource's objects are served.
pub struct ServedVersions<'a> {
    pub resource: &'a Resource,
    pub catalog: &'a Catalog,
}

impl ServedVersions<'_> {
    fn in_version(&self, api_version: &str) -> Option<&Resource> {
        let same = |other: &&Resource| {
            other.kind == self.resource.kind
                && other.storage() == self.resource.storage()
                && other.api_version() == api_version
        };
        self.catalog.resources().map(AsRef::as_ref).find(same)
    }
}

impl Versions for ServedVersions<'_> {
    fn place(&self, api_version: &str) -> Option<Place<'_>> {
        self.in_version(api_version).map(place)
    }

    fn convert(&self, value: &Value, api_version: &str) -> Result<Value, String> {
        let from = object::api_version(value);
        let unknown = |version: &str| format!("no kind {:?} is registered for version {version:?}", self.resource.kind);
        let source = self.in_version(from).ok_or_else(|| unknown(from))?;
        let target = self.in_version(api_version).ok_or_else(|| unknown(api_version))?;
        let mut converted = value.clone();
        if source.storage.is_some() {
            converted = source.strategy.to_storage(converted);
        }
        if target.storage.is_some() {
            converted = target.strategy.from_storage(converted);
        }
        encode::set_kind(target, &mut converted);
        Ok(converted)
    }
}

/// The schema of a resource's objects.
pub fn place(resource: &Resource) -> Place<'_> {
    Some(resource.schema.node())
}

impl Change<'_> {
    /// Gives the endpoint that this change goes through to `act`.
    pub fn at_endpoint<T>(&self, act: impl FnOnce(&Endpoint<'_>) -> T) -> T {
        let versions = ServedVersions { resource: self.resource, catalog: &self.call.catalog };
        let (api_version, now) = (self.resource.api_version(), self.call.now_text());
        act(&Endpoint {
            place: place(self.resource),
            api_version: &api_version,
            kind: self.resource.kind,
            subresource: self.written_subresource(),
            reset: self.reset_fields(),
            versions: &versions,
            now: &now,
        })
    }

    /// An approval is written as a status, but is itself.
    fn written_subresource(&self) -> &str {
        match self.part {
            Part::Status if !self.call.info.subresource.is_empty() => &self.call.info.subresource,
            part => part.subresource(),
        }
    }

    fn reset_fields(&self) -> &'static [&'static str] {
        match self.part {
            Part::Main if self.resource.subresource("status").is_none() => &[],
            part => self.resource.strategy.reset_fields(part.subresource()),
        }
    }

    /// Keeps the managed fields, unless the object comes with its owners settled.
    pub fn manage(&self, old: Option<&Value>, new: &mut Value) {
        if self.ownership == Ownership::Kept {
            self.at_endpoint(|endpoint| endpoint.update(old, new, &self.manager));
        }
    }

    /// What admission makes of the managed fields has to be readable; else they are as they were before.
    pub fn check_owners_after_admission(&self, object: &mut Value, before: Option<Value>) {
        let Err(error) = managed_fields::decode(object) else { return };
        let metadata = object::metadata_mut(object);
        match before {
            Some(entries) => metadata.insert("managedFields".into(), entries),
            None => metadata.remove("managedFields"),
        };
        self.call.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated \
             mutating admission controller; please fix your requests: {error}"
        ));
    }
}

/// The answer when an applied object does not fit its kind although every value has the declared type.
pub fn unconvertible(resource: &Resource, object: &Value, why: &str) -> Status {
    let (gvk, version) = (resource.gvk(), resource.api_version());
    let what = format!("{}/{}; {gvk}", object::namespace(object), object::name(object));
    Status::failure(500, "", format!("failed to convert new object ({what}) to proper version ({version}): {why}"))
}
