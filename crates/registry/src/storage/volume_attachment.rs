//! VolumeAttachments.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::table;
use apimachinery::validation::{is_dns1123_subdomain, range_error};
use serde_json::Value;

use super::parameters::bytes_at_most;
use crate::at::At;
use crate::cells::{name, text};
use crate::core::{VolumePlace, validate_volume_spec};
use crate::strategy::{Column, Strategy, keep_all_but_the_status};

pub struct VolumeAttachment;

impl Strategy for VolumeAttachment {
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_the_status(new, old);
    }

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
        let mut errors = rules(attachment);
        // Old versions of the API were not so strict.
        let spec = At::root(attachment).at("spec");
        if !spec.at("attacher").empty() {
            crate::pod_spec::driver_name(&spec.at("attacher"), &mut errors);
        }
        let volume = spec.to("source.persistentVolumeName");
        if volume.present() {
            volume.follows(&mut errors, is_dns1123_subdomain);
        }
        errors
    }

    /// Upstream judges a change twice.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = rules(new);
        errors.append(rules(new));
        if new["spec"] != old["spec"] {
            At::root(new).at("spec").invalid(&mut errors, "field is immutable");
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        self.validate_update(new, old)
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

const METADATA_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

fn rules(attachment: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::root(attachment).at("spec");
    spec.at("attacher").required(&mut errors, "");
    source(&spec.at("source"), &mut errors);
    spec.at("nodeName").follows(&mut errors, is_dns1123_subdomain);
    status(&At::root(attachment).at("status"), &mut errors);
    errors
}

fn source(source: &At<'_>, errors: &mut ErrorList) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let name = source.at("persistentVolumeName");
    match (source.at("inlineVolumeSpec").present(), name.present()) {
        (false, false) => errors.required(&source.path, ONE),
        (true, true) => errors.forbidden(&source.path, ONE),
        (false, true) => drop(name.required(errors, "must specify non empty persistentVolumeName")),
        (true, false) => validate_volume_spec(&source.at("inlineVolumeSpec"), VolumePlace::Inline, errors),
    }
}

fn status(status: &At<'_>, errors: &mut ErrorList) {
    bytes_at_most(&status.at("attachmentMetadata"), METADATA_MAX, errors);
    for field in ["attachError", "detachError"] {
        let (message, code) = (status.at(field).at("message"), status.at(field).at("errorCode"));
        if message.text().len() > MESSAGE_MAX {
            errors.push(FieldError::too_long(&message.path, METADATA_MAX));
        }
        if code.int().is_some_and(|code| code < 0) {
            code.invalid(errors, &range_error(0, i64::from(i32::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attachment_names_one_volume() {
        for (source, expected) in [
            (json!({}), vec!["FieldValueRequired spec.source"]),
            (json!({"persistentVolumeName": "a", "inlineVolumeSpec": {}}), vec!["FieldValueForbidden spec.source"]),
            (json!({"persistentVolumeName": "A"}), vec!["FieldValueInvalid spec.source.persistentVolumeName"]),
            (
                json!({"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d.io", "volumeHandle": "h"}}}),
                vec![],
            ),
            (
                json!({"inlineVolumeSpec": {
                    "capacity": {"storage": "1Gi"}, "storageClassName": "c", "volumeMode": "Block",
                    "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/x"}, "nodeAffinity": {},
                }}),
                vec![
                    "FieldValueForbidden spec.source.inlineVolumeSpec.capacity",
                    "FieldValueRequired spec.source.inlineVolumeSpec.csi",
                    "FieldValueRequired spec.source.inlineVolumeSpec.accessModes",
                    "FieldValueForbidden spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy",
                    "FieldValueForbidden spec.source.inlineVolumeSpec.nodeAffinity",
                    "FieldValueForbidden spec.source.inlineVolumeSpec.storageClassName",
                    "FieldValueForbidden spec.source.inlineVolumeSpec.volumeMode",
                ],
            ),
        ] {
            let attachment = json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": source}});
            let errors = VolumeAttachment.validate(&attachment);
            let found: Vec<_> = errors.iter().map(|e| format!("{} {}", e.kind.reason(), e.field)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_status_is_judged_where_it_is_written() {
        let old = json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
        let mut new = old.clone();
        new["status"] = json!({"attachError": {"message": "x".repeat(2000), "errorCode": -1}});
        let errors = VolumeAttachment.validate_status_update(&new, &old);
        let found: Vec<_> = errors.iter().map(|e| format!("{} {}", e.kind.reason(), e.field)).collect();
        let once = ["FieldValueTooLong status.attachError.message", "FieldValueInvalid status.attachError.errorCode"];
        assert_eq!(found, [once, once].concat());
    }
}
