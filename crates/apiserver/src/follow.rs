//! The indexes of the authorizers and of admission, fed from the store's events, and the aggregation of cluster roles.

use std::sync::Arc;

use auth::rbac::{self, Kind, aggregated_rules};
use registry::strategy::Resource;
use rt::TaskSet;
use serde_json::Value;
use store::{Key, Lagged, Prefix, Revision, Snapshot, Step, Store, Watcher};
use tokio::sync::watch;

use crate::catalog;
use crate::server::{Inner, StartError};

/// What is followed: group and resource.
const FOLLOWED: &[(&str, &str)] = &[
    (rbac::GROUP, "roles"),
    (rbac::GROUP, "clusterroles"),
    (rbac::GROUP, "rolebindings"),
    (rbac::GROUP, "clusterrolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
    (admission::GROUP, "mutatingwebhookconfigurations"),
    (admission::GROUP, "validatingwebhookconfigurations"),
    (admission::GROUP, "mutatingadmissionpolicies"),
    (admission::GROUP, "mutatingadmissionpolicybindings"),
    (admission::GROUP, "validatingadmissionpolicies"),
    (admission::GROUP, "validatingadmissionpolicybindings"),
];

/// How far each index has followed the store.
pub struct Indexes {
    reached: Vec<watch::Sender<Revision>>,
}

impl Default for Indexes {
    fn default() -> Self {
        Indexes { reached: FOLLOWED.iter().map(|_| watch::Sender::new(Revision(0))).collect() }
    }
}

impl Indexes {
    /// Takes in what is stored, then follows in tasks of the set.
    pub fn follow(&self, server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
        let snapshot = server.store.snapshot();
        for (index, (group, resource)) in FOLLOWED.iter().enumerate() {
            let prefix = Key::prefix(group, resource, None);
            take_all(server, &snapshot, &prefix);
            self.reached[index].send_replace(snapshot.revision());
            let watcher = server.store.watch(prefix, snapshot.revision()).map_err(StartError::History)?;
            let server = server.clone();
            tasks.spawn_until_cancelled(format!("index-{resource}"), async move {
                run(&server, index, watcher).await;
            });
        }
        Ok(())
    }

    /// Waits until the index of this resource knows of a revision, so that a client's next request finds what it wrote.
    pub async fn wait_for(&self, resource: &Resource, revision: Revision) {
        let place = FOLLOWED.iter().position(|(group, name)| (*group, *name) == (resource.group, resource.name));
        if let Some(index) = place.filter(|_| [rbac::GROUP, admission::GROUP].contains(&resource.group)) {
            let mut reached = self.reached[index].subscribe();
            if reached.wait_for(|reached| *reached >= revision).await.is_err() {
                tracing::debug!("the indexes ended before a write was followed");
            }
        }
    }

    /// Waits until all roles and bindings written so far are known.
    pub async fn settle(&self, server: &Inner) {
        for (index, (group, resource)) in FOLLOWED.iter().enumerate() {
            let prefix = Key::prefix(group, resource, None);
            let newest = server.store.snapshot().range(&prefix, None).map(|(_, object)| object.revision).max();
            let mut reached = self.reached[index].subscribe();
            if reached.wait_for(|reached| Some(*reached) >= newest).await.is_err() {
                return;
            }
        }
    }
}

async fn run(server: &Arc<Inner>, index: usize, mut watcher: Watcher) {
    loop {
        if follow(server, index, &mut watcher).await.is_err() {
            let Some(fresh) = restart(server, index) else { return };
            watcher = fresh;
        }
        if FOLLOWED[index] == (rbac::GROUP, "clusterroles") {
            aggregate(server).await;
        }
    }
}

/// Waits for an event, and takes in all that are there.
async fn follow(server: &Inner, index: usize, watcher: &mut Watcher) -> Result<(), Lagged> {
    let mut next = Some(watcher.next().await?);
    while let Some(event) = next {
        take(server, &event.key, event.new.as_ref().map(|object| object.value()).as_ref());
        server.indexes.reached[index].send_replace(event.revision);
        next = watcher.try_next()?;
    }
    Ok(())
}

/// After falling behind: takes in the whole state again. What was deleted meanwhile is taken out.
fn restart(server: &Arc<Inner>, index: usize) -> Option<Watcher> {
    let (group, resource) = FOLLOWED[index];
    tracing::warn!(resource, "an index fell behind and reads everything again");
    let prefix = Key::prefix(group, resource, None);
    let snapshot = server.store.snapshot();
    if group == admission::GROUP {
        server.admission.forget(resource);
    } else {
        server.authorizer.forget(resource);
    }
    take_all(server, &snapshot, &prefix);
    server.indexes.reached[index].send_replace(snapshot.revision());
    server.store.watch(prefix, snapshot.revision()).ok()
}

fn take_all(server: &Inner, snapshot: &Snapshot, prefix: &Prefix) {
    let objects: Vec<_> = snapshot.range(prefix, None).collect();
    rt::map_parallel(objects, |(key, object)| take(server, key, Some(&object.value())));
}

fn take(server: &Inner, key: &Key, object: Option<&Value>) {
    let (authorizer, namespace, name) = (&server.authorizer, key.namespace(), key.name());
    match (key.group(), key.resource()) {
        ("", "pods") => authorizer.nodes.apply_pod(namespace, name, object),
        ("", "persistentvolumes") => authorizer.nodes.apply_volume(name, object),
        (admission::GROUP, resource) => server.admission.apply(resource, name, object),
        ("resource.k8s.io", _) => authorizer.nodes.apply_slice(name, object),
        ("storage.k8s.io", _) => authorizer.nodes.apply_attachment(name, object),
        (_, resource) => {
            if let Some(kind) = Kind::of_resource(resource) {
                authorizer.rbac.apply(kind, namespace, name, object);
            }
        }
    }
}

/// Brings the rules of all aggregated cluster roles up to date; writes only what differs.
pub async fn aggregate(server: &Inner) {
    let prefix: Prefix = Key::prefix(rbac::GROUP, "clusterroles", None);
    let snapshot = server.store.snapshot();
    let roles: Vec<Value> = snapshot.range(&prefix, None).map(|(_, object)| object.value()).collect();
    let writes = roles.iter().filter_map(|role| {
        let rules = aggregated_rules(role, &roles, selects)?;
        let rules = serde_json::to_value(&rules).expect("rules are JSON");
        let stored = role.get("rules").filter(|rules| !rules.is_null());
        let key = Key::new(rbac::GROUP, "clusterroles", "", apimachinery::object::name(role));
        (stored.unwrap_or(&Value::Array(Vec::new())) != &rules).then(|| write_rules(&server.store, key, rules))
    });
    futures::future::join_all(writes).await;
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = apimachinery::labels::Selector::from_label_selector(Some(selector));
    selector.is_ok_and(|selector| selector.matches(labels.as_object()))
}

async fn write_rules(store: &Store, key: Key, rules: Value) {
    let Some(resource) = catalog::of_storage(rbac::GROUP, "clusterroles") else { return };
    let written = store
        .guaranteed_update(&key, |current| {
            let Some(current) = current else { return Ok::<_, std::convert::Infallible>(Step::Keep) };
            let mut role = current.value();
            role["rules"] = rules.clone();
            Ok(Step::Put(crate::change::draft(resource, &role)))
        })
        .await;
    if let Err(error) = written {
        tracing::warn!(error = &error as &dyn std::error::Error, role = key.name(), "cannot aggregate a cluster role");
    }
}
