//! The objects of one reflector, with indexes. Synchronous and in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use apimachinery::ObjectKey;
use client::Object;

use crate::Change;

/// What an object is found under.
pub(crate) type IndexFn<K> = fn(&K) -> Vec<String>;

struct Indexed<K> {
    function: IndexFn<K>,
    keys: HashMap<String, BTreeSet<ObjectKey>>,
}

pub(crate) struct Cache<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    indexes: HashMap<&'static str, Indexed<K>>,
}

impl<K: Object> Cache<K> {
    pub fn new() -> Self {
        Self { objects: BTreeMap::new(), indexes: HashMap::new() }
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let start = ObjectKey::new(namespace, "");
        let range = self.objects.range(start..);
        range.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    pub fn indexed(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        let keys = self.indexes.get(index).and_then(|index| index.keys.get(value));
        keys.into_iter().flatten().filter_map(|key| self.get(key)).collect()
    }

    /// Adds an index, once.
    pub fn index(&mut self, name: &'static str, function: IndexFn<K>) {
        if self.indexes.contains_key(name) {
            return;
        }
        let mut index = Indexed { function, keys: HashMap::new() };
        for (key, object) in &self.objects {
            index.add(key, object);
        }
        self.indexes.insert(name, index);
    }

    /// `None` when the object is the same as before.
    pub fn put(&mut self, object: K) -> Option<Change<K>> {
        let key = object.key();
        let new = Arc::new(object);
        let old = self.objects.insert(key.clone(), new.clone());
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            index.add(&key, &new);
        }
        match old {
            None => Some(Change::Added(new)),
            Some(old) if old.uid() != new.uid() => Some(Change::Replaced { old, new }),
            Some(old) if old.resource_version() == new.resource_version() => None,
            Some(old) => Some(Change::Updated { old, new }),
        }
    }

    pub fn remove(&mut self, key: &ObjectKey) -> Option<Change<K>> {
        let old = self.objects.remove(key)?;
        for index in self.indexes.values_mut() {
            index.remove(key, &old);
        }
        Some(Change::Deleted(old))
    }

    /// Becomes exactly `objects`.
    pub fn replace(&mut self, objects: Vec<K>) -> Vec<Change<K>> {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
        let gone: Vec<ObjectKey> = self.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        let mut changes: Vec<_> = gone.iter().filter_map(|key| self.remove(key)).collect();
        changes.extend(objects.into_iter().filter_map(|object| self.put(object)));
        changes
    }
}

impl<K> Indexed<K> {
    fn add(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.function)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.function)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}
