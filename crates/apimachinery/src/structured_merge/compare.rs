//! Which paths differ between two objects of a kind.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::{self, Place, Shape};
use crate::managed_fields::{FieldSet, PathElement};

/// The paths that a change touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    /// What the new object sets: added or modified.
    pub fn changed(&self) -> FieldSet {
        let mut changed = self.added.clone();
        changed.extend(&self.modified);
        changed
    }

    /// Without these fields and what lies below them.
    pub fn exclude(&mut self, fields: &FieldSet) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_recursively(fields);
        }
    }
}

/// Compares two objects. Atomic values are one path; items of keyed lists are compared by key. One pass over both; a
/// path is built only where something differs.
pub fn compare(old: &Value, new: &Value, place: Place<'_>) -> Comparison {
    let mut walk = Walk { comparison: Comparison::default(), path: Vec::new() };
    walk.children(Some(old), Some(new), place, Shape::of(place, new));
    walk.comparison
}

/// A step of the path to where the walk is.
#[derive(Clone, Copy)]
enum Step<'v> {
    Field(&'v str),
    Item(&'v PathElement),
}

struct Walk<'v> {
    comparison: Comparison,
    path: Vec<Step<'v>>,
}

#[derive(Clone, Copy)]
enum Change {
    Added,
    Modified,
    Removed,
}

impl<'v> Walk<'v> {
    fn note(&mut self, change: Change) {
        let owned = |step: &Step<'_>| match step {
            Step::Field(name) => PathElement::Field((*name).to_owned()),
            Step::Item(element) => (*element).clone(),
        };
        let path: Vec<PathElement> = self.path.iter().map(owned).collect();
        let set = match change {
            Change::Added => &mut self.comparison.added,
            Change::Modified => &mut self.comparison.modified,
            Change::Removed => &mut self.comparison.removed,
        };
        set.insert(&path);
    }

    /// One value on both sides, or on one.
    fn value(&mut self, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>) {
        let of = |side: Option<&Value>| side.map(|value| Shape::of(place, value));
        match (of(old), of(new)) {
            (Some(before), Some(after)) if before != after => self.reshaped(old, new, place, before, after),
            (_, Some(shape)) | (Some(shape), None) => self.same_shape(old, new, place, shape),
            (None, None) => {}
        }
    }

    fn same_shape(&mut self, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>, shape: Shape<'_>) {
        let leaf = shape.is_atomic() || (shape.holds_nothing(old) && shape.holds_nothing(new));
        match (old, new) {
            (None, Some(_)) => self.note(Change::Added),
            (Some(_), None) => self.note(Change::Removed),
            (Some(old), Some(new)) if leaf && old != new => self.note(Change::Modified),
            _ => {}
        }
        if !leaf {
            self.children(old, new, place, shape);
        }
    }

    /// Only where nothing is declared: what was one thing is another now.
    fn reshaped(
        &mut self,
        old: Option<&'v Value>,
        new: Option<&'v Value>,
        place: Place<'_>,
        before: Shape<'_>,
        after: Shape<'_>,
    ) {
        self.note(Change::Modified);
        if !before.is_atomic() {
            self.children(old, None, place, before);
        }
        if !after.is_atomic() {
            self.children(None, new, place, after);
        }
    }

    fn children(&mut self, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>, shape: Shape<'_>) {
        if shape.is_list() {
            self.items(old, new, place, shape);
        } else {
            self.fields(old, new, place);
        }
    }

    fn fields(&mut self, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>) {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        for (name, before) in old.into_iter().flatten() {
            self.field(name, Some(before), new.and_then(|map| map.get(name)), place);
        }
        for (name, after) in new.into_iter().flatten() {
            if old.is_none_or(|map| !map.contains_key(name)) {
                self.field(name, None, Some(after), place);
            }
        }
    }

    fn field(&mut self, name: &'v str, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>) {
        self.path.push(Step::Field(name));
        self.value(old, new, shape::field(place, name));
        self.path.pop();
    }

    fn items(&mut self, old: Option<&'v Value>, new: Option<&'v Value>, place: Place<'_>, shape: Shape<'_>) {
        let mut pairs = BTreeMap::<PathElement, Pair<'v>>::new();
        for item in old.and_then(Value::as_array).into_iter().flatten() {
            let Ok(element) = shape::identity(shape, place, item) else { continue };
            pairs.entry(element).or_default().old.push(item);
        }
        for item in new.and_then(Value::as_array).into_iter().flatten() {
            let Ok(element) = shape::identity(shape, place, item) else { continue };
            pairs.entry(element).or_default().new.push(item);
        }
        for (element, pair) in &pairs {
            Walk::pair(self, element, pair, shape::item(place));
        }
    }

    /// The walk of one item; its path element lives as long as the list is compared.
    fn pair(outer: &mut Walk<'_>, element: &PathElement, pair: &Pair<'_>, place: Place<'_>) {
        let mut path: Vec<Step<'_>> = outer.path.clone();
        path.push(Step::Item(element));
        let mut walk = Walk { comparison: std::mem::take(&mut outer.comparison), path };
        walk.occurrences(pair, place);
        outer.comparison = walk.comparison;
    }

    /// An identity that stands in a list twice is compared as one atomic value.
    fn occurrences(&mut self, pair: &Pair<'v>, place: Place<'_>) {
        match (pair.old.more(), pair.new.more()) {
            (false, false) => self.value(pair.old.first, pair.new.first, place),
            (true, true) if pair.old == pair.new => {}
            (true, true) => self.note(Change::Modified),
            (true, false) => {
                if pair.new.first.is_some() {
                    self.value(None, pair.new.first, place);
                }
                self.note(Change::Removed);
            }
            (false, true) => {
                if pair.old.first.is_some() {
                    self.value(pair.old.first, None, place);
                }
                self.note(Change::Added);
            }
        }
    }
}

/// The items of one identity on both sides.
#[derive(Default)]
struct Pair<'v> {
    old: Items<'v>,
    new: Items<'v>,
}

/// Nearly always one item, which then costs no allocation.
#[derive(Default, PartialEq)]
struct Items<'v> {
    first: Option<&'v Value>,
    rest: Vec<&'v Value>,
}

impl<'v> Items<'v> {
    fn push(&mut self, item: &'v Value) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push(item),
        }
    }

    fn more(&self) -> bool {
        !self.rest.is_empty()
    }
}
