//! ServiceCIDRs.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::validate_cidr;
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, name, or};
use crate::strategy::{Column, Strategy};

pub struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn validate(&self, cidr: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let cidrs = At::root(cidr).to("spec.cidrs");
        cidrs.required(&mut errors, "at least one CIDR required");
        for cidr in cidrs.items() {
            errors.append(validate_cidr(&cidr.path, cidr.text()));
        }
        if cidrs.items().len() > 2 {
            cidrs.invalid(&mut errors, "may only hold up to 2 values");
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let before = old.pointer("/spec/cidrs").unwrap_or(&Value::Null);
        At::root(new).to("spec.cidrs").immutable(&mut errors, before);
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("CIDRs"), Column::AGE] }
    }

    fn row(&self, cidr: &Value, now: i64) -> Vec<Value> {
        let all: Vec<&str> = list(cidr, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
        vec![name(cidr), or(&all.join(","), "<none>").into(), table::age(cidr, now)]
    }
}
