//! The end of an object: at once, after a grace period, or when its finalizers are done.

use std::sync::Arc;

use apiextensions::status;
use apimachinery::{Status, object};
use http::{Response, StatusCode};
use jiff::SignedDuration;
use registry::strategy::Resource;
use serde_json::{Value, json};
use store::{Key, Object, WriteError};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::encode::{self, Item, served};
use crate::options::{DeleteOptions, ListOptions, Preconditions, Propagation, WriteOptions};
use crate::server::Inner;
use crate::verbs::list::Filter;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Kinds whose deletion answers with the object.
pub const ANSWER_WITH_OBJECT: &[(&str, &str)] = &[
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourcepoolstatusrequests"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = read_options(call, resource).await?;
    let change = delete_change(server, call, resource, &options, &call.info.namespace, &call.info.name);
    let deleted = delete(&change, &options).await?;
    Ok(answer(call, resource, &options, &deleted))
}

async fn read_options(call: &Call, resource: &Resource) -> Result<DeleteOptions, Status> {
    let options = DeleteOptions::of(call, &call.read_body().await?)?;
    if options.propagation_policy.is_none() && options.orphan_dependents.is_none() {
        resource.strategy.deletion_warning().into_iter().for_each(|text| call.warn(text));
    }
    Ok(options)
}

fn delete_change<'a>(
    server: &'a Inner,
    call: &'a Call,
    resource: &'a Resource,
    options: &DeleteOptions,
    namespace: &'a str,
    name: &'a str,
) -> Change<'a> {
    let write = WriteOptions {
        dry_run: options.dry_run() || call.query.has("dryRun"),
        field_validation: crate::options::FieldValidation::Ignore,
        manager: call.field_manager(),
    };
    Change { name, namespace, ..Change::of(server, call, resource, Part::Main, &write) }
}

fn answer(call: &Call, resource: &Resource, options: &DeleteOptions, deleted: &Deleted) -> Response<Body> {
    match deleted {
        Deleted::Now(last) if ANSWER_WITH_OBJECT.contains(&(resource.group, resource.name)) => {
            encode::object(call, StatusCode::OK, resource, last)
        }
        Deleted::Now(last) => {
            let last = last.value(resource);
            let group_resource = resource.group_resource();
            let status = Status::success(&group_resource, object::name(&last), object::uid(&last));
            encode::status(call.accept, &status)
        }
        Deleted::Later(item) => {
            let accepted = options.orphan_dependents == Some(false);
            let code = if accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
            encode::object(call, code, resource, item)
        }
    }
}

/// How far a deletion came.
pub enum Deleted {
    Now(Item),
    Later(Item),
}

/// Deletes the object that the change names; another writer's success makes it look again.
pub async fn delete(change: &Change<'_>, options: &DeleteOptions) -> Result<Deleted, Status> {
    let key = change.resource.key(change.namespace, change.name);
    loop {
        let current = change.server.store.get(&key).ok_or_else(|| change.not_found())?;
        let old = change.read(&current).await?;
        check_preconditions(change, options.preconditions.as_ref(), &old)?;
        change.admit_delete(&old).await?;
        let plan = plan(change, options, &old)?;
        match apply(change, &current, plan).await {
            Err(Outrun::Again) => {}
            Err(Outrun::Failed(status)) => return Err(*status),
            Ok(deleted) => return Ok(deleted),
        }
    }
}

fn check_preconditions(change: &Change<'_>, wanted: Option<&Preconditions>, old: &Value) -> Result<(), Status> {
    let Some(wanted) = wanted else { return Ok(()) };
    let refuse = |what: &str, asked: &str, stored: &str| {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {stored}");
        // Upstream names the kind here, not the resource.
        let kind = apimachinery::GroupResource::new(change.resource.group, change.resource.kind);
        Err(Status::conflict(&kind, change.name, why))
    };
    match (&wanted.uid, &wanted.resource_version) {
        (Some(uid), _) if uid != object::uid(old) => refuse("UID", uid, object::uid(old)),
        (_, Some(version)) if version != object::resource_version(old) => {
            refuse("ResourceVersion", version, object::resource_version(old))
        }
        _ => Ok(()),
    }
}

/// What a deletion does to the object.
#[derive(Debug, PartialEq)]
enum Plan {
    Remove,
    /// Kinds that end gracefully show their end before they go.
    MarkAndRemove(Value),
    Mark(Value),
    /// It is already ending, no later than asked.
    Keep(Value),
}

