//! Plans of Jobs, printed; and one Job against an API.

use std::sync::Arc;

use client::Object;
use expect_test::{Expect, expect};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2027-01-15T08:00:00Z";

/// A pod in words: its name, its index, and what became of it.
fn pod(words: &str) -> Arc<Pod> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "finalizers": [pods::FINALIZER],
            "annotations": {}, "creationTimestamp": "2027-01-15T07:00:00Z"},
        "status": {"phase": "Running"},
    });
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("index", index) => {
                pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = index.into()
            }
            ("failures", count) => {
                pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] = count.into()
            }
            ("succeeded", _) => pod["status"]["phase"] = "Succeeded".into(),
            ("failed", _) => pod["status"]["phase"] = "Failed".into(),
            ("deleted", _) => pod["metadata"]["deletionTimestamp"] = NOW.into(),
            ("counted", _) => pod["metadata"]["finalizers"] = json!([]),
            ("ready", _) => pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]),
            other => panic!("{other:?}"),
        }
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn job(spec: Value, status: Value) -> Job {
    let mut job =
        json!({"metadata": {"name": "x", "namespace": "default", "uid": "x"}, "spec": spec, "status": status});
    job["spec"]["template"] = json!({"spec": {"containers": [{"name": "c"}], "restartPolicy": "Never"}});
    serde_json::from_value(job).expect("a job")
}

fn check(spec: Value, status: Value, pods: &[&str], want: Expect) {
    let job = job(spec, status);
    let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
    let now: Timestamp = NOW.parse().expect("a time");
    let (released, backoff) = (HashSet::new(), Backoff::default());
    let seen = Seen { job: &job, pods: &pods, released, caught_up: true, backoff, now };
    let view = View::of(&seen);
    let plan = plan::plan(&view);
    let tracked = track::track(&view, &plan, true);
    let gone = tracked.release.iter().map(|pod| pod.uid().to_owned()).collect();
    let mut status = tracked.status.clone();
    track::settle(&mut status, &track::still_tracked(&view, &gone));
    let last = plan.ending.as_ref().and_then(|ending| track::finish(&mut status, ending, now));
    want.assert_eq(&print(&plan, &tracked, &status, last.as_ref()));
}

fn print(plan: &Plan, tracked: &track::Tracked, status: &JobStatus, last: Option<&JobCondition>) -> String {
    let names = |pods: &[Arc<Pod>]| pods.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>().join(" ");
    let created: Vec<_> = plan.create.iter().filter_map(|pod| pod.metadata.generate_name.clone()).collect();
    let number = |number: Option<i32>| number.unwrap_or(0);
    let conditions: Vec<_> = status
        .conditions
        .iter()
        .flatten()
        .map(|condition| {
            format!("{}={} {}", condition.type_, condition.status, condition.reason.as_deref().unwrap_or_default())
        })
        .collect();
    format!(
        "create [{}] delete [{}] discard [{}] release [{}] again {:?}\nactive {} ready {} terminating {} succeeded {} {:?} failed {} {:?}\n{conditions:?} ends {}",
        created.join(" "),
        names(&plan.delete),
        names(&plan.discard),
        names(&tracked.release),
        plan.check_again,
        number(status.active),
        number(status.ready),
        number(status.terminating),
        number(status.succeeded),
        status.completed_indexes.as_deref().unwrap_or_default(),
        number(status.failed),
        status.failed_indexes.as_deref().unwrap_or_default(),
        last.is_some(),
    )
}

