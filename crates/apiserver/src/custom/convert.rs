//! Between the version in which an object is stored and the one that a request is about.
//!
//! Most resources need nothing: their text is what clients get. A definition with a conversion webhook has it asked, once
//! for all objects of an answer. What is read is completed in the version in which it is stored and pruned in the one that
//! it is converted to, as upstream does.

use std::sync::Arc;
use std::time::Duration;

use admission::webhook::{Endpoint, post};
use apiextensions::conversion;
use apimachinery::{Status, object};
use parking_lot::Mutex;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Draft, Object};

use crate::catalog::ResourceExt;
use crate::encode::{self, Item};
use crate::server::Inner;

/// How long a webhook may take for one question.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The served forms of stored objects, in their order.
pub async fn to_served(server: &Inner, resource: &Resource, stored: Vec<Arc<Object>>) -> Result<Vec<Item>, Status> {
    let desired = resource.api_version();
    let foreign = |object: &Arc<Object>| webhook(resource).is_some() && encode::stored_api_version(object) != desired;
    let places: Vec<usize> = (0..stored.len()).filter(|place| foreign(&stored[*place])).collect();
    let values = places.iter().map(|place| as_stored(server, resource, &stored[*place])).collect();
    let converted = convert(server, resource, &desired, values).await?;
    let mut items: Vec<Item> = stored.into_iter().map(Item::Stored).collect();
    for (place, mut value) in places.into_iter().zip(converted) {
        prune(resource, &mut value)?;
        items[place] = Item::Value(value);
    }
    Ok(items)
}

pub async fn one(server: &Inner, resource: &Resource, stored: Arc<Object>) -> Result<Item, Status> {
    let items = to_served(server, resource, vec![stored]).await?;
    Ok(items.into_iter().next().expect("as many come out as went in"))
}

/// The stored form of a working value.
pub async fn to_storage(server: &Inner, resource: &Resource, value: &Value) -> Result<Draft, Status> {
    let Some(custom) = resource.custom.as_ref().filter(|custom| custom.storage_version != resource.version) else {
        return Ok(crate::change::draft(resource, value));
    };
    let desired = apimachinery::gvk::api_version(resource.group, custom.storage_version);
    let mut converted = convert(server, resource, &desired, vec![value.clone()]).await?;
    let mut converted = converted.pop().expect("as many come out as went in");
    if let (Some(_), Some(target)) = (webhook(resource), in_version(server, resource, &desired)) {
        prune(&target, &mut converted)?;
    }
    Ok(crate::change::draft(resource, &converted))
}

fn webhook(resource: &Resource) -> Option<&Value> {
    resource.custom.as_ref()?.webhook.as_ref()
}

/// A stored object with its kind, in the version and under the schema of its storage.
fn as_stored(server: &Inner, resource: &Resource, stored: &Object) -> Value {
    let mut value = stored.value();
    let version = object::api_version(&value).to_string();
    if let Some(map) = value.as_object_mut() {
        map.insert("kind".into(), resource.kind.into());
    }
    match in_version(server, resource, &version) {
        Some(own) => own.strategy.from_storage(value),
        None => value,
    }
}

/// The same kind in another version, which may be one that is only stored.
fn in_version(server: &Inner, resource: &Resource, api_version: &str) -> Option<Arc<Resource>> {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let catalog = server.catalog.get();
    if let Some(served) = catalog.find(resource.group, version, resource.name) {
        return Some(served.clone());
    }
    let definition = &resource.custom.as_ref()?.definition;
    server.definitions.storage(definition).filter(|storage| storage.version == version)
}

/// Takes out what the version does not know.
fn prune(resource: &Resource, value: &mut Value) -> Result<(), Status> {
    let decoded = resource.strategy.decode(value, resource.schema.node());
    decoded.map(drop).map_err(|why| Status::failure(500, "", why))
}

/// Brings working values into another version of their kind.
async fn convert(
    server: &Inner,
    resource: &Resource,
    desired: &str,
    mut values: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let Some(webhook) = webhook(resource) else {
        values.iter_mut().for_each(|value| conversion::rename(value, desired));
        return Ok(values);
    };
    let Some(first) = values.iter().find(|value| conversion::needs(value, desired)) else { return Ok(values) };
    let gvk = format!("{}, Kind={}", object::api_version(first), resource.kind);
    let failed = |why: String| Status::failure(500, "", format!("conversion webhook for {gvk} {why}"));
    let review = conversion::review_version(webhook)
        .ok_or_else(|| Status::failure(500, "", "no supported conversion review versions"))?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = conversion::request(review, &uid, desired, &values).to_string();
    let endpoint = Endpoint::of(&webhook["clientConfig"]);
    let answer = post(&*server.webhooks, &server.store, &endpoint, TIMEOUT, question).await;
    let answer = answer.map_err(|why| failed(format!("failed: {why}")))?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| failed(format!("failed: {error}")))?;
    conversion::accept(review, &uid, desired, &mut values, &answer).map_err(|refused| failed(refused.to_string()))?;
    Ok(values)
}

/// A conversion that was made: what, into which version, and what came of it.
type Known = (Value, String, Result<Value, String>);

/// Conversions for the owners of fields, who may have written in other versions. What compares their fields cannot wait:
/// it says what it misses, and is run again when that is there.
#[derive(Default)]
pub struct Conversions {
    known: Mutex<Vec<Known>>,
    missing: Mutex<Vec<(Value, String)>>,
}

impl Conversions {
    pub fn get(&self, value: &Value, api_version: &str) -> Result<Value, String> {
        let known = self.known.lock();
        let found = known.iter().find(|(from, version, _)| version == api_version && from == value);
        if let Some((_, _, converted)) = found {
            return converted.clone();
        }
        self.missing.lock().push((value.clone(), api_version.into()));
        Err("the conversion is still to be made".into())
    }

    /// Makes what was missed; whether there was anything.
    async fn make_missing(&self, server: &Inner, resource: &Resource) -> bool {
        let missing = std::mem::take(&mut *self.missing.lock());
        let any = !missing.is_empty();
        for (value, api_version) in missing {
            let converted = convert(server, resource, &api_version, vec![value.clone()]).await;
            let converted = converted.map_err(|status| status.message);
            let converted = converted.map(|mut one| one.pop().expect("as many come out as went in"));
            self.known.lock().push((value, api_version, converted));
        }
        any
    }

    /// Runs `act` until it misses nothing. Only its last outcome counts.
    pub async fn settle<T>(&self, server: &Inner, resource: &Resource, mut act: impl FnMut() -> T) -> T {
        loop {
            let outcome = act();
            if !self.make_missing(server, resource).await {
                return outcome;
            }
        }
    }
}
