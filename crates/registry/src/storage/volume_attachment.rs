//! VolumeAttachments.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

use crate::at::At;
use crate::cells::{name, text};
use crate::strategy::{Column, Strategy};

pub struct VolumeAttachment;

impl Strategy for VolumeAttachment {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, attachment: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(attachment).at("spec");
        crate::pod_spec::driver_name(&spec.at("attacher"), &mut errors);
        spec.at("nodeName").follows(&mut errors, is_dns1123_subdomain);
        let source = spec.at("source");
        let given = ["inlineVolumeSpec", "persistentVolumeName"].iter().filter(|name| source.at(name).present());
        match given.count() {
            0 => {
                errors.required(&source.path, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
            }
            1 if source.at("persistentVolumeName").value == "" => {
                errors.required(
                    &source.path.child("persistentVolumeName"),
                    "must specify non empty persistentVolumeName",
                );
            }
            1 => {}
            _ => source.invalid(&mut errors, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"),
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        if new["spec"] != old["spec"] {
            At::root(new).at("spec").invalid(&mut errors, "field is immutable");
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::new("Attacher", "string", "name", 0),
                Column::text("PV"),
                Column::text("Node"),
                Column::of("Attached", "boolean"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, attachment: &Value, now: i64) -> Vec<Value> {
        vec![
            name(attachment),
            text(attachment, "/spec/attacher").into(),
            text(attachment, "/spec/source/persistentVolumeName").into(),
            text(attachment, "/spec/nodeName").into(),
            (attachment.pointer("/status/attached") == Some(&Value::Bool(true))).into(),
            table::age(attachment, now),
        ]
    }
}
