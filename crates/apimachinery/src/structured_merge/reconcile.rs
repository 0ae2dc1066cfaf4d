//! Sets that were written when the schema was another.

use super::shape::{self, Place, Shape};
use crate::managed_fields::{FieldSet, PathElement};

/// The set as the schema is now: where a list or an object has become atomic, who owned something in it owns the
/// whole. `None` when nothing changes. Fields that the schema does not name are left alone.
pub fn reconcile(set: &FieldSet, place: Place<'_>) -> Option<FieldSet> {
    let mut walk = Walk { path: Vec::new(), whole: FieldSet::new() };
    walk.below(set, place);
    if walk.whole.is_empty() {
        return None;
    }
    let mut out = set.clone();
    out.subtract_recursively(&walk.whole);
    out.extend(&walk.whole);
    Some(out)
}

struct Walk {
    path: Vec<PathElement>,
    /// Paths whose content is owned as a whole now.
    whole: FieldSet,
}

impl Walk {
    fn below(&mut self, set: &FieldSet, place: Place<'_>) {
        for (element, below) in set.children() {
            let child = match element {
                PathElement::Field(name) => shape::field(place, name),
                _ => shape::item(place),
            };
            let Some(node) = child else { continue };
            self.path.push(element.clone());
            match Shape::of(Some(node), &serde_json::Value::Null) {
                Shape::AtomicMap | Shape::AtomicList => self.whole.insert(&self.path),
                Shape::Scalar => {}
                _ => self.below(below, child),
            }
            self.path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_owner_of_a_part_owns_the_whole_that_has_become_atomic() {
        let place = Some(api::schema::kind("", "v1", "Pod").unwrap().node());
        let written = json!({"f:spec": {"f:nodeSelector": {"f:a": {}}, "f:nodeName": {}}});
        let set = FieldSet::from_fields_v1(&written).unwrap();
        assert_eq!(
            reconcile(&set, place).unwrap().to_fields_v1(),
            json!({"f:spec": {"f:nodeSelector": {}, "f:nodeName": {}}})
        );
        let today = FieldSet::from_fields_v1(&json!({"f:spec": {"f:nodeName": {}}})).unwrap();
        assert_eq!(reconcile(&today, place), None);
    }
}