fn plan(change: &Change<'_>, options: &DeleteOptions, old: &Value) -> Result<Plan, Status> {
    if change.resource.group.is_empty() && change.resource.name == "namespaces" {
        return plan_namespace(change, old);
    }
    if change.resource.group == "apiextensions.k8s.io" && object::deletion_timestamp(old).is_none() {
        return Ok(Plan::Mark(ending_definition(change.call, old)));
    }
    let mut new = old.clone();
    set_dependents_finalizer(change, options, &mut new);
    let graceful = change.resource.strategy.grace_period(old, options.grace_period_seconds);
    let grace = graceful.unwrap_or(0).max(0);
    let waits = object::finalizers(&new).next().is_some();
    if object::deletion_timestamp(old).is_some() {
        return Ok(plan_again(change, old, new, grace, waits));
    }
    if grace == 0 && !waits && graceful.is_none() {
        return Ok(Plan::Remove);
    }
    mark(change.call, &mut new, grace);
    Ok(if grace == 0 && !waits { Plan::MarkAndRemove(new) } else { Plan::Mark(new) })
}

/// A second deletion can only shorten the first.
fn plan_again(change: &Change<'_>, old: &Value, mut new: Value, grace: i64, waits: bool) -> Plan {
    let running = object::deletion_grace_period_seconds(old).unwrap_or(0);
    if grace == 0 && running == 0 && !waits {
        return Plan::Remove;
    }
    if grace < running {
        mark(change.call, &mut new, grace);
        if grace == 0 && !waits {
            return Plan::MarkAndRemove(new);
        }
    }
    if new == *old { Plan::Keep(new) } else { Plan::Mark(new) }
}

fn mark(call: &Call, new: &mut Value, grace: i64) {
    let end = apimachinery::time::after(call.now, SignedDuration::from_secs(grace));
    let first = object::deletion_timestamp(new).is_none();
    object::set_deletion_timestamp(new, Some(&apimachinery::time::format(end)));
    object::set_deletion_grace_period_seconds(new, Some(grace));
    if first && object::generation(new) > 0 {
        object::set_generation(new, object::generation(new) + 1);
    }
}

fn set_dependents_finalizer(change: &Change<'_>, options: &DeleteOptions, new: &mut Value) {
    let present = |name: &str| object::has_finalizer(new, name);
    let wanted = match options.propagation() {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if present(ORPHAN) => Some(ORPHAN),
        None if present(FOREGROUND) => Some(FOREGROUND),
        None => change.resource.strategy.orphans_by_default().then_some(ORPHAN),
    };
    let others = object::finalizers(new).filter(|name| *name != ORPHAN && *name != FOREGROUND);
    let list: Vec<String> = others.chain(wanted).map(str::to_string).collect();
    if list != object::finalizers(new).collect::<Vec<_>>() {
        object::set_finalizers(new, list);
    }
}

