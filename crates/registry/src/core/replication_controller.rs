//! ReplicationControllers.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{containers, int, name};
use crate::defaults::set;
use crate::pod_spec;
use crate::strategy::{Column, ScalePaths, Strategy};

pub struct ReplicationController;

impl Strategy for ReplicationController {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        pod_spec::workload_warnings(&At::root(new), old, "spec.template", true)
    }

    fn default(&self, object: &mut Value) {
        let labels = object.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object()).cloned();
        if let Some(labels) = labels {
            let metadata = apimachinery::object::metadata_mut(object);
            metadata.entry("labels").or_insert_with(|| labels.clone());
            if object.pointer("/spec/selector").is_none_or(|selector| selector.is_null() || *selector == json!({})) {
                object["spec"]["selector"] = labels;
            }
        }
        let Some(spec) = crate::defaults::object(object, "spec") else { return };
        set(spec, "replicas", 1);
        if let Some(template) = crate::defaults::present(spec, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(object).at("spec");
        spec.at("minReadySeconds").not_negative(&mut errors);
        let selector = spec.at("selector");
        selector.required(&mut errors, "");
        spec.at("replicas").not_negative(&mut errors);
        let template = spec.at("template");
        if !template.required(&mut errors, "") {
            return errors;
        }
        let labels = template.to("metadata.labels");
        let parsed = apimachinery::labels::Selector::from_map(Some(selector.value));
        if !selector.empty() && !parsed.matches(labels.value.as_object()) {
            labels.invalid(&mut errors, "`selector` does not match template `labels`");
        }
        pod_spec::validate_lasting_template(&template, "ReplicationController", &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        crate::counts::replicas(&At::root(new).at("status"))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::of("Desired", "integer"),
                Column::of("Current", "integer"),
                Column::of("Ready", "integer"),
                Column::AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(object, "/spec/template/spec");
        vec![
            name(object),
            int(object, "/spec/replicas").into(),
            int(object, "/status/replicas").into(),
            int(object, "/status/readyReplicas").into(),
            table::age(object, now),
            names.into(),
            images.into(),
            table::labels(object.pointer("/spec/selector")).into(),
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(object, "/status/replicas").to_string())]
    }

    fn scale(&self) -> Option<ScalePaths<'_>> {
        Some(ScalePaths {
            spec_replicas: "/spec/replicas",
            status_replicas: "/status/replicas",
            selector: "/spec/selector",
        })
    }
}
