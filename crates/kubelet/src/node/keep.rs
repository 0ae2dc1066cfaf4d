//! Registers the node, keeps its status, and renews its lease: the last in a task that nothing else can hold up.

use std::sync::Arc;
use std::time::Duration;

use api::coordinationv1::{Lease, LeaseSpec};
use api::corev1::{Node, NodeStatus};
use api::metav1::{MicroTime, ObjectMeta, OwnerReference};
use client::{Api, Object, Patch};
use rt::Backoff;
use serde_json::json;

use super::machine;
use super::plan::{Surroundings, labels, new_node, plan_status, same_but_heartbeat};
use crate::context::Context;

const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How often the machine is looked at for pressures. Nothing is written unless something changed.
const LOOK: Duration = Duration::from_secs(10);

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(7), 2.0)
}

/// Tries until the API takes the node. Returns its object.
pub async fn register(context: &Context) -> Node {
    let mut backoff = backoff();
    loop {
        match try_register(context).await {
            Ok(node) => return node,
            Err(error) => tracing::warn!(node = context.config.node_name, %error, "node was not registered"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn try_register(context: &Context) -> Result<Node, client::Error> {
    let api = Api::<Node>::all(&context.client);
    let name = &context.config.node_name;
    let Some(known) = api.get_opt(name).await? else {
        let status = observe(context, None).await;
        let machine = machine::observe(&context.config.data_dir);
        return api.create(&new_node(&context.config, &machine, status)).await;
    };
    let machine = machine::observe(&context.config.data_dir);
    let wanted = labels(&context.config, &machine);
    let present = known.metadata.labels.clone().unwrap_or_default();
    if wanted.iter().all(|(key, value)| present.get(key) == Some(value)) {
        return Ok(known);
    }
    api.patch(name, &Patch::Strategic(json!({ "metadata": { "labels": wanted } }))).await
}

async fn observe(context: &Context, before: Option<&NodeStatus>) -> NodeStatus {
    let images = context.images.list().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "images were not listed");
        Vec::new()
    });
    let not_ready = match context.network.ready().await {
        Ok(()) => None,
        Err(error) => Some(format!(
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{error}"
        )),
    };
    let data_dir = context.config.data_dir.clone();
    let machine =
        tokio::task::spawn_blocking(move || machine::observe(&data_dir)).await.expect("reading does not panic");
    plan_status(&context.config, &machine, &Surroundings { images, not_ready }, before, context.clock.now())
}

/// Writes the status when it changed, and every few minutes to say that it has not.
pub async fn keep_status(context: Arc<Context>, mut known: Node) {
    let api = Api::<Node>::all(&context.client);
    let mut written: Option<tokio::time::Instant> = None;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut backoff = backoff();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = context.network.changed() => look.reset(),
        }
        if let Some(node) = context.nodes.list().into_iter().next() {
            known = Node::clone(&node);
        }
        let status = observe(&context, known.status.as_ref()).await;
        let same = known.status.as_ref().is_some_and(|before| same_but_heartbeat(before, &status));
        if same && written.is_some_and(|at| at.elapsed() < context.config.status_period) {
            continue;
        }
        match api.patch_status(&context.config.node_name, &Patch::Strategic(json!({ "status": status }))).await {
            Ok(node) => {
                (known, written) = (node, Some(tokio::time::Instant::now()));
                backoff.reset();
            }
            Err(error) if error.is_not_found() => {
                tracing::warn!("this node was deleted; registering it again");
                known = register(&context).await;
                written = None;
            }
            Err(error) => {
                tracing::warn!(%error, "node status was not written");
                tokio::time::sleep(backoff.next()).await;
                look.reset_immediately();
            }
        }
    }
}

/// Renews at a quarter of the lease's length.
pub async fn keep_lease(context: Arc<Context>, node: Node) {
    let api = Api::<Lease>::namespaced(&context.client, LEASE_NAMESPACE);
    let mut known: Option<Lease> = None;
    let mut renewals = tokio::time::interval(context.config.lease_duration / 4);
    renewals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut backoff = backoff();
    loop {
        renewals.tick().await;
        loop {
            match renew(&context, &api, &node, known.take()).await {
                Ok(lease) => {
                    known = Some(lease);
                    backoff.reset();
                    break;
                }
                Err(error) => tracing::warn!(%error, "node lease was not renewed"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

async fn renew(context: &Context, api: &Api<Lease>, node: &Node, known: Option<Lease>) -> Result<Lease, client::Error> {
    let name = &context.config.node_name;
    let known = match known {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: i32::try_from(context.config.lease_duration.as_secs()).ok(),
        renew_time: Some(MicroTime(context.clock.now())),
        ..LeaseSpec::default()
    };
    match known {
        Some(mut lease) => {
            lease.spec = Some(spec);
            api.update(&lease).await
        }
        None => api.create(&Lease { metadata: lease_metadata(node, name), spec: Some(spec) }).await,
    }
}

/// Owned by the node, so that it goes with it.
fn lease_metadata(node: &Node, name: &str) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: node.uid().to_owned(),
        ..OwnerReference::default()
    };
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(LEASE_NAMESPACE.to_owned()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