/// A definition stays until its objects are gone.
fn ending_definition(call: &Call, old: &Value) -> Value {
    let mut new = old.clone();
    mark(call, &mut new, 0);
    object::metadata_mut(&mut new).remove("deletionGracePeriodSeconds");
    object::set_generation(&mut new, object::generation(old));
    if !object::has_finalizer(&new, crate::custom::FINALIZER) {
        let own = crate::custom::FINALIZER.to_string();
        let finalizers = object::finalizers(&new).map(str::to_string).chain([own]).collect();
        object::set_finalizers(&mut new, finalizers);
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    new["status"] = status::terminating(&new, "InstanceDeletionPending", message, &call.now_text());
    new
}

/// A namespace first becomes Terminating; it goes when nothing is left to wait for.
fn plan_namespace(change: &Change<'_>, old: &Value) -> Result<Plan, Status> {
    if object::deletion_timestamp(old).is_none() {
        let mut new = old.clone();
        mark(change.call, &mut new, 0);
        object::metadata_mut(&mut new).remove("deletionGracePeriodSeconds");
        new["status"] = json!({"phase": "Terminating"});
        return Ok(Plan::Mark(new));
    }
    if namespace_is_empty(old) {
        return Ok(Plan::Remove);
    }
    let why = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace \
               will automatically be purged by the system.";
    Err(Status::conflict(&change.resource.group_resource(), change.name, why))
}

pub fn namespace_is_empty(namespace: &Value) -> bool {
    let pending = namespace.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    !pending && object::finalizers(namespace).next().is_none()
}

enum Outrun {
    Again,
    Failed(Box<Status>),
}

async fn apply(change: &Change<'_>, current: &Arc<Object>, plan: Plan) -> Result<Deleted, Outrun> {
    let failed = |status: Status| Outrun::Failed(Box::new(status));
    let removes = matches!(plan, Plan::Remove | Plan::MarkAndRemove(_));
    let outcome = |item: Item| if removes { Deleted::Now(item) } else { Deleted::Later(item) };
    let new = match plan {
        Plan::Keep(value) => return Ok(Deleted::Later(Item::Value(value))),
        Plan::Mark(new) | Plan::MarkAndRemove(new) => Some(new),
        Plan::Remove => None,
    };
    if change.dry_run {
        let item = match new {
            Some(new) => Item::Value(new),
            None => change.shown(current.clone()).await.map_err(failed)?,
        };
        return Ok(outcome(item));
    }
    let draft = match &new {
        Some(new) => Some(change.draft(new).await.map_err(failed)?),
        None => None,
    };
    let written = write(change, current, draft, removes).await.map_err(|error| match error {
        WriteError::Conflict { current: Some(_) } => Outrun::Again,
        other => failed(change.write_error(other)),
    })?;
    Ok(outcome(change.shown(written).await.map_err(failed)?))
}

async fn write(
    change: &Change<'_>,
    current: &Object,
    draft: Option<store::Draft>,
    removes: bool,
) -> Result<Arc<Object>, WriteError> {
    let key = change.resource.key(change.namespace, change.name);
    match draft {
        Some(draft) if !removes => change.server.store.update(key, current.revision, draft).await,
        last => {
            let last = remove(change, key, current, last).await?;
            change.server.allocators.release(change.resource, &served(change.resource, &last));
            change.server.indexes.wait_for(change.resource, last.revision).await;
            Ok(last)
        }
    }
}

/// Takes the object away, after its last state was shown if it has one.
async fn remove(
    change: &Change<'_>,
    key: Key,
    current: &Object,
    last: Option<store::Draft>,
) -> Result<Arc<Object>, WriteError> {
    let store = &change.server.store;
    let leaving = change.server.allocators.leaving(change.resource, || current.value());
    let Some(last) = last else { return store.delete_with(key, current.revision, None, leaving).await };
    let shown = store.update(key.clone(), current.revision, last).await?;
    // Its end is decided: neither a status written meanwhile (by a scheduler) nor somebody who was faster (a kubelet, the
    // collector of pods) makes the request fail.
    let mut newest = shown.revision;
    loop {
        match store.delete_with(key.clone(), newest, None, leaving.clone()).await {
            Err(WriteError::Conflict { current: Some(other) }) if other.header.uid == shown.header.uid => {
                newest = other.revision;
            }
            Err(WriteError::Conflict { .. }) => return Ok(shown),
            other => return other,
        }
    }
}

/// Deletes all objects that the selectors choose, and answers with them.
pub async fn collection(server: &Arc<Inner>, call: &Call, resource: &Arc<Resource>) -> Result<Response<Body>, Status> {
    let options = read_options(call, resource).await?;
    let list = ListOptions::of(call, false)?;
    let filter = Filter::new(resource, &list)?;
    let (snapshot, prefix) = (server.store.snapshot(), resource.prefix(&call.info.namespace));
    let chosen: Vec<Arc<Object>> = snapshot
        .range(&prefix, None)
        .map(|(_, object)| object)
        .filter(|object| filter.matches(&object.header))
        .take(if list.limit == 0 || filter.reads_objects() { usize::MAX } else { list.limit })
        .cloned()
        .collect();
    let mut chosen = filter.choose(server, resource, chosen).await?;
    chosen.truncate(if list.limit == 0 { usize::MAX } else { list.limit });
    for (object, _) in &chosen {
        let header = &object.header;
        let change = delete_change(server, call, resource, &options, &header.namespace, &header.name);
        match delete(&change, &options).await {
            Err(status) if !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    // As they were chosen.
    let items = chosen.into_iter().map(|(_, item)| item).collect();
    let metadata = json!({"resourceVersion": snapshot.revision().to_string()});
    Ok(encode::list(call, resource, items, &metadata))
}
