//! Statuses, printed.

use container::{Exit, ExitReason};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u" }, "spec": spec }))
        .expect("a pod")
}

fn instance(state: ContainerState) -> Observation {
    let current = Instance {
        id: "i".into(),
        image: "img".into(),
        image_ref: "ref".into(),
        wanted_image: String::new(),
        attempt: 0,
        state,
        message: String::new(),
    };
    Observation { current: Some(current), ..Default::default() }
}

fn running(ready: bool) -> Observation {
    Observation { started: true, ready, ..instance(ContainerState::Running { pid: 1, started_at: now() }) }
}

fn exited(code: i32) -> Observation {
    let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
    let exit = Exit { code, signal: None, reason, message: String::new(), started_at: Some(now()), finished_at: now() };
    instance(ContainerState::Exited(exit))
}

fn with(containers: &[(&str, Observation)]) -> Observed {
    let containers = containers.iter().map(|(name, seen)| ((*name).to_owned(), seen.clone())).collect();
    Observed { sandbox_ready: true, containers, ..Default::default() }
}

fn state_text(state: &ApiState) -> String {
    match (&state.waiting, &state.running, &state.terminated) {
        (Some(waiting), _, _) => waiting.reason.clone().unwrap_or_default(),
        (_, Some(_), _) => "running".to_owned(),
        (_, _, Some(terminated)) => {
            format!("{}({})", terminated.reason.as_deref().unwrap_or_default(), terminated.exit_code)
        }
        _ => "-".to_owned(),
    }
}

fn check(pod: &Pod, observed: &Observed, expected: Expect) {
    let status = plan_status(pod, observed, now());
    let mut text = vec![status.phase.clone().expect("a phase")];
    for list in [&status.init_container_statuses, &status.container_statuses] {
        for container in list.iter().flatten() {
            let last = container.last_state.as_ref().map(state_text).unwrap_or_default();
            let ready = if container.ready { "ready" } else { "unready" };
            text.push(format!(
                "{} {} {last} {ready}",
                container.name,
                state_text(container.state.as_ref().expect("a state"))
            ));
        }
    }
    let holding = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
    text.push(holding.map(|condition| condition.type_.clone()).collect::<Vec<_>>().join(" "));
    expected.assert_eq(&text.join("; "));
}

#[test]
fn a_new_pod_is_pending() {
    let pod = pod(json!({ "containers": [{ "name": "main" }] }));
    check(&pod, &Observed::default(), expect!["Pending; main ContainerCreating - unready; Initialized PodScheduled"]);
}

#[test]
fn a_running_pod_is_ready_when_its_containers_are() {
    let pod = pod(json!({ "containers": [{ "name": "main" }] }));
    check(
        &pod,
        &with(&[("main", running(true))]),
        expect![
            "Running; main running - ready; PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled"
        ],
    );
    check(
        &pod,
        &with(&[("main", running(false))]),
        expect!["Running; main running - unready; PodReadyToStartContainers Initialized PodScheduled"],
    );
}

#[test]
fn main_containers_wait_for_the_init_containers() {
    let pod = pod(json!({ "initContainers": [{ "name": "init" }], "containers": [{ "name": "main" }] }));
    check(
        &pod,
        &with(&[("init", running(false))]),
        expect![
            "Pending; init running - unready; main PodInitializing - unready; PodReadyToStartContainers PodScheduled"
        ],
    );
    check(
        &pod,
        &with(&[("init", exited(0))]),
        expect![
            "Pending; init Completed(0) - ready; main ContainerCreating - unready; PodReadyToStartContainers Initialized PodScheduled"
        ],
    );
}

#[test]
fn a_crash_loop_shows_the_last_end() {
    let pod = pod(json!({ "containers": [{ "name": "main" }] }));
    let mut seen = exited(1);
    seen.backoff.restarted(now());
    let observed = with(&[("main", seen.clone())]);
    check(
        &pod,
        &observed,
        expect!["Running; main CrashLoopBackOff Error(1) unready; PodReadyToStartContainers Initialized PodScheduled"],
    );
    assert_eq!(crash_message(&pod, "main", &seen, now()), "back-off 10s restarting failed container=main pod=p_ns(u)");
}

#[test]
fn a_pod_that_never_restarts_succeeds_or_fails() {
    let pod = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "main" }] }));
    check(
        &pod,
        &with(&[("main", exited(0))]),
        expect!["Succeeded; main Completed(0) - unready; PodReadyToStartContainers Initialized PodScheduled"],
    );
    check(
        &pod,
        &with(&[("main", exited(2))]),
        expect!["Failed; main Error(2) - unready; PodReadyToStartContainers Initialized PodScheduled"],
    );
}

#[test]
fn a_readiness_gate_holds_the_pod_back() {
    let pod = pod(json!({ "readinessGates": [{ "conditionType": "x/y" }], "containers": [{ "name": "main" }] }));
    let status = plan_status(&pod, &with(&[("main", running(true))]), now());
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").expect("a condition");
    assert_eq!(ready.message.as_deref(), Some("corresponding condition of pod readiness gate \"x/y\" does not exist."));
}

#[test]
fn the_same_status_is_not_written_twice() {
    let mut pod = pod(json!({ "containers": [{ "name": "main" }] }));
    let observed = with(&[("main", running(true))]);
    let status = plan_status(&pod, &observed, now());
    assert!(differs(&pod, &status));
    pod.status = Some(status);
    let later = now() + jiff::SignedDuration::from_secs(60);
    assert!(!differs(&pod, &plan_status(&pod, &observed, later)));
}
