//! StatefulSets.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_dns1123_label;
use serde_json::{Value, json};

use super::rolling::{int_or_percent, is_zero, not_over_100_percent};
use crate::at::At;
use crate::cells::{containers, int, name};
use crate::core::{default_claim, validate_claim_spec};
use crate::counts;
use crate::defaults::{items, object, present, set};
use crate::pod_spec;
use crate::strategy::{Column, NameRule, ScalePaths, Strategy};

pub struct StatefulSet;

const CHANGEABLE: [&str; 9] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "volumeClaimTemplates",
    "serviceName",
];

impl Strategy for StatefulSet {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let root = At::root(new);
        let mut warnings = pod_spec::workload_warnings(&root, old, "spec.template", false);
        if root.to("spec.revisionHistoryLimit").int().is_some_and(|limit| limit < 0) {
            let why = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {why}"));
        }
        warnings
    }

    fn default(&self, stateful_set: &mut Value) {
        let Some(spec) = object(stateful_set, "spec") else { return };
        set(spec, "podManagementPolicy", "OrderedReady");
        set(spec, "replicas", 1);
        set(spec, "revisionHistoryLimit", 10);
        update_strategy_defaults(spec);
        if let Some(policy) = object(spec, "persistentVolumeClaimRetentionPolicy") {
            set(policy, "whenDeleted", "Retain");
            set(policy, "whenScaled", "Retain");
        }
        for claim in items(spec, "volumeClaimTemplates") {
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
            default_claim(claim);
            claim["status"] = json!({"phase": "Pending"});
        }
        if let Some(template) = present(spec, "template") {
            pod_spec::default_template(template);
        }
    }

    fn validate(&self, stateful_set: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(stateful_set).at("spec");
        rules(&spec, &mut errors);
        let service = spec.at("serviceName");
        if !service.empty() {
            service.follows(&mut errors, is_dns1123_label);
        }
        errors
    }

    /// A service's name that is none was let in by an older server.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        rules(&At::root(new).at("spec"), &mut errors);
        let fixed = |object: &Value| -> Vec<(String, Value)> {
            let fields = object["spec"].as_object().into_iter().flatten();
            let fixed = fields.filter(|(name, _)| !CHANGEABLE[..7].contains(&name.as_str()));
            fixed.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if fixed(new) != fixed(old) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                          'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                          'minReadySeconds' are forbidden";
            errors.forbidden(&apimachinery::field::Path::new("spec"), detail);
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        let fields = [
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
        ];
        counts::not_negative(&status, &fields, &mut errors);
        counts::at_most(
            &status,
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            "replicas",
            "status.replicas",
            &mut errors,
        );
        counts::at_most(&status, &["availableReplicas"], "readyReplicas", "status.readyReplicas", &mut errors);
        counts::collisions(&status, old, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// The name is part of the names of hosts.
    fn name_rule(&self) -> NameRule {
        NameRule::DnsLabel
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Ready"), Column::AGE, Column::wide("Containers"), Column::wide("Images")] }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(object, "/spec/template/spec");
        let ready = format!("{}/{}", int(object, "/status/readyReplicas"), int(object, "/spec/replicas"));
        vec![name(object), ready.into(), table::age(object, now), names.into(), images.into()]
    }

    fn scale(&self) -> Option<ScalePaths<'_>> {
        Some(ScalePaths {
            spec_replicas: "/spec/replicas",
            status_replicas: "/status/replicas",
            selector: "/spec/selector",
        })
    }
}

/// What holds of every spec, new or changed.
fn rules(spec: &At<'_>, errors: &mut ErrorList) {
    let management = spec.at("podManagementPolicy");
    if management.required(errors, "") && !["OrderedReady", "Parallel"].contains(&management.text()) {
        management.invalid(errors, "must be 'OrderedReady' or 'Parallel'");
    }
    update_strategy(&spec.at("updateStrategy"), errors);
    for name in ["whenDeleted", "whenScaled"] {
        spec.at("persistentVolumeClaimRetentionPolicy").at(name).one_of(errors, &["Delete", "Retain"]);
    }
    spec.at("replicas").not_negative(errors);
    spec.at("minReadySeconds").not_negative(errors);
    spec.to("ordinals.start").not_negative(errors);
    if pod_spec::validate_selector(spec, "statefulset", errors) {
        let template = with_claims(spec);
        let template = At { value: &template, path: spec.path.child("template") };
        pod_spec::validate_lasting_template(&template, "StatefulSet", errors);
    }
    for claim in spec.at("volumeClaimTemplates").items() {
        validate_claim_spec(&claim.at("spec"), errors);
    }
}

fn update_strategy_defaults(spec: &mut Value) {
    let Some(strategy) = object(spec, "updateStrategy") else { return };
    if crate::defaults::lacks(strategy, "type") {
        strategy["type"] = "RollingUpdate".into();
        object(strategy, "rollingUpdate");
    }
    if let Some(rolling) = present(strategy, "rollingUpdate") {
        set(rolling, "partition", 0);
    }
}

fn update_strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "" => errors.required(&strategy.path, ""),
        "OnDelete" => {
            if rolling.present() {
                rolling.invalid(errors, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            rolling.at("partition").not_negative(errors);
            let unavailable = rolling.at("maxUnavailable");
            if unavailable.present() {
                int_or_percent(&unavailable, errors);
                not_over_100_percent(&unavailable, errors);
                if is_zero(unavailable.value) {
                    unavailable.invalid(errors, "cannot be 0");
                }
            }
        }
        _ => strategy.invalid(errors, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// The template as the pods will have it: each claim template becomes a volume that containers may mount.
fn with_claims(spec: &At<'_>) -> Value {
    let mut template = spec.at("template").value.clone();
    let Some(pod) = present(&mut template, "spec") else { return template };
    let mut volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    for claim in spec.at("volumeClaimTemplates").items() {
        let name = claim.to("metadata.name").text();
        if !name.is_empty() && !volumes.iter().any(|volume| volume["name"] == name) {
            volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        }
    }
    if !volumes.is_empty() {
        pod["volumes"] = volumes.into();
    }
    template
}
