//! A set of field paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of an object or a key of a map.
    Field(String),
    /// An item of a list of objects: its key fields as JSON, with sorted names.
    Key(String),
    /// An item of a set: the item as JSON.
    Value(String),
    /// An item of a list, by place. Only seen in what others wrote.
    Index(i64),
}

impl PathElement {
    /// The key of an item of a list with these key fields.
    pub fn key_of(item: &Value, keys: &[&str]) -> Self {
        let present = keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())));
        Self::Key(Value::Object(present.collect()).to_string())
    }

    pub fn value_of(item: &Value) -> Self {
        Self::Value(item.to_string())
    }

    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_at_checked(2)?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        match prefix {
            "f:" => Some(Self::Field(rest.to_owned())),
            "k:" => json().filter(Value::is_object).map(|key| Self::Key(key.to_string())),
            "v:" => json().map(|value| Self::Value(value.to_string())),
            "i:" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

/// A set of paths. The empty path is never a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub fn contains(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|child| child.contains(rest)),
        }
    }

    /// What lies below a path element.
    pub fn child(&self, element: &PathElement) -> Option<&FieldSet> {
        self.children.get(element)
    }

    pub fn members(&self) -> impl Iterator<Item = &PathElement> {
        self.members.iter()
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let merged = all.children.get(element).map_or_else(|| child.clone(), |own| own.union(child));
            all.children.insert(element.clone(), merged);
        }
        all
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let children = self
            .children
            .iter()
            .filter_map(|(element, child)| Some((element.clone(), child.intersection(other.children.get(element)?))));
        Self { members: self.members.intersection(&other.members).cloned().collect(), children: children.collect() }
            .pruned()
    }

    /// Without the members of `other`; what lies below them stays.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().map(|(element, child)| {
            let rest = other.children.get(element).map_or_else(|| child.clone(), |gone| child.difference(gone));
            (element.clone(), rest)
        });
        Self { members: self.members.difference(&other.members).cloned().collect(), children: children.collect() }
            .pruned()
    }

    /// Without the members of `other` and all that lies below them.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let kept = self.children.iter().filter(|(element, _)| !other.members.contains(element));
        let children = kept.map(|(element, child)| {
            let rest =
                other.children.get(element).map_or_else(|| child.clone(), |gone| child.recursive_difference(gone));
            (element.clone(), rest)
        });
        Self { members: self.members.difference(&other.members).cloned().collect(), children: children.collect() }
            .pruned()
    }

    fn pruned(mut self) -> Self {
        self.children.retain(|_, child| !child.is_empty());
        self
    }

    /// The members that have nothing below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let children: BTreeMap<_, _> =
            self.children.iter().map(|(element, child)| (element.clone(), child.leaves())).collect();
        let members = self.members.iter().filter(|element| !self.children.contains_key(element));
        Self { members: members.cloned().collect(), children }.pruned()
    }

    /// All member paths, parents before children.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, found: &mut Vec<Vec<PathElement>>) {
        let elements: BTreeSet<&PathElement> = self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            prefix.push(element.clone());
            if self.members.contains(element) {
                found.push(prefix.clone());
            }
            if let Some(child) = self.children.get(element) {
                child.collect(prefix, found);
            }
            prefix.pop();
        }
    }

    /// As `FieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        let mut out = Map::new();
        for (element, child) in &self.children {
            let mut below = child.to_fields_v1();
            if self.members.contains(element) {
                below["."] = Value::Object(Map::new());
            }
            out.insert(element.encode(), below);
        }
        for element in self.members.iter().filter(|element| !self.children.contains_key(element)) {
            out.insert(element.encode(), Value::Object(Map::new()));
        }
        Value::Object(out)
    }

    /// From `FieldsV1`; `None` if it is none.
    pub fn from_fields_v1(fields: &Value) -> Option<Self> {
        let mut set = Self::new();
        for (name, below) in fields.as_object()? {
            if name == "." {
                continue;
            }
            let element = PathElement::decode(name)?;
            let map = below.as_object()?;
            if map.is_empty() || map.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Self::from_fields_v1(below)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }
}

impl FromIterator<Vec<PathElement>> for FieldSet {
    fn from_iter<T: IntoIterator<Item = Vec<PathElement>>>(paths: T) -> Self {
        let mut set = Self::new();
        paths.into_iter().for_each(|path| set.insert(&path));
        set
    }
}
