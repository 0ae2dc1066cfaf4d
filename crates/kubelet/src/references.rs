//! Config maps and secrets that pods refer to, each watched alone, as a node may see no others.
//!
//! One watch an object however many pods use it; it ends when the last of them lets go.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::corev1::{ConfigMap, Secret};
use client::{Api, Client, ListParams, Object, WatchEvent};
use futures::StreamExt;
use parking_lot::Mutex;
use rt::{Backoff, CancellationToken, TaskSet};
use tokio::sync::watch;

/// What is known of an object: nothing yet, that it does not exist, or the object.
pub type Seen<K> = Option<Option<Arc<K>>>;

pub struct Reference<K> {
    pub state: watch::Receiver<Seen<K>>,
    _end: EndOnDrop,
}

struct EndOnDrop(CancellationToken);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

type Shelf<K> = Mutex<HashMap<(String, String), Weak<Reference<K>>>>;

pub struct References {
    client: Client,
    tasks: TaskSet,
    config_maps: Shelf<ConfigMap>,
    secrets: Shelf<Secret>,
}

impl References {
    pub fn new(client: Client, tasks: TaskSet) -> Self {
        References { client, tasks, config_maps: Mutex::default(), secrets: Mutex::default() }
    }

    pub fn config_map(&self, namespace: &str, name: &str) -> Arc<Reference<ConfigMap>> {
        self.follow(&self.config_maps, namespace, name)
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Arc<Reference<Secret>> {
        self.follow(&self.secrets, namespace, name)
    }

    fn follow<K: Object>(&self, shelf: &Shelf<K>, namespace: &str, name: &str) -> Arc<Reference<K>> {
        let mut shelf = shelf.lock();
        shelf.retain(|_, known| known.strong_count() > 0);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(known) = shelf.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let (sender, state) = watch::channel(None);
        let token = self.tasks.token().child_token();
        let api = Api::<K>::namespaced(&self.client, namespace);
        let follower = follow_object(api, name.to_owned(), sender);
        let ended = token.clone();
        self.tasks.spawn("referenced object", async move {
            let _ = ended.run_until_cancelled(follower).await;
        });
        let reference = Arc::new(Reference { state, _end: EndOnDrop(token) });
        shelf.insert(key, Arc::downgrade(&reference));
        reference
    }
}

async fn follow_object<K: Object>(api: Api<K>, name: String, sender: watch::Sender<Seen<K>>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), 2.0);
    let params = ListParams::fields(format!("metadata.name={name}"));
    loop {
        match list_and_watch(&api, &params, &sender, &mut backoff).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, name, "watch of a referenced object ended"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn list_and_watch<K: Object>(
    api: &Api<K>,
    params: &ListParams,
    sender: &watch::Sender<Seen<K>>,
    backoff: &mut Backoff,
) -> Result<(), client::Error> {
    let list = api.list(params).await?;
    publish(sender, list.items.into_iter().next());
    let mut events = api.watch(params, &list.resource_version).await?;
    while let Some(event) = events.next().await {
        backoff.reset();
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => publish(sender, Some(object)),
            WatchEvent::Deleted(_) => publish(sender, None),
            WatchEvent::Bookmark { .. } => {}
        }
    }
    Ok(())
}

fn publish<K: Object>(sender: &watch::Sender<Seen<K>>, object: Option<K>) {
    let version =
        |seen: &Seen<K>| seen.as_ref().map(|object| object.as_ref().map(|object| object.resource_version().to_owned()));
    let fresh = Some(object.map(Arc::new));
    sender.send_if_modified(|state| {
        let changed = version(state) != version(&fresh);
        *state = fresh;
        changed
    });
}

impl<K: Object> Reference<K> {
    /// The object once it is known whether there is one. An error after `patience`.
    pub async fn get(&self, patience: Duration) -> Result<Option<Arc<K>>, String> {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(patience, state.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(seen)) => Ok(seen.clone().flatten()),
            Ok(Err(_)) => Err("the kubelet stops".to_owned()),
            Err(_) => Err("timed out waiting for the condition".to_owned()),
        }
    }
}
