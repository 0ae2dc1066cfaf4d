//! Fields that somebody else owns with another value.

use super::entries::Entry;
use super::field_set::{FieldSet, PathElement, path_text};
use crate::Status;
use crate::status::Cause;

/// One field, and who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner's entry, without its fields and time.
    pub owner: Entry,
    pub path: Vec<PathElement>,
}

/// All conflicts of one apply, by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    /// Adds the fields that an owner has.
    pub fn add(&mut self, owner: &Entry, fields: &FieldSet) {
        let owner = Entry { fields: FieldSet::new(), time: None, ..owner.clone() };
        self.0.extend(fields.paths().into_iter().map(|path| Conflict { owner: owner.clone(), path }));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the conflicts about these fields.
    #[must_use]
    pub fn without(&self, fields: &FieldSet) -> Conflicts {
        Conflicts(self.0.iter().filter(|conflict| !fields.contains(&conflict.path)).cloned().collect())
    }

    /// 409 with a cause for each.
    pub fn to_status(&self) -> Status {
        let cause = |conflict: &Conflict| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {}", shown(&conflict.owner)),
            field: path_text(&conflict.path),
        };
        Status::apply_conflict(self.0.iter().map(cause).collect(), self.message())
    }

    fn message(&self) -> String {
        if let [only] = self.0.as_slice() {
            let (owner, path) = (shown(&only.owner), path_text(&only.path));
            return format!("Apply failed with 1 conflict: conflict with {owner}: {path}");
        }
        let mut lines = Vec::new();
        let mut owners: Vec<&Entry> = self.0.iter().map(|conflict| &conflict.owner).collect();
        owners.sort_by_key(|owner| owner.identity());
        owners.dedup();
        for owner in owners {
            lines.push(format!("conflicts with {}:", shown(owner)));
            let own = self.0.iter().filter(|conflict| conflict.owner == *owner);
            lines.extend(own.map(|conflict| format!("- {}", path_text(&conflict.path))));
        }
        format!("Apply failed with {} conflicts: {}", self.0.len(), lines.join("\n"))
    }
}

fn shown(owner: &Entry) -> String {
    let mut text = crate::status::quote(&owner.manager);
    if !owner.subresource.is_empty() {
        text += &format!(" with subresource {}", crate::status::quote(&owner.subresource));
    }
    if !owner.applied {
        text += &format!(" using {}", owner.api_version);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_owners_as_upstream_does() {
        let owner = |manager: &str, applied: bool, subresource: &str| Entry {
            manager: manager.into(),
            applied,
            api_version: "apps/v1".into(),
            subresource: subresource.into(),
            ..Entry::default()
        };
        let fields = FieldSet::from_fields_v1(&json!({"f:spec": {"f:replicas": {}}})).unwrap();
        let mut conflicts = Conflicts::default();
        conflicts.add(&owner("mgr", false, ""), &fields);
        expect_test::expect![[r#"Apply failed with 1 conflict: conflict with "mgr" using apps/v1: .spec.replicas"#]]
            .assert_eq(&conflicts.to_status().message);
        conflicts.add(&owner("other", true, "scale"), &fields);
        expect_test::expect![[r#"
            Apply failed with 2 conflicts: conflicts with "mgr" using apps/v1:
            - .spec.replicas
            conflicts with "other" with subresource "scale":
            - .spec.replicas"#]]
        .assert_eq(&conflicts.to_status().message);
    }
}
