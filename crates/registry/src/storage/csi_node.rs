//! CSINodes.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{count, name};
use crate::strategy::{Column, Strategy};

pub struct CsiNode;

impl Strategy for CsiNode {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, node: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let drivers = At::root(node).to("spec.drivers");
        for driver in drivers.items() {
            driver.at("name").required(&mut errors, "");
            driver.at("nodeID").required(&mut errors, "");
        }
        crate::at::duplicates(&mut errors, drivers.items().iter().map(|driver| driver.at("name")));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const { &[Column::NAME, Column::of("Drivers", "integer"), Column::AGE] }
    }

    fn row(&self, node: &Value, now: i64) -> Vec<Value> {
        vec![name(node), count(node, "/spec/drivers"), table::age(node, now)]
    }
}
