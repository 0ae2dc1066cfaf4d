//! Follows FlowSchemas and PriorityLevelConfigurations, keeps those that the server brings, and says of each schema
//! whether its level exists.
//!
//! Writes go through the pipeline like everybody's, so that admission, managed fields and audit know of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::object;
use futures::future::join_all;
use http::{Method, Request, StatusCode, header};
use registry::flow_bootstrap::{AUTOUPDATE, Bootstrap, EXEMPT, GROUP, objects};
use rt::TaskSet;
use serde_json::{Value, json};
use store::{Key, Lagged, Revision, Snapshot, Watcher};
use tokio::time::{Instant, MissedTickBehavior};

use super::ObjectStats;
use super::condition::{self, Written};
use crate::server::Inner;
use crate::{body, pipeline};

const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
pub(super) const RESOURCES: [&str; 2] = ["flowschemas", "prioritylevelconfigurations"];
/// Upstream's periods: borrowing, counting of objects, restoring what somebody changed.
const ADJUST_PERIOD: Duration = Duration::from_secs(10);
const COUNT_PERIOD: Duration = Duration::from_secs(60);
const RESTORE_AFTER: Duration = Duration::from_secs(60);

/// Writes what is missing, then follows in a task.
pub async fn start(server: &Arc<Inner>, tasks: &TaskSet) {
    restore(server).await;
    let revision = take_over(server);
    let written = Written::default();
    let conditions_at = condition::write_all(server, &written).await;
    let server = server.clone();
    tasks.spawn_until_cancelled("priority-and-fairness", async move {
        Keeper::run(&server, revision, &written, conditions_at).await;
    });
}

/// Everything that wakes the keeper.
enum Event {
    Changed,
    Lost,
    Adjust,
    Count,
    Restore,
    Conditions,
    Reap,
}

struct Keeper {
    schemas: Watcher,
    levels: Watcher,
}

impl Keeper {
    fn at(server: &Inner, revision: Revision) -> Option<Keeper> {
        let watch = |resource: &str| server.store.watch(Key::prefix(GROUP, resource, None), revision).ok();
        Some(Keeper { schemas: watch(RESOURCES[0])?, levels: watch(RESOURCES[1])? })
    }

    async fn run(server: &Arc<Inner>, mut revision: Revision, written: &Written, mut conditions_at: Option<Instant>) {
        let ticks = |period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut adjust, mut count) = (ticks(ADJUST_PERIOD), ticks(COUNT_PERIOD));
        let mut restore_at: Option<Instant> = None;
        let mut keeper = Keeper::at(server, revision);
        loop {
            let Some(own) = &mut keeper else {
                revision = take_over(server);
                keeper = Keeper::at(server, revision);
                continue;
            };
            let conditions_due = conditions_at.unwrap_or_else(Instant::now);
            let due = restore_at.unwrap_or_else(|| Instant::now() + RESTORE_AFTER);
            let event = tokio::select! {
                event = own.changed() => event,
                _ = adjust.tick() => Event::Adjust,
                _ = count.tick() => Event::Count,
                () = tokio::time::sleep_until(due), if restore_at.is_some() => Event::Restore,
                () = tokio::time::sleep_until(conditions_due), if conditions_at.is_some() => Event::Conditions,
                () = server.flow.reap.notified() => Event::Reap,
            };
            match event {
                Event::Lost => keeper = None,
                Event::Adjust => server.flow.adjust(),
                Event::Count => count_objects(server),
                Event::Reap => drop(take_over(server)),
                Event::Changed => {
                    take_over(server);
                    conditions_at = condition::write_all(server, written).await;
                    restore_at.get_or_insert_with(|| Instant::now() + RESTORE_AFTER);
                }
                Event::Conditions => conditions_at = condition::write_all(server, written).await,
                Event::Restore => {
                    restore_at = None;
                    restore(server).await;
                }
            }
        }
    }

    /// Waits for a change, and takes in all that are there.
    async fn changed(&mut self) -> Event {
        let changed = tokio::select! {
            changed = self.schemas.next() => changed.map(drop),
            changed = self.levels.next() => changed.map(drop),
        };
        let drained = changed.and_then(|()| drain(&mut self.schemas)).and_then(|()| drain(&mut self.levels));
        if drained.is_ok() { Event::Changed } else { Event::Lost }
    }
}

fn drain(watcher: &mut Watcher) -> Result<(), Lagged> {
    while watcher.try_next()?.is_some() {}
    Ok(())
}

fn count_objects(server: &Inner) {
    let stats = ObjectStats::of(&server.store, &server.catalog.get());
    server.flow.stats.store(Arc::new(stats));
}

pub(super) fn all(snapshot: &Snapshot, resource: &str) -> Vec<Value> {
    snapshot.range(&Key::prefix(GROUP, resource, None), None).map(|(_, object)| object.value()).collect()
}

/// Configures from what is stored. Returns how far that reaches.
fn take_over(server: &Inner) -> Revision {
    let snapshot = server.store.snapshot();
    server.flow.configure(&all(&snapshot, RESOURCES[1]), &all(&snapshot, RESOURCES[0]));
    snapshot.revision()
}

