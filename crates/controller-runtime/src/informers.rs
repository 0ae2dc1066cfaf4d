//! One reflector for each kind and selection, shared by all who ask.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::{Api, ApiResource, Client, ListParams, Object, PartialObject};
use parking_lot::Mutex;
use rt::TaskSet;

use crate::Lister;
use crate::cache::VALUES_MAX;
use crate::lister::Shared;
use crate::reflector::Reflector;

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Empty: all.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
}

/// A type, the resource where the type does not tell, and which of its objects.
type Wanted = (TypeId, Option<ApiResource>, Selection);
type Known = HashMap<Wanted, Box<dyn Any + Send>>;

/// By type, a `fn(&mut K)`.
type Unread = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Starts reflectors on first use and shares them. Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    tasks: TaskSet,
    unread: Unread,
    /// Kinds whose older objects are kept as text.
    as_text: HashSet<TypeId>,
    known: Arc<Mutex<Known>>,
}

impl Informers {
    pub fn new(client: &Client, tasks: &TaskSet) -> Self {
        Self {
            client: client.clone(),
            tasks: tasks.clone(),
            unread: Unread::new(),
            as_text: HashSet::new(),
            known: Arc::default(),
        }
    }

    /// Drops a part of each object of a kind before it is kept: one that nobody reads who shares these caches. Whoever
    /// writes an object back must not take it from here then.
    #[must_use]
    pub fn without<K: Object>(mut self, part: fn(&mut K)) -> Self {
        self.unread.insert(TypeId::of::<K>(), Arc::new(part));
        self
    }

    /// Keeps all but the newest objects of a kind as text. For kinds that have many objects, which are looked up by key, by index
    /// or by labels: a walk over all of them reads them anew.
    #[must_use]
    pub fn as_text<K: Object>(mut self) -> Self {
        self.as_text.insert(TypeId::of::<K>());
        self
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All objects of the kind.
    pub fn lister<K: Object>(&self) -> Lister<K> {
        self.lister_for(Selection::default())
    }

    pub fn lister_for<K: Object>(&self, selection: Selection) -> Lister<K> {
        let api = match selection.namespace.as_str() {
            "" => Api::all(&self.client),
            namespace => Api::namespaced(&self.client, namespace),
        };
        self.shared((TypeId::of::<K>(), None, selection), api, K::KIND)
    }

    /// The metadata of all objects of a resource.
    pub fn metadata_lister(&self, resource: &ApiResource) -> Lister<PartialObject> {
        let wanted = (TypeId::of::<PartialObject>(), Some(resource.clone()), Selection::default());
        self.shared(wanted, resource.api(&self.client, None), &resource.kind)
    }

    fn shared<K: Object>(&self, wanted: Wanted, api: Api<K>, kind: &str) -> Lister<K> {
        let mut known = self.known.lock();
        let selection = wanted.2.clone();
        let lister = known.entry(wanted).or_insert_with(|| Box::new(self.start(api, selection, kind)));
        lister.downcast_ref::<Lister<K>>().expect("the type id is part of the key").clone()
    }

    fn start<K: Object>(&self, api: Api<K>, selection: Selection, kind: &str) -> Lister<K> {
        let values_max = if self.as_text.contains(&TypeId::of::<K>()) { VALUES_MAX } else { usize::MAX };
        let shared = Arc::new(Shared::new(values_max));
        let text = |text: String| (!text.is_empty()).then_some(text);
        let params = ListParams {
            label_selector: text(selection.label_selector),
            field_selector: text(selection.field_selector),
            ..ListParams::default()
        };
        let unread = self.unread.get(&TypeId::of::<K>()).and_then(|part| part.downcast_ref::<fn(&mut K)>());
        let unread = unread.copied().unwrap_or(|_| ());
        let reflector = Reflector { api, params, unread, shared: shared.clone() };
        self.tasks.spawn_until_cancelled(format!("reflector {kind}"), reflector.run());
        Lister(shared)
    }
}
