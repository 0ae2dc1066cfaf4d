//! PodTemplates.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{containers, name};
use crate::pod_spec;
use crate::strategy::{Column, Strategy};

pub struct PodTemplate;

impl Strategy for PodTemplate {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        pod_spec::workload_warnings(&At::root(new), old, "template", false)
    }

    fn default(&self, object: &mut Value) {
        if let Some(template) = crate::defaults::object(object, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let policies = ["Always", "OnFailure", "Never"];
        pod_spec::validate_template(&At::root(object).at("template"), &policies, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        old["template"] != new["template"]
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Containers"), Column::text("Images"), Column::text("Pod Labels")] }
    }

    fn row(&self, object: &Value, _now: i64) -> Vec<Value> {
        let (names, images) = containers(object, "/template/spec");
        let labels = table::labels(object.pointer("/template/metadata/labels"));
        vec![name(object), names.into(), images.into(), labels.into()]
    }
}
