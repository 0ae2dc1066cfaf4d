//! What a definition serves: one resource for each version.

use std::sync::Arc;

use apiextensions::conversion::Conversion;
use apimachinery::object;
use registry::apiextensions::CustomResource;
use registry::names::intern;
use registry::strategy::{Custom, Resource, Schema, StrategyRef, Subresource};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::Object;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Everything that can be done to custom objects, in upstream's order.
const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// What is left while the definition ends.
const LAST_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];
const PART_VERBS: &[&str] = &["get", "patch", "update"];

/// The resources of a definition.
#[derive(Default)]
pub struct Built {
    /// The storage version first.
    pub served: Vec<Arc<Resource>>,
    /// The one that stores objects, which may not be served.
    pub storage: Option<Arc<Resource>>,
}

/// Builds the resources of a definition under its accepted `names`. Objects of revision `settled` and later are taken to
/// be written under these schemas.
pub fn build(stored: &Arc<Object>, definition: &Value, names: &Value, settled: u64) -> Built {
    let mut built = Built::default();
    for version in list(definition, "/spec/versions") {
        let (is_stored, is_served) = (version["storage"] == true, version["served"] == true);
        if !is_stored && !is_served {
            continue;
        }
        let Some(resource) = resource(stored, definition, version, names, settled) else { continue };
        let resource = Arc::new(resource);
        if is_served {
            let place = if is_stored { 0 } else { built.served.len() };
            built.served.insert(place, resource.clone());
        }
        if is_stored {
            built.storage = Some(resource);
        }
    }
    built
}

fn resource(
    stored: &Arc<Object>,
    definition: &Value,
    version: &Value,
    names: &Value,
    settled: u64,
) -> Option<Resource> {
    let version_name = text(version, "/name");
    let strategy = match CustomResource::new(definition, version_name) {
        Ok(strategy) => Arc::new(strategy),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                definition = object::name(definition),
                version = version_name,
                error,
                "cannot serve a version"
            );
            return None;
        }
    };
    let (group, kind) = (intern(text(definition, "/spec/group")), intern(text(names, "/kind")));
    let terminating = object::deletion_timestamp(definition).is_some();
    Some(Resource {
        group,
        version: intern(version_name),
        kind,
        name: intern(text(names, "/plural")),
        singular: intern(text(names, "/singular")),
        short_names: interned(names, "/shortNames"),
        categories: interned(names, "/categories"),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        verbs: if terminating { LAST_VERBS } else { VERBS },
        subresources: subresources(&strategy, kind),
        schema: Schema::Dynamic(strategy.schema()),
        storage: None,
        custom: Some(custom(stored, definition, names, settled)),
        strategy: StrategyRef::Dynamic(strategy),
        storage_version_hash: hash(group, storage_version(definition), kind),
        deprecation: deprecation(group, kind, version),
    })
}

fn custom(stored: &Arc<Object>, definition: &Value, names: &Value, settled: u64) -> Custom {
    let webhook = match Conversion::of(definition) {
        Conversion::Webhook(webhook) => Some(webhook),
        Conversion::None => None,
    };
    Custom {
        definition: object::name(definition).into(),
        list_kind: text(names, "/listKind").into(),
        storage_version: intern(storage_version(definition)),
        settled,
        webhook,
        terminating: object::deletion_timestamp(definition).is_some(),
        source: stored.json(),
    }
}

fn subresources(strategy: &CustomResource, kind: &'static str) -> Vec<Subresource> {
    let status = Subresource { name: "status", group: "", version: "", kind, verbs: PART_VERBS };
    let scale = Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: PART_VERBS };
    let status = strategy.has_status().then_some(status);
    status.into_iter().chain(strategy.has_scale().then_some(scale)).collect()
}

fn storage_version(definition: &Value) -> &str {
    let stored = list(definition, "/spec/versions").iter().find(|version| version["storage"] == true);
    stored.map(|version| text(version, "/name")).unwrap_or_default()
}

/// Tells clients whether the form of what is stored has changed.
fn hash(group: &str, version: &str, kind: &str) -> String {
    BASE64_STANDARD.encode(&Sha256::digest(format!("{group}/{version}/{kind}"))[..8])
}

fn deprecation(group: &str, kind: &str, version: &Value) -> String {
    if version["deprecated"] != true {
        return String::new();
    }
    match version["deprecationWarning"].as_str() {
        Some(text) => text.into(),
        None => format!("{group}/{} {kind} is deprecated", text(version, "/name")),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn interned(names: &Value, pointer: &str) -> Vec<&'static str> {
    list(names, pointer).iter().filter_map(Value::as_str).map(intern).collect()
}
