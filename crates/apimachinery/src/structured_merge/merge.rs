//! One object laid over another: what the upper one says wins, the rest stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::shape::{self, Place, Shape};
use crate::managed_fields::PathElement;

/// Lays `upper` over `lower`. Both are valid for the place.
pub fn merge(lower: &Value, upper: &Value, place: Place<'_>) -> Value {
    value(Some(lower), Some(upper), place).unwrap_or_else(|| Value::Object(Map::new()))
}

/// `None` when nothing is left: an object or list that lost all it had is absent.
fn value(lower: Option<&Value>, upper: Option<&Value>, place: Place<'_>) -> Option<Value> {
    let decisive = upper.or(lower)?;
    let shape = Shape::of(place, decisive);
    let both_empty = shape.holds_nothing(lower) && shape.holds_nothing(upper);
    if shape.is_atomic() || both_empty {
        return Some(decisive.clone());
    }
    if shape.is_list() { items(lower, upper, place, shape) } else { fields(lower, upper, place) }
}

fn fields(lower: Option<&Value>, upper: Option<&Value>, place: Place<'_>) -> Option<Value> {
    let (lower, upper) = (lower.and_then(Value::as_object), upper.and_then(Value::as_object));
    let mut out = Map::new();
    for (name, below) in lower.into_iter().flatten() {
        let above = upper.and_then(|map| map.get(name));
        if let Some(merged) = value(Some(below), above, shape::field(place, name)) {
            out.insert(name.clone(), merged);
        }
    }
    for (name, above) in upper.into_iter().flatten() {
        if lower.is_some_and(|map| map.contains_key(name)) {
            continue;
        }
        if let Some(merged) = value(None, Some(above), shape::field(place, name)) {
            out.insert(name.clone(), merged);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn items(lower: Option<&Value>, upper: Option<&Value>, place: Place<'_>, shape: Shape<'_>) -> Option<Value> {
    let lower = Side::of(lower, place, shape);
    let upper = Side::of(upper, place, shape);
    let out = Weave { lower: &lower, upper: &upper, item: shape::item(place), out: Vec::new() }.run();
    (!out.is_empty()).then_some(Value::Array(out))
}

/// A list with the identities of its items.
struct Side<'v> {
    order: Vec<(PathElement, &'v Value)>,
    /// `None` for an identity that stands there twice: such items are not merged.
    by_identity: BTreeMap<PathElement, Option<&'v Value>>,
}

impl<'v> Side<'v> {
    fn of(list: Option<&'v Value>, place: Place<'_>, shape: Shape<'_>) -> Side<'v> {
        let items = list.and_then(Value::as_array).into_iter().flatten();
        let known = |item: &'v Value| Some((shape::identity(shape, place, item).ok()?, item));
        let order: Vec<_> = items.filter_map(known).collect();
        let mut by_identity = BTreeMap::new();
        for (element, item) in &order {
            by_identity.entry(element.clone()).and_modify(|known| *known = None).or_insert(Some(*item));
        }
        Side { order, by_identity }
    }

    fn has(&self, element: &PathElement) -> bool {
        self.by_identity.contains_key(element)
    }

    fn get(&self, element: &PathElement) -> Option<&'v Value> {
        self.by_identity.get(element).copied().flatten()
    }
}

/// Puts two lists into one that keeps the upper list's order, and the lower list's items where they stood.
struct Weave<'s, 'v, 'p> {
    lower: &'s Side<'v>,
    upper: &'s Side<'v>,
    item: Place<'p>,
    out: Vec<Value>,
}

impl<'s> Weave<'s, '_, '_> {
    fn run(mut self) -> Vec<Value> {
        let shared: Vec<&PathElement> =
            self.upper.order.iter().map(|(element, _)| element).filter(|element| self.lower.has(element)).collect();
        let mut shared = shared.into_iter();
        let mut next_shared = shared.next();
        let mut merged: BTreeSet<&'s PathElement> = BTreeSet::new();
        let (mut low, mut up) = (self.lower.order.iter().peekable(), self.upper.order.iter().peekable());
        while low.peek().is_some() || up.peek().is_some() {
            if let (Some((below, _)), Some((above, _))) = (low.peek(), up.peek()) {
                if below == above {
                    merged.insert(above);
                    self.both(above);
                    low.next();
                    up.next();
                    next_shared = shared.next();
                    continue;
                }
                if self.upper.has(below) && next_shared.is_some_and(|next| next != below) {
                    // Its turn comes with the upper list.
                    low.next();
                    continue;
                }
            }
            if let Some((below, item)) = low.peek() {
                if !self.upper.has(below) {
                    self.push(value(Some(item), None, self.item));
                    low.next();
                    continue;
                }
                if merged.contains(below) {
                    low.next();
                }
            }
            if let Some((above, _)) = up.next() {
                merged.insert(above);
                self.both(above);
                if next_shared == Some(above) {
                    next_shared = shared.next();
                }
            }
        }
        self.out
    }

    fn both(&mut self, element: &PathElement) {
        let merged = value(self.lower.get(element), self.upper.get(element), self.item);
        self.push(merged);
    }

    fn push(&mut self, merged: Option<Value>) {
        self.out.extend(merged);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Place<'static> {
        Some(api::schema::kind("", "v1", "Pod").unwrap().node())
    }

    fn order(lower: &str, upper: &str) -> String {
        let list = |names: &str| names.split_whitespace().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let pod_of = |names: &str| json!({"spec": {"containers": list(names)}});
        let merged = merge(&pod_of(lower), &pod_of(upper), pod());
        let names = merged["spec"]["containers"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_upper_order_wins_and_other_items_keep_their_places() {
        assert_eq!(order("a b c", "c a"), "b c a");
        assert_eq!(order("a b c", "b"), "a b c");
        assert_eq!(order("a b", "x b"), "a x b");
        assert_eq!(order("a b c d", "d e a"), "b c d e a");
        assert_eq!(order("a", "b c"), "a b c");
    }

    #[test]
    fn atomic_values_are_replaced_and_maps_are_merged() {
        let lower = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"nodeSelector": {"a": "b"}}});
        let upper = json!({"metadata": {"labels": {"a": "2"}}, "spec": {"nodeSelector": {"c": "d"}}});
        assert_eq!(
            merge(&lower, &upper, pod()),
            json!({"metadata": {"labels": {"a": "2", "b": "1"}}, "spec": {"nodeSelector": {"c": "d"}}})
        );
    }

    #[test]
    fn null_clears_a_scalar_but_not_a_map() {
        let lower = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": "n"}});
        let upper = json!({"metadata": {"labels": null}, "spec": {"nodeName": null}});
        assert_eq!(
            merge(&lower, &upper, pod()),
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": null}})
        );
    }

    #[test]
    fn where_nothing_is_declared_the_upper_shape_wins() {
        assert_eq!(merge(&json!({"a": {"b": 1}}), &json!({"a": [1]}), None), json!({"a": [1]}));
        assert_eq!(merge(&json!({"a": {"b": 1}}), &json!({"a": {"c": [2]}}), None), json!({"a": {"b": 1, "c": [2]}}));
    }
}
