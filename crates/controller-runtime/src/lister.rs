//! Reads a reflector's cache.

use std::sync::Arc;

use apimachinery::ObjectKey;
use client::Object;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::cache::{Cache, IndexFn};

/// What happened to a cached object.
#[derive(Debug)]
pub enum Change<K> {
    Added(Arc<K>),
    Updated {
        old: Arc<K>,
        new: Arc<K>,
    },
    /// Deleted and made anew under the same name, unseen in between.
    Replaced {
        old: Arc<K>,
        new: Arc<K>,
    },
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest state known.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) => object,
            Self::Updated { new, .. } | Self::Replaced { new, .. } => new,
        }
    }

    /// The state before, where there was one.
    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Self::Added(_) => None,
            Self::Deleted(object) => Some(object),
            Self::Updated { old, .. } | Self::Replaced { old, .. } => Some(old),
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// What a reflector writes and listers read.
pub(crate) struct Shared<K> {
    cache: RwLock<Cache<K>>,
    /// Held while changes are applied and told, so that every handler sees every change once and in order.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K: Object> Shared<K> {
    pub fn new() -> Self {
        let mut cache = Cache::new();
        cache.index(OWNER, owner_uids::<K>);
        Self { cache: RwLock::new(cache), handlers: Mutex::default(), synced: watch::Sender::new(false) }
    }

    pub fn replace(&self, objects: Vec<K>) {
        self.apply(|cache| cache.replace(objects));
        self.synced.send_replace(true);
    }

    pub fn put(&self, object: K) {
        self.apply(|cache| cache.put(object));
    }

    pub fn remove(&self, key: &ObjectKey) {
        self.apply(|cache| cache.remove(key));
    }

    fn apply<C: IntoIterator<Item = Change<K>>>(&self, change: impl FnOnce(&mut Cache<K>) -> C) {
        let handlers = self.handlers.lock();
        let changes = change(&mut self.cache.write());
        for change in changes {
            handlers.iter().for_each(|handler| handler(&change));
        }
    }
}

const OWNER: &str = "owner uid";

fn owner_uids<K: Object>(object: &K) -> Vec<String> {
    let owners = object.metadata().owner_references.iter().flatten();
    owners.map(|owner| owner.uid.clone()).collect()
}

/// Reads the cache of one kind. Cheap to clone. Objects come in the order of their keys.
pub struct Lister<K>(pub(crate) Arc<Shared<K>>);

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Object> Lister<K> {
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.0.cache.read().get(key)
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.0.cache.read().all().cloned().collect()
    }

    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.0.cache.read().namespace(namespace)
    }

    /// Objects that name this UID among their owners.
    pub fn by_owner(&self, uid: &str) -> Vec<Arc<K>> {
        self.0.cache.read().indexed(OWNER, uid)
    }

    /// Looks objects up by what `function` says of them. Asking again for the same name gives the same index.
    pub fn index(&self, name: &'static str, function: fn(&K) -> Vec<String>) -> Index<K> {
        self.0.cache.write().index(name, function as IndexFn<K>);
        Index { lister: self.clone(), name }
    }

    pub fn is_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// Waits for the first complete list.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        if synced.wait_for(|synced| *synced).await.is_err() {
            std::future::pending().await
        }
    }

    /// Calls `handler` for every change; objects that are there already are told as added. A handler enqueues and
    /// returns; it may read listers but not subscribe.
    pub fn subscribe(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        for object in self.list() {
            handler(&Change::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// A lister over given objects, for tests of pure code that reads one.
    pub fn of(objects: Vec<K>) -> Self {
        let shared = Shared::new();
        shared.replace(objects);
        Self(Arc::new(shared))
    }
}

/// Finds objects by a value computed from them.
pub struct Index<K> {
    lister: Lister<K>,
    name: &'static str,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { lister: self.lister.clone(), name: self.name }
    }
}

impl<K: Object> Index<K> {
    pub fn get(&self, value: &str) -> Vec<Arc<K>> {
        self.lister.0.cache.read().indexed(self.name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::corev1::Pod;
    use api::metav1::ObjectMeta;

    fn pod(name: &str, version: &str, uid: &str) -> Pod {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("default".into()),
            resource_version: Some(version.into()),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn a_replace_tells_only_what_changed() {
        let lister = Lister::of(vec![pod("a", "1", "ua"), pod("b", "1", "ub"), pod("c", "1", "uc")]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        lister.subscribe(move |change: &Change<Pod>| {
            let kind = match change {
                Change::Added(_) => "added",
                Change::Updated { .. } => "updated",
                Change::Replaced { .. } => "replaced",
                Change::Deleted(_) => "deleted",
            };
            log.lock().push(format!("{kind} {}", change.object().name()));
        });
        seen.lock().clear();
        lister.0.replace(vec![pod("b", "1", "ub"), pod("c", "2", "uc"), pod("d", "1", "ud")]);
        lister.0.put(pod("d", "3", "other"));
        assert_eq!(*seen.lock(), ["deleted a", "updated c", "added d", "replaced d"]);
        assert_eq!(lister.namespace("default").len(), 3);
        assert!(lister.namespace("def").is_empty());
    }

    #[test]
    fn an_index_follows_its_objects() {
        let lister = Lister::of(vec![pod("a", "1", "ua")]);
        let index = lister.index("version", |pod| pod.metadata.resource_version.clone().into_iter().collect());
        lister.0.put(pod("a", "2", "ua"));
        assert!(index.get("1").is_empty());
        assert_eq!(index.get("2").len(), 1);
        lister.0.remove(&ObjectKey::new("default", "a"));
        assert!(index.get("2").is_empty());
    }
}
