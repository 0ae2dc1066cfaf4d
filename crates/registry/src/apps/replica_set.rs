//! ReplicaSets.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{containers, int, name, selector};
use crate::counts;
use crate::defaults::{object, present, set};
use crate::pod_spec;
use crate::strategy::{Column, ScalePaths, Strategy};

pub struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        pod_spec::workload_warnings(&At::root(new), old, "spec.template", true)
    }

    fn default(&self, replica_set: &mut Value) {
        let Some(spec) = object(replica_set, "spec") else { return };
        set(spec, "replicas", 1);
        if let Some(template) = present(spec, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, replica_set: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(replica_set).at("spec");
        spec.at("replicas").not_negative(&mut errors);
        spec.at("minReadySeconds").not_negative(&mut errors);
        if pod_spec::validate_selector(&spec, "deployment", &mut errors) {
            pod_spec::validate_lasting_template(&spec.at("template"), "ReplicaSet", &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        At::root(new).to("spec.selector").immutable(&mut errors, &old["spec"]["selector"]);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        counts::replicas(&At::root(new).at("status"))
    }

    fn has_generation(&self) -> bool {
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
            selector(object.pointer("/spec/selector")).into(),
        ]
    }

    fn scale(&self) -> Option<ScalePaths<'_>> {
        Some(ScalePaths {
            spec_replicas: "/spec/replicas",
            status_replicas: "/status/replicas",
            selector: "/spec/selector",
        })
    }
}
