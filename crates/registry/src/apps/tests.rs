//! What is wrong with workloads: an object in, its causes out.

use apimachinery::field::ErrorList;
use serde_json::{Value, json};

use super::{ControllerRevision, DaemonSet, Deployment, StatefulSet};
use crate::strategy::{NameRule, Strategy};

/// A workload with one label and one container, whose spec has `more`.
fn workload(strategy: &dyn Strategy, more: &[(&str, Value)]) -> Value {
    let mut object = json!({
        "metadata": {"name": "w", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "w"}},
            "template": {
                "metadata": {"labels": {"app": "w"}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]},
            },
        },
    });
    more.iter().for_each(|(name, value)| object["spec"][*name] = value.clone());
    strategy.default(&mut object);
    object
}

fn causes(errors: &ErrorList) -> Vec<String> {
    let reason =
        |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
    errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
}

fn check(strategy: &dyn Strategy, more: &[(&str, Value)], expected: &[&str]) {
    assert_eq!(causes(&strategy.validate(&workload(strategy, more))), expected);
}

#[test]
fn without_a_selector_the_template_is_not_selected_either() {
    let none = [("selector", Value::Null)];
    let labels = "spec.template.metadata.labels Invalid";
    check(&Deployment, &none, &["spec.selector Required", labels]);
    check(&StatefulSet, &none, &["spec.selector Required", labels]);
    check(&DaemonSet, &none, &[labels]);
    check(&Deployment, &[("selector", json!({}))], &["spec.selector Invalid"]);
}

#[test]
fn what_is_no_percentage_counts_as_nothing() {
    let rolling = |unavailable: Value, surge: Value| {
        [("strategy", json!({"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}))]
    };
    let unavailable = "spec.strategy.rollingUpdate.maxUnavailable Invalid";
    check(&Deployment, &rolling("abc".into(), 0.into()), &[unavailable, unavailable]);
    check(&Deployment, &rolling("25%".into(), "abc".into()), &["spec.strategy.rollingUpdate.maxSurge Invalid"]);
    check(&Deployment, &rolling("101%".into(), 0.into()), &[unavailable]);
}

#[test]
fn a_stateful_set_is_named_like_a_host() {
    assert_eq!(StatefulSet.name_rule(), NameRule::DnsLabel);
    let named = [("serviceName", "a.b".into())];
    check(&StatefulSet, &named, &["spec.serviceName Invalid"]);
    let old = workload(&StatefulSet, &named);
    assert_eq!(causes(&StatefulSet.validate_update(&old, &old)), [""; 0]);
    check(&StatefulSet, &[("revisionHistoryLimit", (-1).into())], &[]);
    check(&StatefulSet, &[("podManagementPolicy", "Sorted".into())], &["spec.podManagementPolicy Invalid"]);
}

#[test]
fn a_revision_may_keep_an_empty_object() {
    assert_eq!(causes(&ControllerRevision.validate(&json!({"data": {}, "revision": 1}))), [""; 0]);
    assert_eq!(causes(&ControllerRevision.validate(&json!({"revision": -1}))), ["data Required", "revision Invalid"]);
}
