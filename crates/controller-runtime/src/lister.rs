//! Reads a reflector's cache.

use std::sync::Arc;

use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use client::Object;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::cache::{Cache, IndexFn, Listed};
use crate::kept::Kept;

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
    /// Keeps so many of the newest objects as values, and others as text.
    pub fn new(values_max: usize) -> Self {
        let mut cache = Cache::new(values_max);
        cache.index(OWNER, owner_uids::<K>);
        Self { cache: RwLock::new(cache), handlers: Mutex::default(), synced: watch::Sender::new(false) }
    }

    /// Becomes exactly `objects`. Changes are told one by one, as a watch would tell them: what a large list brings is never
    /// there as values all at once.
    pub fn replace(&self, objects: Vec<Kept<K>>) {
        let listed = Listed::new(objects.iter());
        let handlers = self.handlers.lock();
        let mut after = None;
        while let Some((gone, change)) = self.remove_unlisted(&listed, after.take()) {
            tell(&handlers, &change);
            after = Some(gone);
        }
        for object in objects {
            let change = self.cache.write().put(object.object());
            change.iter().for_each(|change| tell(&handlers, change));
        }
        drop(handlers);
        self.synced.send_replace(true);
    }

    fn remove_unlisted(&self, listed: &Listed, after: Option<Arc<str>>) -> Option<(Arc<str>, Change<K>)> {
        self.cache.write().remove_unlisted(listed, after)
    }

    pub fn put(&self, object: K) {
        let handlers = self.handlers.lock();
        let change = self.cache.write().put(Arc::new(object));
        change.iter().for_each(|change| tell(&handlers, change));
    }

    pub fn remove(&self, key: &ObjectKey) {
        let handlers = self.handlers.lock();
        let change = self.cache.write().remove(key);
        change.iter().for_each(|change| tell(&handlers, change));
    }
}

fn tell<K>(handlers: &[Handler<K>], change: &Change<K>) {
    handlers.iter().for_each(|handler| handler(change));
}

/// As values, read outside of the cache's lock.
fn values<K: Object>(kept: Vec<Kept<K>>) -> Vec<Arc<K>> {
    kept.iter().map(Kept::object).collect()
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
        let kept = self.0.cache.read().get(key);
        kept.as_ref().map(Kept::object)
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        let kept = self.0.cache.read().all();
        values(kept)
    }

    /// All objects of a namespace. Who knows their labels asks [`Self::matching`], which reads no text that it does not give.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let kept = self.0.cache.read().namespace(namespace);
        values(kept)
    }

    /// Objects of a namespace whose labels match.
    pub fn matching(&self, namespace: &str, selector: &Selector) -> Vec<Arc<K>> {
        let kept = self.0.cache.read().matching(namespace, selector);
        values(kept)
    }

    /// How many objects a namespace has.
    pub fn count_in(&self, namespace: &str) -> usize {
        self.0.cache.read().count_in(namespace)
    }

    /// Objects that name this UID among their owners.
    pub fn by_owner(&self, uid: &str) -> Vec<Arc<K>> {
        let kept = self.0.cache.read().indexed(OWNER, uid);
        values(kept)
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
        let present = self.0.cache.read().all();
        for object in present {
            handler(&Change::Added(object.object()));
        }
        handlers.push(Box::new(handler));
    }

    /// A lister over given objects, for tests of pure code that reads one.
    pub fn of(objects: Vec<K>) -> Self {
        Self::with_values(objects, usize::MAX)
    }

    fn with_values(objects: Vec<K>, values_max: usize) -> Self {
        let shared = Shared::new(values_max);
        shared.replace(objects.into_iter().map(Kept::value).collect());
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
        let kept = self.lister.0.cache.read().indexed(self.name, value);
        values(kept)
    }

    /// How many objects it finds.
    pub fn count(&self, value: &str) -> usize {
        self.lister.0.cache.read().count_indexed(self.name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::VALUES_MAX;
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
        let listed = [pod("b", "1", "ub"), pod("c", "2", "uc"), pod("d", "1", "ud")];
        lister.0.replace(listed.into_iter().map(Kept::value).collect());
        lister.0.put(pod("d", "3", "other"));
        assert_eq!(*seen.lock(), ["deleted a", "updated c", "added d", "replaced d"]);
        assert_eq!(lister.namespace("default").len(), 3);
        assert!(lister.namespace("def").is_empty());
    }

    #[test]
    fn objects_beyond_the_newest_are_found_and_told_as_they_were() {
        let named = |number: usize, version: &str| {
            let mut pod = pod(&format!("p{number:04}"), version, &format!("u{number}"));
            pod.metadata.labels = Some([("app".to_owned(), format!("a{}", number % 10))].into());
            pod
        };
        let count = 2 * VALUES_MAX;
        let lister = Lister::with_values((0..count).map(|number| named(number, "1")).collect(), VALUES_MAX);
        let apps =
            lister.index("app", |pod| pod.metadata.labels.iter().flatten().map(|label| label.1.clone()).collect());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        lister.subscribe(move |change: &Change<Pod>| {
            let old = change.old().map(|old| Pod::clone(old));
            log.lock().push((old, Pod::clone(change.object())));
        });
        assert_eq!(seen.lock().drain(..).count(), count);
        assert_eq!(lister.get(&ObjectKey::new("default", "p0003")).as_deref(), Some(&named(3, "1")));
        let third = Selector::parse("app=a3").expect("a selector");
        assert_eq!(lister.matching("default", &third), apps.get("a3"));
        assert_eq!(lister.matching("default", &third).len(), lister.list().len().div_ceil(10));
        assert_eq!((lister.count_in("default"), lister.count_in("def")), (count, 0));
        lister.0.put(named(3, "2"));
        lister.0.remove(&ObjectKey::new("default", "p0004"));
        let (updated, deleted) = ((Some(named(3, "1")), named(3, "2")), (Some(named(4, "1")), named(4, "1")));
        assert_eq!(*seen.lock(), [updated, deleted]);
        assert_eq!(apps.get("a4").len(), lister.matching("default", &Selector::parse("app=a4").expect("one")).len());
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
