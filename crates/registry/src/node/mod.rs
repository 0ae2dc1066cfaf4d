//! The group `node.k8s.io`.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_dns1123_label;
use apimachinery::validation::object_meta::labels;
use serde_json::Value;

use crate::at::At;
use crate::cells::{name, text};
use crate::strategy::{Column, Strategy};

/// RuntimeClasses.
pub struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let selector = At::root(new).to("scheduling.nodeSelector");
        let labels = selector.entries().into_iter().filter_map(|(label, _)| crate::pod_spec::old_node_label(label));
        labels.map(|why| format!("{}: {why}", selector.path)).collect()
    }

    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(class);
        let handler = root.at("handler");
        if handler.required(&mut errors, "") {
            handler.follows(&mut errors, is_dns1123_label);
        }
        let overhead = At { value: root.to("overhead.podFixed").value, path: root.path.child("overhead") };
        crate::pod_spec::overhead(&overhead, &mut errors);
        let selector = root.to("scheduling.nodeSelector");
        errors.append(labels(selector.value, &selector.path));
        let tolerations = root.to("scheduling.tolerations");
        crate::pod_spec::tolerations(&tolerations, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        At::root(new).at("handler").immutable(&mut errors, &old["handler"]);
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Handler"), Column::AGE] }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        vec![name(class), text(class, "/handler").into(), table::age(class, now)]
    }
}