#[test]
fn pods_run_side_by_side_until_enough_have_succeeded() {
    let spec = || json!({"parallelism": 2, "completions": 3, "backoffLimit": 6});
    check(
        spec(),
        json!({}),
        &[],
        expect![[r#"
        create [x- x-] delete [] discard [] release [] again None
        active 2 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
    check(
        spec(),
        json!({"succeeded": 1}),
        &["a counted succeeded", "b succeeded", "c ready"],
        expect![[r#"
        create [] delete [] discard [] release [b] again None
        active 1 ready 1 terminating 0 succeeded 2 "" failed 0 ""
        [] ends false"#]],
    );
    check(
        spec(),
        json!({"succeeded": 1}),
        &["b succeeded", "c succeeded"],
        expect![[r#"
        create [] delete [] discard [] release [b c] again None
        active 0 ready 0 terminating 0 succeeded 3 "" failed 0 ""
        ["SuccessCriteriaMet=True CompletionsReached", "Complete=True CompletionsReached"] ends true"#]],
    );
}

#[test]
fn too_many_pods_are_discarded_without_counting() {
    check(
        json!({"parallelism": 1, "completions": 5}),
        json!({}),
        &["a ready", "b", "c"],
        expect![[r#"
        create [] delete [] discard [b c] release [] again None
        active 1 ready 1 terminating 2 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
    check(
        json!({"parallelism": 2, "completions": 5, "suspend": true}),
        json!({"startTime": NOW}),
        &["a", "b"],
        expect![[r#"
            create [] delete [] discard [a b] release [] again None
            active 0 ready 0 terminating 2 succeeded 0 "" failed 0 ""
            ["Suspended=True JobSuspended"] ends false"#]],
    );
}

#[test]
fn a_failed_pod_counts_and_is_waited_for() {
    let failed_now = "a failed";
    check(
        json!({"parallelism": 1, "completions": 1, "backoffLimit": 6}),
        json!({}),
        &[failed_now],
        expect![[r#"
        create [x-] delete [] discard [] release [a] again None
        active 1 ready 0 terminating 0 succeeded 0 "" failed 1 ""
        [] ends false"#]],
    );
    check(
        json!({"parallelism": 2, "completions": 2, "backoffLimit": 0}),
        json!({}),
        &[failed_now, "b"],
        expect![[r#"
        create [] delete [b] discard [] release [a b] again None
        active 0 ready 0 terminating 1 succeeded 0 "" failed 2 ""
        ["FailureTarget=True BackoffLimitExceeded"] ends false"#]],
    );
    let waits = json!({"parallelism": 1, "completions": 1, "podReplacementPolicy": "Failed"});
    check(
        waits,
        json!({}),
        &["a deleted"],
        expect![[r#"
        create [] delete [] discard [] release [] again None
        active 0 ready 0 terminating 1 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
}

#[test]
fn a_job_is_active_no_longer_than_it_may() {
    let spec = |seconds: i64| json!({"parallelism": 1, "completions": 1, "activeDeadlineSeconds": seconds});
    check(
        spec(60),
        json!({"startTime": "2027-01-15T07:59:30Z"}),
        &["a"],
        expect![[r#"
        create [] delete [] discard [] release [] again Some(30s)
        active 1 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
    check(
        spec(10),
        json!({"startTime": "2027-01-15T07:59:30Z"}),
        &["a"],
        expect![[r#"
        create [] delete [a] discard [] release [a] again None
        active 0 ready 0 terminating 1 succeeded 0 "" failed 1 ""
        ["FailureTarget=True DeadlineExceeded"] ends false"#]],
    );
}

#[test]
fn indexes_are_done_one_by_one() {
    let spec = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"});
    check(
        spec.clone(),
        json!({"completedIndexes": "0", "succeeded": 1}),
        &["a index=1 succeeded", "b index=2", "c index=2 ready"],
        expect![[r#"
            create [] delete [] discard [b] release [a] again None
            active 1 ready 1 terminating 1 succeeded 2 "0,1" failed 0 ""
            [] ends false"#]],
    );
    check(
        spec,
        json!({"completedIndexes": "0"}),
        &["a index=1"],
        expect![[r#"
        create [x-2-] delete [] discard [] release [] again None
        active 2 ready 0 terminating 0 succeeded 1 "0" failed 0 ""
        [] ends false"#]],
    );
}

#[test]
fn an_index_that_fails_too_often_fails_alone() {
    let spec = json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1});
    check(
        spec.clone(),
        json!({}),
        &["a index=0 failed", "b index=1"],
        expect![[r#"
        create [x-0-] delete [] discard [] release [] again None
        active 2 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
    check(
        spec.clone(),
        json!({}),
        &["a index=0 failed failures=1", "b index=1"],
        expect![[r#"
        create [] delete [] discard [] release [a] again None
        active 1 ready 0 terminating 0 succeeded 0 "" failed 1 "0"
        [] ends false"#]],
    );
    check(
        spec,
        json!({"failedIndexes": "0", "completedIndexes": "1"}),
        &[],
        expect![[r#"
        create [] delete [] discard [] release [] again None
        active 0 ready 0 terminating 0 succeeded 1 "1" failed 0 "0"
        ["FailureTarget=True FailedIndexes", "Failed=True FailedIndexes"] ends true"#]],
    );
}

#[test]
fn enough_indexes_end_the_job() {
    let spec = json!({"parallelism": 3, "completions": 3, "completionMode": "Indexed", "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    check(
        spec,
        json!({}),
        &["a index=0 succeeded", "b index=1", "c index=2 ready"],
        expect![[r#"
        create [] delete [b c] discard [] release [a b c] again None
        active 0 ready 0 terminating 2 succeeded 1 "0" failed 0 ""
        ["SuccessCriteriaMet=True SuccessPolicy"] ends false"#]],
    );
}

#[test]
fn a_policy_ends_the_job_or_forgives_the_pod() {
    let spec = |action: &str| {
        let pattern = json!([{"type": "Ready", "status": "True"}]);
        let rule = json!({"action": action, "onPodConditions": pattern});
        json!({"parallelism": 1, "completions": 1, "backoffLimit": 0, "podFailurePolicy": {"rules": [rule]}})
    };
    check(
        spec("FailJob"),
        json!({}),
        &["a ready failed"],
        expect![[r#"
        create [] delete [] discard [] release [a] again None
        active 0 ready 0 terminating 0 succeeded 0 "" failed 1 ""
        ["FailureTarget=True PodFailurePolicy", "Failed=True PodFailurePolicy"] ends true"#]],
    );
    check(
        spec("Ignore"),
        json!({}),
        &["a ready failed"],
        expect![[r#"
        create [x-] delete [] discard [] release [a] again None
        active 1 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        [] ends false"#]],
    );
}

#[test]
fn a_suspended_job_says_so_and_begins_anew() {
    check(
        json!({"parallelism": 1, "completions": 1, "suspend": true}),
        json!({}),
        &[],
        expect![[r#"
        create [] delete [] discard [] release [] again None
        active 0 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        ["Suspended=True JobSuspended"] ends false"#]],
    );
    let suspended = json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]});
    check(
        json!({"parallelism": 1, "completions": 1}),
        suspended,
        &[],
        expect![[r#"
        create [x-] delete [] discard [] release [] again None
        active 1 ready 0 terminating 0 succeeded 0 "" failed 0 ""
        ["Suspended=False JobResumed"] ends false"#]],
    );
}

#[tokio::test]
async fn a_pod_is_noted_before_it_is_let_go_and_counted_after() {
    use testkit::FakeApi;
    let (api, tasks) = (FakeApi::new(), rt::TaskSet::new());
    let spec = json!({"parallelism": 1, "completions": 1, "selector": {"matchLabels": {"job": "x"}}, "template": {"metadata": {"labels": {"job": "x"}}}});
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    api.put(jobs, json!({"metadata": {"name": "x", "namespace": "default", "uid": "x"}, "spec": spec}));
    let client = api.client();
    start(&Context {
        informers: controller_runtime::Informers::new(&client, &tasks),
        client_for: Arc::new(move |_: &str| client.clone()),
        tasks: tasks.clone(),
        clock: Arc::new(rt::SystemClock),
        config: Arc::default(),
    });
    let pods = "/api/v1/namespaces/default/pods";
    let mut pod = api.wait_for(pods, |pod| pod["metadata"]["finalizers"] == json!([pods::FINALIZER])).await;
    pod["status"] = json!({"phase": "Succeeded"});
    let (before, path) = (api.revision(), format!("{jobs}/x"));
    api.put(pods, pod);
    api.wait(&path, |job| job.is_some_and(|job| job.pointer("/status/completionTime").is_some())).await;
    let noted = |job: &Value| job.pointer("/status/uncountedTerminatedPods/succeeded").is_some();
    let states = api.since(before, &path);
    assert!(states.iter().any(|job| noted(job) && job.pointer("/status/succeeded").is_none()), "{states:?}");
    let last = states.last().expect("a state");
    assert_eq!((noted(last), &last["status"]["succeeded"]), (false, &json!(1)));
    tasks.shutdown().await;
}
