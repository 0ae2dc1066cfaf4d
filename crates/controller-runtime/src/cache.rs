//! The objects of one reflector, with indexes. Synchronous and in memory.
//!
//! Of a kind with many objects the newest are kept as values, the others as text: see [`Kept`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use client::Object;

use crate::Change;
use crate::kept::Kept;

/// How many objects are values at once where others are text: all of a small cluster, and of a large one those at work.
pub(crate) const VALUES_MAX: usize = 512;

/// What an object is found under.
pub(crate) type IndexFn<K> = fn(&K) -> Vec<String>;

/// A key as one text. It sorts as the key does: by namespace, then by name.
type Place = Arc<str>;

fn place(key: &ObjectKey) -> Place {
    format!("{}\0{}", key.namespace, key.name).into()
}

struct Indexed<K> {
    function: IndexFn<K>,
    places: HashMap<String, BTreeSet<Place>>,
}

struct Entry<K> {
    kept: Kept<K>,
    /// When it came, counted.
    age: u64,
}

pub(crate) struct Cache<K> {
    objects: BTreeMap<Place, Entry<K>>,
    /// The values among the objects, the oldest first.
    values: BTreeMap<u64, Place>,
    values_max: usize,
    /// How many objects ever came.
    count: u64,
    indexes: HashMap<&'static str, Indexed<K>>,
}

impl<K: Object> Cache<K> {
    pub fn new(values_max: usize) -> Self {
        let (objects, values) = (BTreeMap::new(), BTreeMap::new());
        Self { objects, values, values_max, count: 0, indexes: HashMap::new() }
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Kept<K>> {
        self.objects.get(&place(key)).map(|entry| entry.kept.clone())
    }

    pub fn all(&self) -> Vec<Kept<K>> {
        self.objects.values().map(|entry| entry.kept.clone()).collect()
    }

    pub fn namespace(&self, namespace: &str) -> Vec<Kept<K>> {
        self.range(namespace).cloned().collect()
    }

    pub fn count_in(&self, namespace: &str) -> usize {
        self.range(namespace).count()
    }

    /// Those of a namespace whose labels match.
    pub fn matching(&self, namespace: &str, selector: &Selector) -> Vec<Kept<K>> {
        self.range(namespace).filter(|kept| kept.matches(selector)).cloned().collect()
    }

    fn range(&self, namespace: &str) -> impl Iterator<Item = &Kept<K>> {
        let start = format!("{namespace}\0");
        let range = self.objects.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        range.take_while(move |(place, _)| place.starts_with(&start)).map(|(_, entry)| &entry.kept)
    }

    pub fn indexed(&self, index: &str, value: &str) -> Vec<Kept<K>> {
        let places = self.indexes.get(index).and_then(|index| index.places.get(value));
        let entries = places.into_iter().flatten().filter_map(|place| self.objects.get(place));
        entries.map(|entry| entry.kept.clone()).collect()
    }

    pub fn count_indexed(&self, index: &str, value: &str) -> usize {
        let places = self.indexes.get(index).and_then(|index| index.places.get(value));
        places.map_or(0, BTreeSet::len)
    }

    /// Adds an index, once.
    pub fn index(&mut self, name: &'static str, function: IndexFn<K>) {
        if self.indexes.contains_key(name) {
            return;
        }
        let mut index = Indexed { function, places: HashMap::new() };
        for (place, entry) in &self.objects {
            index.add(place, &entry.kept.object());
        }
        self.indexes.insert(name, index);
    }

    /// `None` when the object is the same as before.
    pub fn put(&mut self, new: Arc<K>) -> Option<Change<K>> {
        let old = self.insert(place(&new.key()), &new);
        match old {
            None => Some(Change::Added(new)),
            Some(old) if old.uid() != new.uid() => Some(Change::Replaced { old, new }),
            Some(old) if old.resource_version() == new.resource_version() => None,
            Some(old) => Some(Change::Updated { old, new }),
        }
    }

    /// Returns the object that it takes the place of.
    fn insert(&mut self, place: Place, new: &Arc<K>) -> Option<Arc<K>> {
        self.count += 1;
        let entry = Entry { kept: Kept::Value(new.clone()), age: self.count };
        self.values.insert(entry.age, place.clone());
        let old = self.objects.insert(place.clone(), entry).map(|old| self.taken_out(&old));
        for index in self.indexes.values_mut() {
            index.replace(&place, old.as_deref(), Some(new));
        }
        self.turn_to_text();
        old
    }

    fn taken_out(&mut self, entry: &Entry<K>) -> Arc<K> {
        self.values.remove(&entry.age);
        entry.kept.object()
    }

    /// Keeps the oldest values as text, while there are too many.
    fn turn_to_text(&mut self) {
        while self.values.len() > self.values_max {
            let Some((_, place)) = self.values.pop_first() else { return };
            if let Some(entry) = self.objects.get_mut(&place) {
                entry.kept = Kept::text(entry.kept.object().as_ref());
            }
        }
    }

    pub fn remove(&mut self, key: &ObjectKey) -> Option<Change<K>> {
        self.remove_at(&place(key))
    }

    fn remove_at(&mut self, place: &Place) -> Option<Change<K>> {
        let entry = self.objects.remove(place)?;
        let old = self.taken_out(&entry);
        for index in self.indexes.values_mut() {
            index.replace(place, Some(&old), None);
        }
        Some(Change::Deleted(old))
    }

    /// Removes the first object beyond `after` that is not among the listed ones. Returns where it stood.
    pub fn remove_unlisted(&mut self, listed: &Listed, after: Option<Place>) -> Option<(Place, Change<K>)> {
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.objects.range::<str, _>((start, Bound::Unbounded));
        let gone = range.map(|(place, _)| place).find(|place| !listed.0.contains(*place))?.clone();
        self.remove_at(&gone).map(|change| (gone, change))
    }
}

/// The places of objects that a list named.
pub(crate) struct Listed(BTreeSet<Place>);

impl Listed {
    pub fn new<'a, K: Object>(objects: impl Iterator<Item = &'a Kept<K>>) -> Self {
        Self(objects.map(|kept| place(&kept.object().key())).collect())
    }
}

impl<K> Indexed<K> {
    /// The object at a place is another one. What both are found under stays.
    fn replace(&mut self, place: &Place, old: Option<&K>, new: Option<&K>) {
        let values = |object: Option<&K>| object.map(self.function).unwrap_or_default();
        let (old, new) = (values(old), values(new));
        for value in old.iter().filter(|value| !new.contains(value)) {
            self.remove(place, value);
        }
        for value in new {
            self.places.entry(value).or_default().insert(place.clone());
        }
    }

    fn add(&mut self, place: &Place, object: &K) {
        self.replace(place, None, Some(object));
    }

    fn remove(&mut self, place: &Place, value: &str) {
        if let Some(places) = self.places.get_mut(value) {
            places.remove(place);
            if places.is_empty() {
                self.places.remove(value);
            }
        }
    }
}
