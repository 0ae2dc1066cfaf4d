//! ServiceAccounts.

use apimachinery::table;
use serde_json::Value;

use crate::cells::name;
use crate::strategy::{Column, Strategy};

pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::AGE] }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![name(object), table::age(object, now)]
    }
}
