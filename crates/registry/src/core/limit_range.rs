//! LimitRanges.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::{At, duplicates};
use crate::cells::{created_at, name};
use crate::defaults::{items, object, set};
use crate::strategy::{Column, Strategy};

pub struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, limit_range: &mut Value) {
        let Some(spec) = object(limit_range, "spec") else { return };
        items(spec, "limits").filter(|item| item["type"] == "Container").for_each(default_item);
    }

    fn validate(&self, limit_range: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let limits = At::root(limit_range).to("spec.limits");
        duplicates(&mut errors, limits.items().iter().map(|item| item.at("type")));
        limits.items().iter().for_each(|item| validate_item(item, &mut errors));
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Created At", "date")] }
    }

    fn row(&self, object: &Value, _now: i64) -> Vec<Value> {
        vec![name(object), created_at(object)]
    }
}

/// A limit is the default, the default is the default request, and so is the minimum.
fn default_item(item: &mut Value) {
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let Some(source) = item.get(from).and_then(Value::as_object).cloned() else { continue };
        let Some(target) = object(item, to) else { continue };
        for (name, quantity) in source {
            set(target, &name, quantity);
        }
    }
}

fn validate_item(item: &At<'_>, errors: &mut ErrorList) {
    let kind = item.at("type");
    let known = ["Container", "Pod", "PersistentVolumeClaim"].contains(&kind.text());
    kind.follows(errors, is_qualified_name);
    if !known && !kind.text().contains('/') && !kind.empty() {
        kind.invalid(errors, "must be a standard limit type or fully qualified");
    }
    if kind.text() == "Pod" {
        for name in ["default", "defaultRequest"] {
            if !item.at(name).empty() {
                errors.forbidden(&item.path.child(name), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    let names = ["max", "min", "default", "defaultRequest"];
    let mut keys: Vec<&str> = names.iter().flat_map(|name| item.at(name).entries()).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.iter().for_each(|key| order(item, key, errors));
}

fn order(item: &At<'_>, key: &str, errors: &mut ErrorList) {
    let amount = |name: &str| item.at(name).value.get(key).map(Quantity::of);
    let (min, request, default, max) = (amount("min"), amount("defaultRequest"), amount("default"), amount("max"));
    let mut check = |low: (&str, Option<Quantity>), high: (&str, Option<Quantity>), blame: &str| {
        if let (Some(small), Some(large)) = (low.1, high.1)
            && small > large
        {
            let at = item.path.child(blame).key(key);
            let value = item.at(blame).value[key].clone();
            errors.invalid(&at, value, format!("{} value {small} is greater than {} value {large}", low.0, high.0));
        }
    };
    check(("min", min), ("max", max), "min");
    check(("default request", request), ("max", max), "defaultRequest");
    check(("default request", request), ("default limit", default), "defaultRequest");
    check(("default", default), ("max", max), "default");
    check(("min", min), ("default request", request), "defaultRequest");
    check(("min", min), ("default", default), "default");
}