/// Creates what is missing of the objects that the server brings, updates what is to be kept up to date, and removes what
/// an earlier version brought.
async fn restore(server: &Arc<Inner>) {
    let snapshot = server.store.snapshot();
    let own = objects();
    // Levels are sent first: a schema without its level takes no requests.
    let (levels, schemas): (Vec<_>, Vec<_>) = own.iter().partition(|own| own.resource == RESOURCES[1]);
    let ensured = levels.into_iter().chain(schemas).map(|own| ensure(server, &snapshot, own));
    let removed = RESOURCES.map(|resource| {
        let names: BTreeSet<&str> = own.iter().filter(|own| own.resource == resource).map(|own| own.name).collect();
        let stale = all(&snapshot, resource).into_iter().filter(move |object| !names.contains(object::name(object)));
        let stale = stale.filter(|object| autoupdate(object) == Some(true));
        stale.map(move |object| remove(server, resource, object::name(&object).to_string()))
    });
    futures::future::join(join_all(ensured), join_all(removed.into_iter().flatten())).await;
}

async fn ensure(server: &Arc<Inner>, snapshot: &Snapshot, own: &Bootstrap) {
    let path = path(own.resource, "");
    let Some(stored) = snapshot.get(&Key::new(GROUP, own.resource, "", own.name)) else {
        return write(server, Method::POST, &path, PRODUCER, &whole(own.resource, own.object())).await;
    };
    if let Some(updated) = updated(own, &stored.value()) {
        write(server, Method::PUT, &format!("{path}/{}", own.name), PRODUCER, &updated).await;
    }
}

async fn remove(server: &Arc<Inner>, resource: &str, name: String) {
    write(server, Method::DELETE, &path(resource, &name), PRODUCER, &Value::Null).await;
}

/// The stored object as it should be, if it is not.
fn updated(own: &Bootstrap, stored: &Value) -> Option<Value> {
    let annotated = autoupdate(stored);
    let never_changed = || stored.pointer("/metadata/generation").and_then(Value::as_i64) == Some(1);
    let update = own.mandatory || annotated.unwrap_or_else(never_changed);
    let mut new = stored.clone();
    if annotated != Some(update) {
        let metadata = object::metadata_mut(&mut new);
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        annotations[AUTOUPDATE] = if update { "true" } else { "false" }.into();
    }
    if update {
        let exempt = stored.pointer("/spec/exempt").cloned();
        new["spec"] = own.spec.clone();
        // The seats of the exempt level are the administrator's.
        if let (EXEMPT, Some(exempt)) = (own.name, exempt) {
            new["spec"]["exempt"] = exempt;
        }
    }
    (new != *stored).then_some(new)
}

fn autoupdate(object: &Value) -> Option<bool> {
    match object::annotation(object, AUTOUPDATE)? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(super) fn path(resource: &str, name: &str) -> String {
    let path = format!("/apis/{GROUP}/v1/{resource}");
    if name.is_empty() { path } else { format!("{path}/{name}") }
}

pub(super) fn whole(resource: &str, mut object: Value) -> Value {
    let kind = if resource == RESOURCES[0] { "FlowSchema" } else { "PriorityLevelConfiguration" };
    object["apiVersion"] = format!("{GROUP}/v1").into();
    object["kind"] = kind.into();
    object
}

/// One write in the server's own name. What fails is written again after the next change: somebody else was faster.
pub(super) async fn write(server: &Arc<Inner>, method: Method, path: &str, manager: &str, object: &Value) {
    // A patch is applied, whoever else owns the fields.
    let (content, force) = match method {
        Method::PATCH => ("application/apply-patch+yaml", "&force=true"),
        _ => ("application/json", ""),
    };
    let body = if object.is_null() { body::empty() } else { body::full(object.to_string()) };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?fieldManager={manager}{force}"))
        .header(header::CONTENT_TYPE, content)
        .header(header::USER_AGENT, "kube-apiserver")
        .extension(auth::UserInfo::master("system:apiserver"))
        .body(body)
        .expect("the parts of the request are our own");
    let response = Box::pin(pipeline::handle(server, request)).await;
    let fine =
        response.status().is_success() || matches!(response.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND);
    if !fine {
        tracing::warn!(code = response.status().as_u16(), path, "an object of priority and fairness was not written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Bootstrap {
        objects().into_iter().find(|own| own.name == name && own.resource == RESOURCES[1]).unwrap()
    }

    fn stored(name: &str, annotation: &str, generation: i64, changed: bool) -> Value {
        let mut object = own(name).object();
        object["metadata"]["generation"] = generation.into();
        object["metadata"]["annotations"] = json!({AUTOUPDATE: annotation});
        if changed {
            object["spec"]["limited"] = json!({"nominalConcurrencyShares": 77});
        }
        object
    }

    fn shares(name: &str, annotation: &str, generation: i64) -> Option<(Value, Value)> {
        let new = updated(&own(name), &stored(name, annotation, generation, true))?;
        Some((
            new["spec"]["limited"]["nominalConcurrencyShares"].clone(),
            new["metadata"]["annotations"][AUTOUPDATE].clone(),
        ))
    }

    #[test]
    fn a_changed_suggestion_is_left_alone_if_its_annotation_says_so() {
        assert_eq!(shares("workload-low", "false", 2), None);
        assert_eq!(shares("workload-low", "true", 2), Some((100.into(), "true".into())));
        assert_eq!(shares("workload-low", "what", 2), Some((77.into(), "false".into())));
        assert_eq!(shares("workload-low", "what", 1), Some((100.into(), "true".into())));
        assert_eq!(updated(&own("workload-low"), &stored("workload-low", "true", 1, false)), None);
    }

    #[test]
    fn a_mandatory_object_is_always_put_right() {
        assert_eq!(shares("catch-all", "false", 2), Some((5.into(), "true".into())));
    }

    #[test]
    fn seats_of_the_exempt_level_stay_as_they_were_set() {
        let mut object = stored("exempt", "true", 1, false);
        object["spec"]["exempt"] = json!({"nominalConcurrencyShares": 9, "lendablePercent": 50});
        assert_eq!(updated(&own("exempt"), &object), None);
    }
}
