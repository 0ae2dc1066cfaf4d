//! ControllerRevisions.

use apimachinery::field::ErrorList;
use apimachinery::{object, table};
use serde_json::Value;

use crate::at::At;
use crate::cells::{int, name};
use crate::strategy::{Column, Strategy};

pub struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate(&self, revision: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(revision);
        if !root.at("data").present() {
            errors.required(&root.at("data").path, "data is mandatory");
        }
        root.at("revision").not_negative(&mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        At::root(new).at("data").immutable(&mut errors, &old["data"]);
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Controller"), Column::text("Revision"), Column::AGE] }
    }

    fn row(&self, revision: &Value, now: i64) -> Vec<Value> {
        let controller = object::controller_of(revision).map_or("<none>".to_owned(), |owner| {
            let group = owner.group();
            let kind = owner.kind.to_lowercase();
            if group.is_empty() { format!("{kind}/{}", owner.name) } else { format!("{kind}.{group}/{}", owner.name) }
        });
        vec![name(revision), controller.into(), int(revision, "/revision").into(), table::age(revision, now)]
    }
}
