//! VolumeAttributesClasses.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::Value;

use super::parameters;
use crate::at::At;
use crate::cells::text;
use crate::strategy::{Column, Strategy};

pub struct VolumeAttributesClass;

const DEFAULT_CLASS: &str = "/metadata/annotations/volumeattributesclass.alpha.kubernetes.io~1is-default-class";

impl Strategy for VolumeAttributesClass {
    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(class);
        parameters::provisioner(&root.at("driverName"), &mut errors);
        parameters::validate(&root.at("parameters"), &mut errors);
        root.at("parameters").required(&mut errors, "must contain at least one key/value pair");
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        if new["driverName"] != old["driverName"] {
            errors.forbidden(&Path::new("driverName"), "updates to driverName are forbidden.");
        }
        if new["parameters"] != old["parameters"] {
            errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
        }
        errors.append(self.validate(new));
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("DriverName"), Column::AGE] }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        let default = text(class, DEFAULT_CLASS) == "true";
        let shown = format!("{}{}", text(class, "/metadata/name"), if default { " (default)" } else { "" });
        vec![shown.into(), text(class, "/driverName").into(), table::age(class, now)]
    }
}
