//! Deployments.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use super::rolling::{int_or_percent, is_zero, not_over_100_percent};
use crate::at::At;
use crate::cells::{containers, int, name, selector};
use crate::counts;
use crate::defaults::{object, present, set};
use crate::pod_spec;
use crate::strategy::{Column, ScalePaths, Strategy, keep_all_but_status_and_metadata, keep_metadata};

pub struct Deployment;

impl Strategy for Deployment {
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
        keep_metadata(new, old, "labels");
    }

    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["spec", "metadata.labels"],
            _ => &[],
        }
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        pod_spec::workload_warnings(&At::root(new), old, "spec.template", true)
    }

    fn default(&self, deployment: &mut Value) {
        let Some(spec) = object(deployment, "spec") else { return };
        set(spec, "replicas", 1);
        set(spec, "revisionHistoryLimit", 10);
        set(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = object(spec, "strategy") {
            set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate"
                && let Some(rolling) = object(strategy, "rollingUpdate")
            {
                set(rolling, "maxUnavailable", "25%");
                set(rolling, "maxSurge", "25%");
            }
        }
        if let Some(template) = present(spec, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, deployment: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(deployment).at("spec");
        spec.at("replicas").not_negative(&mut errors);
        if pod_spec::validate_selector(&spec, "deployment", &mut errors) {
            pod_spec::validate_lasting_template(&spec.at("template"), "ReplicaSet", &mut errors);
        }
        strategy(&spec.at("strategy"), &mut errors);
        spec.at("minReadySeconds").not_negative(&mut errors);
        spec.at("revisionHistoryLimit").not_negative(&mut errors);
        deadline(&spec, &mut errors);
        errors
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
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
        ];
        counts::not_negative(&status, &fields, &mut errors);
        counts::at_most(
            &status,
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
            "replicas",
            "status.replicas",
            &mut errors,
        );
        counts::at_most(&status, &["availableReplicas"], "readyReplicas", "readyReplicas", &mut errors);
        counts::collisions(&status, old, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Annotations move it too: they are copied to the replica sets.
    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        let annotations = |object: &Value| object.pointer("/metadata/annotations").cloned();
        old["spec"] != new["spec"] || annotations(old) != annotations(new)
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Ready"),
                Column::text("Up-to-date"),
                Column::text("Available"),
                Column::AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, deployment: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(deployment, "/spec/template/spec");
        let ready = format!("{}/{}", int(deployment, "/status/readyReplicas"), int(deployment, "/spec/replicas"));
        vec![
            name(deployment),
            ready.into(),
            int(deployment, "/status/updatedReplicas").into(),
            int(deployment, "/status/availableReplicas").into(),
            table::age(deployment, now),
            names.into(),
            images.into(),
            selector(deployment.pointer("/spec/selector")).into(),
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

fn strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "Recreate" => {
            if rolling.present() {
                errors.forbidden(&rolling.path, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => errors.not_supported(&strategy.path, strategy.value.clone(), &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &At<'_>, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    int_or_percent(&unavailable, errors);
    int_or_percent(&surge, errors);
    not_over_100_percent(&unavailable, errors);
    if is_zero(unavailable.value) && is_zero(surge.value) {
        unavailable.invalid(errors, "may not be 0 when `maxSurge` is 0");
    }
}

fn deadline(spec: &At<'_>, errors: &mut ErrorList) {
    let deadline = spec.at("progressDeadlineSeconds");
    deadline.not_negative(errors);
    let ready = spec.at("minReadySeconds").int().unwrap_or_default();
    if deadline.int().is_some_and(|seconds| seconds <= ready) {
        deadline.invalid(errors, "must be greater than minReadySeconds");
    }
}
