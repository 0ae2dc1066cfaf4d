//! A set of field paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// The identity of an item whose key fields have these values.
    pub fn key(fields: Map<String, Value>) -> Self {
        Self::Key(Value::Object(fields).to_string())
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

    /// `Ok(None)` for a kind of step that nobody knows yet.
    fn decode(text: &str) -> Result<Option<Self>, FieldsError> {
        let malformed = || FieldsError(text.to_owned());
        let (prefix, rest) = text.split_at_checked(2).ok_or_else(malformed)?;
        let json = || serde_json::from_str::<Value>(rest).map_err(|_| malformed());
        match prefix {
            "f:" => Ok(Some(Self::Field(rest.to_owned()))),
            "k:" => match json()? {
                Value::Object(fields) => Ok(Some(Self::key(fields))),
                _ => Err(malformed()),
            },
            "v:" => Ok(Some(Self::value_of(&json()?))),
            "i:" => rest.parse().map(|index| Some(Self::Index(index))).map_err(|_| malformed()),
            unknown if unknown.ends_with(':') => Ok(None),
            _ => Err(malformed()),
        }
    }
}

/// What is no `FieldsV1`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed path element {0:?}")]
pub struct FieldsError(String);

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(key) => {
                let fields: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path as conflicts name it: `.spec.containers[name="c"].image`.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
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

    /// Whether a path of this one element is a member.
    pub fn has(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    /// Sets what is known of a path element: whether it is a member, and what lies below it.
    pub fn put(&mut self, element: PathElement, member: bool, below: FieldSet) {
        if below.is_empty() {
            if member {
                self.members.insert(element);
            }
            return;
        }
        if member {
            self.members.insert(element.clone());
        }
        self.children.insert(element, below);
    }

    /// What lies below a path element.
    pub fn child(&self, element: &PathElement) -> Option<&FieldSet> {
        self.children.get(element)
    }

    pub fn members(&self) -> impl Iterator<Item = &PathElement> {
        self.members.iter()
    }

    /// The elements with something below them.
    pub fn children(&self) -> impl Iterator<Item = (&PathElement, &FieldSet)> {
        self.children.iter()
    }

    /// Adds the members of another set.
    pub fn extend(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, below) in &other.children {
            match self.children.get_mut(element) {
                Some(own) => own.extend(below),
                None => drop(self.children.insert(element.clone(), below.clone())),
            }
        }
    }

    /// Drops the members of another set; what lies below them stays.
    pub fn subtract(&mut self, other: &Self) {
        for element in &other.members {
            self.members.remove(element);
        }
        for (element, gone) in &other.children {
            self.subtract_below(element, |own| own.subtract(gone));
        }
    }

    /// Drops the members of another set and all that lies below them.
    pub fn subtract_recursively(&mut self, other: &Self) {
        for element in &other.members {
            self.members.remove(element);
            self.children.remove(element);
        }
        for (element, gone) in &other.children {
            self.subtract_below(element, |own| own.subtract_recursively(gone));
        }
    }

    fn subtract_below(&mut self, element: &PathElement, subtract: impl FnOnce(&mut Self)) {
        let Some(own) = self.children.get_mut(element) else { return };
        subtract(own);
        if own.is_empty() {
            self.children.remove(element);
        }
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
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    fn pruned(mut self) -> Self {
        self.children.retain(|_, child| !child.is_empty());
        self
    }

    /// All member paths; those of a level stand before those below it.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, found: &mut Vec<Vec<PathElement>>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            found.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, found);
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

    /// From `FieldsV1`. Steps of a kind that nobody knows are dropped.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsError> {
        let mut set = Self::new();
        let Value::Object(fields) = fields else { return Err(FieldsError(fields.to_string())) };
        for (name, below) in fields.iter().filter(|(name, _)| *name != ".") {
            let Some(element) = PathElement::decode(name)? else { continue };
            let member = below.as_object().is_some_and(|map| map.is_empty() || map.contains_key("."));
            set.put(element, member, Self::from_fields_v1(below)?);
        }
        Ok(set)
    }
}

/// One path on each line.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.paths().iter().map(|path| path_text(path)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl FromIterator<Vec<PathElement>> for FieldSet {
    fn from_iter<T: IntoIterator<Item = Vec<PathElement>>>(paths: T) -> Self {
        let mut set = Self::new();
        paths.into_iter().for_each(|path| set.insert(&path));
        set
    }
}
