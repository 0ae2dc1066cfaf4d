//! Keeps the written volumes of a running pod up to date: config maps, secrets, labels, tokens.

use std::sync::Arc;
use std::time::Duration;

use api::corev1::{ConfigMap, Pod, Secret};
use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use tokio::sync::watch;

use super::payload::is_written_by_us;
use crate::context::Context;
use crate::pods::model::{spec, uid};
use crate::references::{Reference, Seen};
use crate::start::Place;

/// After a failed refresh, and for volumes that depend on nothing that tells.
const RETRY: Duration = Duration::from_secs(30);

struct Followed {
    config_maps: Vec<One<ConfigMap>>,
    secrets: Vec<One<Secret>>,
}

/// The reference keeps its watch alive; the receiver remembers what was seen.
struct One<K> {
    _reference: Arc<Reference<K>>,
    state: watch::Receiver<Seen<K>>,
}

fn one<K>(reference: Arc<Reference<K>>) -> One<K> {
    let state = reference.state.clone();
    One { _reference: reference, state }
}

/// Ends with the pod's tasks. `places` tells when the pod itself changes.
pub async fn follow(context: Arc<Context>, mut places: watch::Receiver<Place>) {
    let pod = Arc::clone(&places.borrow().pod);
    let written = spec(&pod).volumes.iter().flatten().any(is_written_by_us);
    if !written {
        return;
    }
    let mut followed = references(&context, &pod);
    let mut failed = false;
    loop {
        let changed = any_change(&mut followed);
        let refresh = refresh_pause(&context, &pod, failed);
        tokio::select! {
            () = changed => {}
            changed = places.changed() => if changed.is_err() { return },
            () = refresh => {}
        }
        let place = places.borrow_and_update().clone();
        failed = false;
        if let Err(error) = super::mount_all(&context, &place).await {
            tracing::warn!(pod = uid(&pod), error, "volumes were not updated");
            failed = true;
        }
    }
}

fn references(context: &Context, pod: &Pod) -> Followed {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut followed = Followed { config_maps: Vec::new(), secrets: Vec::new() };
    for volume in spec(pod).volumes.iter().flatten() {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let maps = volume.config_map.iter().map(|source| source.name.as_str());
        let maps = maps.chain(projected.clone().filter_map(|source| Some(source.config_map.as_ref()?.name.as_str())));
        followed.config_maps.extend(maps.map(|name| one(context.references.config_map(namespace, name))));
        let secrets = volume.secret.iter().filter_map(|source| source.secret_name.as_deref());
        let secrets = secrets.chain(projected.filter_map(|source| Some(source.secret.as_ref()?.name.as_str())));
        followed.secrets.extend(secrets.map(|name| one(context.references.secret(namespace, name))));
    }
    followed
}

async fn any_change(followed: &mut Followed) {
    let mut changes: Vec<BoxFuture<'_, ()>> = Vec::new();
    for one in &mut followed.config_maps {
        changes.push(change(&mut one.state));
    }
    for one in &mut followed.secrets {
        changes.push(change(&mut one.state));
    }
    if changes.is_empty() {
        return std::future::pending().await;
    }
    select_all(changes).await;
}

fn change<T: Send + Sync>(state: &mut watch::Receiver<T>) -> BoxFuture<'_, ()> {
    async move {
        if state.changed().await.is_err() {
            std::future::pending().await
        }
    }
    .boxed()
}

async fn refresh_pause(context: &Context, pod: &Pod, failed: bool) {
    let at = context.tokens.replace_at(uid(pod));
    let pause = at.map(|at| Duration::try_from(at.duration_since(context.clock.now())).unwrap_or(RETRY).max(RETRY));
    match (failed, pause) {
        (true, _) => tokio::time::sleep(RETRY).await,
        (false, Some(pause)) => tokio::time::sleep(pause).await,
        (false, None) => std::future::pending().await,
    }
}
