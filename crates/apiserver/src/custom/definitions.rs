//! Follows the definitions: accepts their names, serves what they define, and cleans up after them.
//!
//! A definition is served as soon as its names are accepted; `Established` is written after that, so whoever waits for
//! the condition finds the resource there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apiextensions::status;
use apimachinery::object;
use http::Method;
use jiff::Timestamp;
use parking_lot::Mutex;
use registry::strategy::Resource;
use rt::TaskSet;
use serde_json::Value;
use store::{Event, Key, Object, Prefix, Watcher};

use crate::catalog::{self, Catalog};
use crate::custom::cleanup;
use crate::custom::resources::{self, Built};
use crate::internal;
use crate::server::{Inner, StartError};

const GROUP: &str = "apiextensions.k8s.io";
const NAME: &str = "customresourcedefinitions";

/// What is known of all definitions.
#[derive(Default)]
pub struct Definitions {
    known: Mutex<BTreeMap<String, Known>>,
    /// UIDs of definitions whose end is being worked on.
    ending: Mutex<BTreeSet<String>>,
}

struct Known {
    /// The definition without its schemas: what names and conditions are judged by.
    outline: Value,
    built: Built,
    source: Source,
}

/// What resources are built from; while it stays, they do.
#[derive(PartialEq)]
struct Source {
    uid: String,
    generation: i64,
    accepted: Option<Value>,
    terminating: bool,
}

fn prefix() -> Prefix {
    Key::prefix(GROUP, NAME, None)
}

/// Serves what is stored, then follows in a task of the set.
pub fn follow(server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
    let snapshot = server.store.snapshot();
    for (_, stored) in snapshot.range(&prefix(), None) {
        server.definitions.take(stored, stored.revision.0);
    }
    server.definitions.publish(server);
    let watcher = server.store.watch(prefix(), snapshot.revision()).map_err(StartError::History)?;
    let (server, inner_tasks) = (server.clone(), tasks.clone());
    tasks.spawn_until_cancelled("definitions", async move { run(&server, &inner_tasks, watcher).await });
    Ok(())
}

async fn run(server: &Arc<Inner>, tasks: &TaskSet, mut watcher: Watcher) {
    settle_all(server, tasks).await;
    loop {
        match watcher.next().await {
            Ok(event) => take_event(server, tasks, &event).await,
            Err(_) => {
                tracing::warn!("the definitions fell behind and are read again");
                let snapshot = server.store.snapshot();
                server.definitions.replace(snapshot.range(&prefix(), None).map(|(_, object)| object));
                server.definitions.publish(server);
                settle_all(server, tasks).await;
                let Ok(fresh) = server.store.watch(prefix(), snapshot.revision()) else { return };
                watcher = fresh;
            }
        }
    }
}

async fn take_event(server: &Arc<Inner>, tasks: &TaskSet, event: &Event) {
    let group = match &event.new {
        Some(stored) => server.definitions.take(stored, server.store.revision().0),
        None => server.definitions.forget(event.key.name()),
    };
    server.definitions.publish(server);
    if let Some(group) = group {
        settle(server, tasks, &group).await;
    }
}

async fn settle_all(server: &Arc<Inner>, tasks: &TaskSet) {
    for group in server.definitions.groups() {
        settle(server, tasks, &group).await;
    }
}

/// Writes the conditions that follow from the names of a group, and begins the ends that are due.
async fn settle(server: &Arc<Inner>, tasks: &TaskSet, group: &str) {
    let outlines = server.definitions.outlines(group);
    let now = apimachinery::time::format(Timestamp::now());
    for outline in &outlines {
        if let Some(target) = server.definitions.end(outline) {
            let name = format!("definition-cleanup-{}", target.definition);
            tasks.spawn_until_cancelled(name, cleanup::run(server.clone(), target));
        }
        let others: Vec<&Value> =
            outlines.iter().filter(|other| object::name(other) != object::name(outline)).collect();
        if let Some(status) = status::plan(outline, &others, &now) {
            write_status(server, outline, status).await;
        }
    }
}

