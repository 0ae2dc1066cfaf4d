//! CSINodes.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;
use crate::cells::{count, name};
use crate::strategy::{Column, Strategy};

pub struct CsiNode;

const NODE_ID_MAX: usize = 192;

impl Strategy for CsiNode {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, node: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let drivers = At::root(node).to("spec.drivers");
        for driver in drivers.items() {
            crate::pod_spec::driver_name(&driver.at("name"), &mut errors);
            let id = driver.at("nodeID");
            if id.required(&mut errors, "") && id.text().len() > NODE_ID_MAX {
                id.invalid(&mut errors, &format!("must be {NODE_ID_MAX} characters or less"));
            }
            driver.to("allocatable.count").not_negative(&mut errors);
            for key in driver.at("topologyKeys").items() {
                key.follows(&mut errors, is_qualified_name);
            }
            crate::at::duplicates(&mut errors, driver.at("topologyKeys").items());
        }
        crate::at::duplicates(&mut errors, drivers.items().iter().map(|driver| driver.at("name")));
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Drivers", "integer"), Column::AGE] }
    }

    fn row(&self, node: &Value, now: i64) -> Vec<Value> {
        vec![name(node), count(node, "/spec/drivers"), table::age(node, now)]
    }
}
