//! Deletes what has lost its owners, and sees foreground and orphaning deletions through.
//!
//! Reads: the metadata of every resource that can be listed, watched and deleted.  Writes: deletions, owner references,
//! finalizers.  Does not know: any kind.  Start at [`plan::plan`].

mod graph;
mod plan;

use std::fmt;
use std::sync::Arc;

use api::metav1::OwnerReference;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{ApiResource, Client, DeleteParams, Error, Object, PartialObject, Patch, Propagation};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use serde_json::json;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::controller_of;
use crate::pods::is_deleted;
use crate::resources::Resources;
use graph::Graph;
use plan::{Action, Dependents, OwnerState};

const NAME: &str = "generic-garbage-collector";
const WORKERS: usize = 4;
/// An object of one of the graph's resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    resource: Arc<ApiResource>,
    key: ObjectKey,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.name, self.key)
    }
}

pub(crate) fn start(context: &Context, resources: &Arc<Resources>) {
    let client = context.client(NAME);
    let graph = Arc::new(Graph::new(resources));
    let queue = WorkQueue::new();
    let (own, known) = (queue.clone(), graph.clone());
    resources.subscribe(move |resource, lister| follow(&known, resource, lister, &own));
    let collector = Collector { client, graph };
    let resources = resources.clone();
    context.run(NAME, collector, queue, WORKERS, async move { resources.synced().await });
}

/// Of an owner whose kind was not served nothing was known: its dependents are looked at again when it is.
fn follow(graph: &Arc<Graph>, resource: &Arc<ApiResource>, lister: &Lister<PartialObject>, queue: &WorkQueue<Node>) {
    graph.dependents_of_kind(resource).into_iter().for_each(|node| queue.add(node));
    let (graph, resource, queue) = (graph.clone(), resource.clone(), queue.clone());
    lister.subscribe(move |change| wake(&graph, &resource, change, &queue));
}

/// An object wakes itself when its owners or its end changed, its dependents when it is gone or waits for them, and its owners when they
/// wait for it.
fn wake(graph: &Graph, resource: &Arc<ApiResource>, change: &Change<PartialObject>, queue: &WorkQueue<Node>) {
    if let Change::Updated { old, new } = change
        && plan::looks_the_same(old, new)
    {
        return;
    }
    let object = change.object();
    if plan::concerns(object) && !matches!(change, Change::Deleted(_)) {
        queue.add(Node { resource: resource.clone(), key: object.key() });
    }
    let ends = is_deleted(&object.metadata) && plan::has_finalizer(object, plan::FOREGROUND);
    if ends && matches!(change, Change::Added(_) | Change::Updated { .. }) {
        graph.dependents(object.uid()).into_iter().for_each(|node| queue.add(node));
    }
    if let Change::Deleted(gone) | Change::Replaced { old: gone, .. } = change {
        graph.dependents(gone.uid()).into_iter().for_each(|node| queue.add(node));
    }
    for owner in
        change.old().into_iter().chain([object]).flat_map(|object| object.metadata.owner_references.iter().flatten())
    {
        graph
            .find_owner(object.namespace(), owner)
            .filter(|node| graph.is_ending(node))
            .into_iter()
            .for_each(|node| queue.add(node));
    }
}

struct Collector {
    client: Client,
    graph: Arc<Graph>,
}

#[async_trait]
impl Reconciler for Collector {
    type Key = Node;

    async fn reconcile(&self, node: &Node) -> Result<Requeue, ReconcileError> {
        let Some(object) = self.graph.get(node) else { return Ok(Requeue::AwaitChange) };
        let mut owners = Vec::new();
        for owner in object.metadata.owner_references.iter().flatten() {
            owners.push((owner.clone(), self.owner_state(&object, owner).await?));
        }
        let dependents = self.graph.dependents(object.uid());
        for action in plan::plan(&object, &owners, self.count(&object, &dependents)) {
            self.apply(node, &object, &dependents, action).await?;
        }
        Ok(Requeue::AwaitChange)
    }
}