/// A conflict is no matter: the newer state is on its way here.
async fn write_status(server: &Arc<Inner>, outline: &Value, status: Value) {
    let name = object::name(outline);
    let Some(resource) = catalog::of_storage(GROUP, NAME) else { return };
    let Some(stored) = server.store.get(&Key::new(GROUP, NAME, "", name)) else { return };
    let mut definition = crate::encode::served(resource, &stored);
    if object::resource_version(&definition) != object::resource_version(outline) {
        return;
    }
    definition["status"] = status;
    let path = format!("/apis/{GROUP}/v1/{NAME}/{name}/status");
    if let Err(status) = internal::send(server, Method::PUT, &path, Some(&definition)).await
        && !matches!(status.code, 404 | 409)
    {
        tracing::error!(definition = name, %status, "cannot write the status of a definition");
    }
}

impl Definitions {
    /// Takes in a definition, and builds its resources if what they come from has changed. Returns its group.
    fn take(&self, stored: &Arc<Object>, settled: u64) -> Option<String> {
        let definition = stored.value();
        let name = object::name(&definition).to_string();
        let source = Source {
            uid: object::uid(&definition).into(),
            generation: object::generation(&definition),
            accepted: accepted_names(&definition).cloned(),
            terminating: object::deletion_timestamp(&definition).is_some(),
        };
        let outline = outline(&definition);
        let group = group(&outline);
        let mut known = self.known.lock();
        match known.get_mut(&name) {
            Some(same) if same.source == source => same.outline = outline,
            _ => {
                let built = match &source.accepted {
                    Some(names) => resources::build(stored, &definition, names, settled),
                    None => Built::default(),
                };
                known.insert(name, Known { outline, built, source });
            }
        }
        Some(group)
    }

    fn forget(&self, name: &str) -> Option<String> {
        let known = self.known.lock().remove(name)?;
        self.ending.lock().remove(&known.source.uid);
        Some(group(&known.outline))
    }

    fn replace<'a>(&self, stored: impl Iterator<Item = &'a Arc<Object>>) {
        self.known.lock().clear();
        stored.for_each(|stored| {
            self.take(stored, stored.revision.0);
        });
    }

    fn publish(&self, server: &Inner) {
        let known = self.known.lock();
        let all: Vec<Arc<Resource>> = known.values().flat_map(|known| known.built.served.iter().cloned()).collect();
        let current = server.catalog.get();
        let same = current.custom().len() == all.len()
            && current.custom().iter().zip(&all).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same {
            server.catalog.replace(Catalog::new(all));
        }
    }

    /// The resource in which a definition's objects are stored.
    pub fn storage(&self, definition: &str) -> Option<Arc<Resource>> {
        self.known.lock().get(definition)?.built.storage.clone()
    }

    fn groups(&self) -> BTreeSet<String> {
        self.known.lock().values().map(|known| group(&known.outline)).collect()
    }

    fn outlines(&self, wanted: &str) -> Vec<Value> {
        let known = self.known.lock();
        known.values().map(|known| &known.outline).filter(|outline| group(outline) == wanted).cloned().collect()
    }

    /// What is to be cleaned up, once for each definition that ends.
    fn end(&self, outline: &Value) -> Option<cleanup::Target> {
        object::deletion_timestamp(outline)?;
        if !object::has_finalizer(outline, cleanup::FINALIZER) {
            return None;
        }
        let name = object::name(outline).to_string();
        let resource = self.known.lock().get(&name)?.built.storage.clone()?;
        let first = self.ending.lock().insert(object::uid(outline).into());
        first.then_some(cleanup::Target { definition: name, resource })
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}

fn group(outline: &Value) -> String {
    text(outline, "/spec/group")
}

/// The names under which a definition is served, once they are accepted.
fn accepted_names(definition: &Value) -> Option<&Value> {
    let conditions = definition.pointer("/status/conditions")?.as_array()?;
    let is_true = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
    if is_true("NamesAccepted") || is_true("Established") { definition.pointer("/status/acceptedNames") } else { None }
}

fn outline(definition: &Value) -> Value {
    let mut outline = definition.clone();
    if let Some(versions) = outline.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        versions.iter_mut().filter_map(Value::as_object_mut).for_each(|version| {
            version.remove("schema");
        });
    }
    object::metadata_mut(&mut outline).remove("managedFields");
    object::metadata_mut(&mut outline).remove("annotations");
    outline
}
