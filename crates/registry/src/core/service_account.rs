//! ServiceAccounts.

use apimachinery::table;
use serde_json::Value;

use crate::cells::name;
use crate::strategy::{Column, Strategy};

pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";
        let has = |account: &Value| account["metadata"]["annotations"].get(ANNOTATION).is_some();
        if !has(new) || old.is_some_and(has) {
            return Vec::new();
        }
        let why = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        vec![format!("metadata.annotations[{ANNOTATION}]: {why}")]
    }

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