impl Collector {
    fn count(&self, object: &PartialObject, dependents: &[Node]) -> Dependents {
        let blocking = dependents.iter().filter(|dependent| self.graph.blocks(dependent, object.uid())).count();
        let waiting = dependents.iter().filter(|dependent| self.graph.is_foreground(dependent)).count();
        Dependents { all: dependents.len(), blocking, waiting }
    }

    /// The cache answers for owners that live; of one that it lacks, the server is asked.
    async fn owner_state(&self, object: &PartialObject, owner: &OwnerReference) -> Result<OwnerState, Error> {
        if let Some(node) = self.graph.find_owner(object.namespace(), owner) {
            return Ok(if self.graph.is_foreground(&node) {
                OwnerState::WaitsForDependents
            } else {
                OwnerState::Lives
            });
        }
        let Some(resource) = self.graph.resource_of(&owner.api_version, &owner.kind) else {
            return Ok(OwnerState::Lives); // of a kind not served now: nothing is known of it
        };
        let namespace = (!object.namespace().is_empty()).then(|| object.namespace());
        if resource.namespaced && namespace.is_none() {
            return Ok(OwnerState::Lives); // a cluster-scoped object cannot have such an owner; left alone
        }
        let live = resource.api(&self.client, namespace).get_opt(&owner.name).await?;
        let same = live.is_some_and(|live| live.uid() == owner.uid);
        Ok(if same { OwnerState::Lives } else { OwnerState::Absent })
    }

    async fn apply(
        &self,
        node: &Node,
        object: &PartialObject,
        dependents: &[Node],
        action: Action,
    ) -> Result<(), ReconcileError> {
        match action {
            Action::Delete(propagation) => self.delete(node, object, propagation).await?,
            Action::DropOwners(uids) => self.drop_owners(node, object, &uids).await?,
            Action::OrphanDependents => {
                for dependent in dependents {
                    let Some(found) = self.graph.get(dependent) else { continue };
                    self.drop_owners(dependent, &found, &[object.uid().to_owned()]).await?;
                }
            }
            Action::UnblockOwners => self.unblock_owners(node, object).await?,
            Action::RemoveFinalizer(finalizer) => self.remove_finalizer(node, object, finalizer).await?,
        }
        Ok(())
    }

    fn api(&self, node: &Node) -> client::Api<PartialObject> {
        let namespace = (!node.key.namespace.is_empty()).then_some(node.key.namespace.as_str());
        node.resource.api(&self.client, namespace)
    }

    async fn delete(&self, node: &Node, object: &PartialObject, propagation: Propagation) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            resource_version: Some(object.resource_version().to_owned()),
            ..DeleteParams::uid(object.uid())
        };
        tracing::info!(kind = node.resource.kind, key = %node.key, owner = owner_name(object), "deleting an object whose owner is gone");
        ignore_not_found(self.api(node).delete(&node.key.name, &params).await)
    }

    async fn drop_owners(&self, node: &Node, object: &PartialObject, uids: &[String]) -> Result<(), Error> {
        let left: Vec<_> =
            object.metadata.owner_references.iter().flatten().filter(|owner| !uids.contains(&owner.uid)).collect();
        let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "uid": object.uid(), "ownerReferences": left}});
        ignore_not_found(self.api(node).patch(&node.key.name, &Patch::Merge(patch)).await)
    }

    async fn unblock_owners(&self, node: &Node, object: &PartialObject) -> Result<(), Error> {
        let mut owners = object.metadata.owner_references.clone();
        owners.iter_mut().flatten().for_each(|owner| owner.block_owner_deletion = Some(false));
        let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "uid": object.uid(), "ownerReferences": owners}});
        ignore_not_found(self.api(node).patch(&node.key.name, &Patch::Merge(patch)).await)
    }

    async fn remove_finalizer(&self, node: &Node, object: &PartialObject, finalizer: &str) -> Result<(), Error> {
        let left: Vec<_> = object.metadata.finalizers.iter().flatten().filter(|name| *name != finalizer).collect();
        let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": left}});
        ignore_not_found(self.api(node).patch(&node.key.name, &Patch::Merge(patch)).await)
    }
}

fn owner_name(object: &PartialObject) -> String {
    controller_of(&object.metadata).map(|owner| format!("{} {}", owner.kind, owner.name)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
