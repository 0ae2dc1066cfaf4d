//! DaemonSets.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use super::rolling::{int_or_percent, is_zero, not_over_100_percent};
use crate::at::At;
use crate::cells::{containers, int, name, selector};
use crate::counts;
use crate::defaults::{object, present, set};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, keep_all_but_status_and_metadata, keep_status, reset_status};

/// How often the template changed. Older versions of the kind had a field for it; clients see an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(daemon_set: &Value) -> i64 {
    let annotation = &daemon_set["metadata"]["annotations"][TEMPLATE_GENERATION];
    annotation.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(daemon_set: &mut Value, generation: i64) {
    let annotations = &mut daemon_set["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    annotations[TEMPLATE_GENERATION] = generation.to_string().into();
}

pub struct DaemonSet;

impl Strategy for DaemonSet {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        pod_spec::workload_warnings(&At::root(new), old, "spec.template", false)
    }

    fn default(&self, daemon_set: &mut Value) {
        let given = template_generation(daemon_set);
        set_template_generation(daemon_set, given);
        let Some(spec) = object(daemon_set, "spec") else { return };
        set(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = object(spec, "updateStrategy") {
            set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate"
                && let Some(rolling) = object(strategy, "rollingUpdate")
            {
                set(rolling, "maxUnavailable", 1);
                set(rolling, "maxSurge", 0);
            }
        }
        if let Some(template) = present(spec, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, daemon_set: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(daemon_set).at("spec");
        pod_spec::validate_selector(&spec, "daemonset", &mut errors);
        pod_spec::validate_lasting_template(&spec.at("template"), "DaemonSet", &mut errors);
        spec.at("minReadySeconds").not_negative(&mut errors);
        spec.at("revisionHistoryLimit").not_negative(&mut errors);
        update_strategy(&spec.at("updateStrategy"), &mut errors);
        errors
    }

    fn prepare_for_create(&self, new: &mut Value, _: &Context<'_>) {
        reset_status(new);
        let given = template_generation(new);
        set_template_generation(new, given.max(1));
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        keep_status(new, old);
        let before = template_generation(old);
        let moved = new.pointer("/spec/template") != old.pointer("/spec/template");
        set_template_generation(new, before + i64::from(moved));
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
        set_template_generation(new, template_generation(old));
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        At::root(new).to("spec.selector").immutable(&mut errors, &old["spec"]["selector"]);
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        let fields = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ];
        counts::not_negative(&status, &fields, &mut errors);
        counts::collisions(&status, old, &mut errors);
        errors
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
                Column::of("Up-to-date", "integer"),
                Column::of("Available", "integer"),
                Column::text("Node Selector"),
                Column::AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(object, "/spec/template/spec");
        let count = |field: &str| Value::from(int(object, &format!("/status/{field}")));
        vec![
            name(object),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            table::labels(object.pointer("/spec/template/spec/nodeSelector")).into(),
            table::age(object, now),
            names.into(),
            images.into(),
            selector(object.pointer("/spec/selector")).into(),
        ]
    }
}

fn update_strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    match strategy.at("type").text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.at("rollingUpdate");
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            for at in [&unavailable, &surge] {
                int_or_percent(at, errors);
                not_over_100_percent(at, errors);
            }
            match (is_zero(unavailable.value), is_zero(surge.value)) {
                (true, true) => errors.required(&unavailable.path, "cannot be 0 when maxSurge is 0"),
                (false, false) => surge.invalid(errors, "may not be set when maxUnavailable is non-zero"),
                _ => {}
            }
        }
        _ => errors.not_supported(&strategy.path, strategy.value.clone(), &["OnDelete", "RollingUpdate"]),
    }
}
