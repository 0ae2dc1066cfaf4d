//! What is wrong with jobs: an object in, its causes out.

use serde_json::{Value, json};

use super::Job;
use crate::strategy::Strategy;

fn check(more: &[(&str, Value)], expected: &[&str]) {
    let mut job = json!({
        "metadata": {"name": "j", "namespace": "default", "uid": "u"},
        "spec": {
            "manualSelector": true,
            "selector": {"matchLabels": {"app": "j"}},
            "template": {
                "metadata": {"labels": {"app": "j"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]},
            },
        },
    });
    more.iter().for_each(|(name, value)| job["spec"][*name] = value.clone());
    Job.default(&mut job);
    let errors = Job.validate(&job);
    let reason =
        |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
    let causes: Vec<String> = errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect();
    assert_eq!(causes, expected);
}

#[test]
fn many_indexes_have_limits() {
    let indexed = |more: &[(&'static str, Value)]| -> Vec<(&'static str, Value)> {
        let base = [("completionMode", "Indexed".into()), ("completions", 5.into())];
        base.into_iter().chain(more.iter().cloned()).collect()
    };
    let failed = |count: i64| [("backoffLimitPerIndex", 1.into()), ("maxFailedIndexes", count.into())];
    check(&indexed(&failed(6)), &["spec.maxFailedIndexes Invalid"]);
    check(
        &indexed(&[
            ("completions", 100_001.into()),
            ("backoffLimitPerIndex", 1.into()),
            ("parallelism", 10_001.into()),
        ]),
        &["spec.maxFailedIndexes Required", "spec.parallelism Invalid"],
    );
    check(&[("managedBy", "me".into())], &["spec.managedBy Invalid"]);
}

#[test]
fn a_success_policy_names_indexes_of_the_job() {
    let policy = |mode: &str, rule: Value| {
        [("completionMode", mode.into()), ("completions", 3.into()), ("successPolicy", json!({"rules": [rule]}))]
    };
    check(&policy("NonIndexed", json!({})), &["spec.successPolicy Invalid"]);
    check(&policy("Indexed", json!({})), &["spec.successPolicy.rules[0] Required"]);
    check(
        &policy("Indexed", json!({"succeededIndexes": "0-5"})),
        &["spec.successPolicy.rules[0].succeededIndexes Invalid"],
    );
    check(
        &policy("Indexed", json!({"succeededIndexes": "0", "succeededCount": 2})),
        &["spec.successPolicy.rules[0].succeededCount Invalid"],
    );
}
