//! Plans, printed.

use std::collections::BTreeMap;

use container::{ContainerState, Exit, ExitReason};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::pods::model::{Busy, Instance};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec })).expect("a pod")
}

fn three(policy: &str) -> Pod {
    pod(json!({
        "restartPolicy": policy,
        "initContainers": [{ "name": "init" }, { "name": "side", "restartPolicy": "Always" }],
        "containers": [{ "name": "main" }],
    }))
}

fn ready() -> Observed {
    Observed { sandbox_ready: true, sandbox_exists: true, volumes_ready: true, ..Default::default() }
}

fn instance(state: ContainerState) -> Option<Instance> {
    Some(Instance {
        id: "i".into(),
        image: String::new(),
        image_ref: String::new(),
        wanted_image: String::new(),
        attempt: 0,
        state,
        message: String::new(),
    })
}

fn running() -> Observation {
    let state = ContainerState::Running { pid: 1, started_at: now() };
    Observation { current: instance(state), started: true, ready: true, ..Default::default() }
}

fn exited(code: i32) -> Observation {
    let exit = Exit {
        code,
        signal: None,
        reason: ExitReason::Error,
        message: String::new(),
        started_at: Some(now()),
        finished_at: now(),
    };
    Observation { current: instance(ContainerState::Exited(exit)), ..Default::default() }
}

fn with(containers: &[(&str, Observation)]) -> Observed {
    let containers = containers.iter().map(|(name, seen)| ((*name).to_owned(), seen.clone()));
    Observed { containers: containers.collect::<BTreeMap<_, _>>(), ..ready() }
}

fn check(pod: &Pod, observed: &Observed, expected: Expect) {
    let plan = plan_pod(pod, observed, now());
    let mut text: Vec<String> = plan.actions.iter().map(|action| format!("{action:?}")).collect();
    text.extend(plan.wake_at.map(|at| format!("wake in {}s", at.duration_since(now()).as_secs())));
    expected.assert_eq(&text.join("; "));
}

