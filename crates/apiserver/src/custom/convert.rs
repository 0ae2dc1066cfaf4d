//! Between the version in which an object is stored and the one that a request is about.
//!
//! Most resources need nothing: their text is what clients get. A definition with a conversion webhook has it asked, once
//! for all objects of an answer.

use std::sync::Arc;

use apimachinery::Status;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Draft, Object};

use crate::encode::Item;
use crate::server::Inner;

/// The served forms of stored objects, in their order.
pub async fn to_served(_server: &Inner, _resource: &Resource, stored: Vec<Arc<Object>>) -> Result<Vec<Item>, Status> {
    Ok(stored.into_iter().map(Item::Stored).collect())
}

pub async fn one(server: &Inner, resource: &Resource, stored: Arc<Object>) -> Result<Item, Status> {
    let items = to_served(server, resource, vec![stored]).await?;
    Ok(items.into_iter().next().expect("as many come out as went in"))
}

/// The stored form of a working value.
pub async fn to_storage(_server: &Inner, resource: &Resource, value: &Value) -> Result<Draft, Status> {
    Ok(crate::change::draft(resource, value))
}
