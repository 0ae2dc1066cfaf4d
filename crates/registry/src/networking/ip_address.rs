//! IPAddresses.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{is_dns1123_subdomain, is_path_segment_name};
use serde_json::Value;

use crate::at::At;
use crate::cells::{name, or, text};
use crate::strategy::{Column, NameRule, Strategy};

pub struct IpAddress;

impl Strategy for IpAddress {
    fn validate(&self, address: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let parent = At::root(address).to("spec.parentRef");
        if !parent.present() {
            errors.required(&parent.path, "");
            return errors;
        }
        let group = parent.at("group");
        if !group.empty() {
            group.follows(&mut errors, is_dns1123_subdomain);
        }
        for field in ["resource", "name"] {
            if parent.at(field).required(&mut errors, "") {
                parent.at(field).follows(&mut errors, is_path_segment_name);
            }
        }
        parent.at("namespace").follows(&mut errors, is_path_segment_name);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let before = old.pointer("/spec/parentRef").unwrap_or(&Value::Null);
        At::root(new).to("spec.parentRef").immutable(&mut errors, before);
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Ip
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("ParentRef"), Column::AGE] }
    }

    fn row(&self, address: &Value, now: i64) -> Vec<Value> {
        let parent = &address["spec"]["parentRef"];
        let (group, resource) = (text(parent, "/group"), text(parent, "/resource"));
        let kind = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }.to_lowercase();
        let parts: Vec<&str> = [kind.as_str(), text(parent, "/namespace"), text(parent, "/name")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        vec![name(address), or(&parts.join("/"), "<none>").into(), table::age(address, now)]
    }
}