#[test]
fn volumes_come_before_the_sandbox_and_both_before_containers() {
    let pod = three("Always");
    check(&pod, &Observed::default(), expect!["MountVolumes"]);
    check(&pod, &Observed { volumes_ready: true, ..Default::default() }, expect!["CreateSandbox"]);
    check(&pod, &ready(), expect![[r#"StartContainer { name: "init" }"#]]);
}

#[test]
fn init_containers_run_in_order_and_a_sidecar_goes_on() {
    let pod = three("Always");
    check(&pod, &with(&[("init", running())]), expect![""]);
    check(&pod, &with(&[("init", exited(0))]), expect![[r#"StartContainer { name: "side" }"#]]);
    let starting = Observation { started: false, ..running() };
    check(&pod, &with(&[("init", exited(0)), ("side", starting)]), expect![""]);
    check(&pod, &with(&[("init", exited(0)), ("side", running())]), expect![[r#"StartContainer { name: "main" }"#]]);
}

#[test]
fn a_dead_sidecar_is_restarted_beside_the_main_container() {
    let seen = with(&[("init", exited(0)), ("side", exited(1)), ("main", running())]);
    check(&three("Never"), &seen, expect![[r#"StartContainer { name: "side" }"#]]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    assert!(is_complete(&three("Never"), &with(&[("init", exited(1))])));
    assert!(!is_complete(&three("Always"), &with(&[("init", exited(1))])));
}

#[test]
fn a_crashed_container_waits_after_its_first_restart() {
    let pod = pod(json!({ "containers": [{ "name": "main" }] }));
    check(&pod, &with(&[("main", exited(1))]), expect![[r#"StartContainer { name: "main" }"#]]);
    let mut seen = exited(1);
    seen.backoff.restarted(now());
    check(&pod, &with(&[("main", seen)]), expect!["wake in 10s"]);
}

#[test]
fn completed_main_containers_stop_the_sidecars_and_then_all_is_torn_down() {
    let pod = three("OnFailure");
    let seen = with(&[("init", exited(0)), ("side", running()), ("main", exited(0))]);
    check(&pod, &seen, expect![[r#"StopContainer { name: "side", reason: Ending }"#]]);
    let mut seen = with(&[("init", exited(0)), ("side", exited(0)), ("main", exited(0))]);
    check(&pod, &seen, expect![""]);
    seen.final_status_written = true;
    check(&pod, &seen, expect!["TearDown"]);
}

#[test]
fn a_deleted_pod_stops_mains_then_sidecars_and_is_deleted_last() {
    let mut pod = three("Always");
    pod.metadata.deletion_timestamp = Some(api::metav1::Time(now()));
    let mut seen = with(&[("init", exited(0)), ("side", running()), ("main", running())]);
    check(&pod, &seen, expect![[r#"StopContainer { name: "main", reason: Ending }"#]]);
    seen.containers.insert("main".into(), Observation { busy: Some(Busy::Stopping), ..running() });
    check(&pod, &seen, expect![""]);
    seen.containers.insert("main".into(), exited(143));
    check(&pod, &seen, expect![[r#"StopContainer { name: "side", reason: Ending }"#]]);
    seen.containers.insert("side".into(), exited(143));
    check(&pod, &seen, expect![""]);
    seen.final_status_written = true;
    check(&pod, &seen, expect!["TearDown"]);
    (seen.sandbox_exists, seen.sandbox_ready, seen.volumes_ready) = (false, false, false);
    check(&pod, &seen, expect!["Delete"]);
}

#[test]
fn an_unhealthy_container_is_stopped_once() {
    let pod = pod(json!({ "containers": [{ "name": "main" }] }));
    let mut seen = Observation { unhealthy: Some("failed liveness probe".into()), ..running() };
    check(
        &pod,
        &with(&[("main", seen.clone())]),
        expect![[r#"StopContainer { name: "main", reason: Unhealthy("failed liveness probe") }"#]],
    );
    seen.busy = Some(Busy::Stopping);
    check(&pod, &with(&[("main", seen)]), expect![""]);
}

#[test]
fn a_pod_past_its_deadline_is_ended() {
    let pod = pod(json!({ "activeDeadlineSeconds": 30, "containers": [{ "name": "main" }] }));
    let mut seen = with(&[("main", running())]);
    seen.first_seen = Some(now() - SignedDuration::from_secs(20));
    check(&pod, &seen, expect!["wake in 10s"]);
    seen.first_seen = Some(now() - SignedDuration::from_secs(30));
    check(&pod, &seen, expect!["ExceedDeadline"]);
}

#[test]
fn a_rejected_pod_starts_nothing() {
    let failure = crate::pods::model::Failure { reason: "OutOfcpu".into(), message: String::new() };
    let seen = Observed { failed: Some(failure), final_status_written: true, ..Default::default() };
    check(&three("Always"), &seen, expect![""]);
}

#[test]
fn a_tear_down_that_failed_is_tried_again_later() {
    let mut pod = pod(json!({ "containers": [{ "name": "main" }] }));
    pod.metadata.deletion_timestamp = Some(api::metav1::Time(now()));
    let retry_at = Some(now() + SignedDuration::from_secs(2));
    let mut seen = Observed { final_status_written: true, tear_down_retry_at: retry_at, ..ready() };
    check(&pod, &seen, expect!["wake in 2s"]);
    seen.tear_down_retry_at = Some(now());
    check(&pod, &seen, expect!["TearDown"]);
}

#[test]
fn a_pod_is_over_when_the_api_has_forgotten_it_and_nothing_is_left_here() {
    let mut seen = Observed { ending: true, ..ready() };
    assert!(!is_over(&seen));
    (seen.sandbox_exists, seen.volumes_ready) = (false, false);
    assert!(is_over(&seen), "as of a pod that was never let in");
    seen.containers.insert("main".into(), running());
    assert!(!is_over(&seen));
    seen.containers.clear();
    seen.ending = false;
    assert!(!is_over(&seen));
}

fn looked_into(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "p", "uid": "u" },
        "spec": {
            "initContainers": [{ "name": "init" }],
            "containers": [{ "name": "main" }],
            "ephemeralContainers": [{ "name": "look", "targetContainerName": "main" }],
        },
        "status": status,
    }))
    .expect("a pod")
}

#[test]
fn an_ephemeral_container_is_started_once_and_waits_for_no_init_container() {
    let pod = looked_into(json!({}));
    check(&pod, &with(&[("init", running())]), expect![[r#"StartContainer { name: "look" }"#]]);
    let main = [("init", exited(0)), ("main", running())];
    let with_look = |look: Observation| with(&[main[0].clone(), main[1].clone(), ("look", look)]);
    check(&pod, &with(&main), expect![[r#"StartContainer { name: "look" }"#]]);
    check(&pod, &with_look(running()), expect![""]);
    check(&pod, &with_look(exited(1)), expect![""]);
}

#[test]
fn an_ephemeral_container_that_only_the_api_remembers_is_not_started_again() {
    let terminated = json!({ "terminated": { "exitCode": 0 } });
    let pod = looked_into(json!({ "ephemeralContainerStatuses": [
        { "name": "look", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "containerID": "coracle://x",
          "state": terminated },
    ] }));
    check(&pod, &with(&[("init", exited(0)), ("main", running())]), expect![""]);
}

#[test]
fn an_ephemeral_container_ends_with_its_pod_and_does_not_keep_it() {
    let mut pod = looked_into(json!({}));
    pod.spec.as_mut().expect("a spec").restart_policy = Some("Never".into());
    let seen = with(&[("init", exited(0)), ("main", exited(0)), ("look", running())]);
    check(&pod, &seen, expect![[r#"StopContainer { name: "look", reason: Ending }"#]]);
}

#[test]
fn a_container_whose_image_the_pod_changed_is_stopped_and_starts_again_whatever_its_policy() {
    let pod = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "new" }] }));
    let of = |image: &str, mut seen: Observation| {
        seen.current.as_mut().expect("an instance").wanted_image = image.into();
        with(&[("main", seen)])
    };
    check(&pod, &of("new", running()), expect![""]);
    check(&pod, &of("", running()), expect![""]);
    check(&pod, &of("old", running()), expect![[r#"StopContainer { name: "main", reason: Outdated }"#]]);
    let stopped = Observation { replaced: true, ..exited(143) };
    check(&pod, &of("old", stopped), expect![[r#"StartContainer { name: "main" }"#]]);
    check(&pod, &of("old", exited(143)), expect![""]);
}
