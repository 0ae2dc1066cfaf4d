//! The door of managed fields for a change: which kind, in which version, through which resource.

use apimachinery::managed_fields::{Endpoint, Reset, Versions};
use apimachinery::structured_merge::Place;
use apimachinery::{Status, managed_fields, object};
use registry::strategy::Resource;
use serde_json::Value;

use crate::catalog::{Catalog, ResourceExt};
use crate::change::{Change, Part};
use crate::custom::convert::Conversions;
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
struct ServedVersions<'a> {
    resource: &'a Resource,
    catalog: &'a Catalog,
    conversions: &'a Conversions,
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
        if target.custom.as_ref().is_some_and(|custom| custom.webhook.is_some()) && from != api_version {
            return self.conversions.get(value, api_version);
        }
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
    /// Gives the endpoint that this change goes through to `act`. Where other versions matter, run it in
    /// [`Change::settle`].
    pub fn at_endpoint<T>(&self, act: impl FnOnce(&Endpoint<'_>) -> T) -> T {
        let (resource, catalog, conversions) = (self.resource, &*self.call.catalog, &self.conversions);
        let versions = ServedVersions { resource, catalog, conversions };
        let (api_version, now) = (self.resource.api_version(), self.call.now_text());
        act(&Endpoint {
            place: place(self.resource),
            api_version: &api_version,
            kind: self.resource.kind,
            subresource: self.written_subresource(),
            reset: self.reset(),
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

    fn reset(&self) -> Reset<'static> {
        let (subresource, strategy) = (self.written_subresource(), &self.resource.strategy);
        if self.part == Part::Main && self.resource.subresource("status").is_none() {
            return Reset::default();
        }
        Reset { fields: strategy.reset_fields(subresource), all_but: strategy.reset_all_but(subresource) }
    }

    /// Keeps the managed fields, unless the object comes with its owners settled.
    pub async fn manage(&self, old: Option<&Value>, new: &mut Value) {
        if self.ownership != Ownership::Kept {
            return;
        }
        if !self.needs_webhook() {
            return self.manage_built_in(old, new);
        }
        let managed = || {
            let mut new = new.clone();
            self.manage_built_in(old, &mut new);
            new
        };
        *new = self.settle(managed).await;
    }

    /// The same where no webhook is needed to compare versions.
    pub fn manage_built_in(&self, old: Option<&Value>, new: &mut Value) {
        self.at_endpoint(|endpoint| endpoint.update(old, new, &self.manager));
    }

    fn needs_webhook(&self) -> bool {
        self.resource.custom.as_ref().is_some_and(|custom| custom.webhook.is_some())
    }

    /// Runs `act` until all conversions that its managed fields need are made.
    pub async fn settle<T>(&self, act: impl FnMut() -> T) -> T {
        self.conversions.settle(self.server, self.resource, act).await
    }

    /// What admission makes of the managed fields has to be readable; else they are as they were before.
    pub fn check_owners_after_admission(&self, object: &mut Value, before: Option<Value>) {
        if object.pointer("/metadata/managedFields") == before.as_ref() {
            return;
        }
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
