//! Ends one container: preStop hook, signal, grace, kill.

use std::sync::Arc;
use std::time::Duration;

use container::ContainerConfig;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::context::{Context, pod_reference};
use crate::hooks;
use crate::pods::ephemeral::find_container;
use crate::start::Place;

/// After a preStop hook that took all the time, the process still gets this much.
const GRACE_AFTER_HOOK: SignedDuration = SignedDuration::from_secs(2);
/// A killed process that does not end is looked at again this often; only the kernel knows why.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// `deadline` may move earlier while this runs. `ended` turns true when the container has.
pub struct Stop {
    pub place: Place,
    pub config: ContainerConfig,
    pub deadline: watch::Receiver<Timestamp>,
    pub ended: watch::Receiver<bool>,
    pub message: String,
}

pub async fn stop(context: Arc<Context>, mut stop: Stop) {
    let about = pod_reference(&stop.place.pod, Some(&stop.config.name));
    context.recorder.normal(&about, "Killing", stop.message.clone());
    run_hook(&context, &mut stop, &about).await;
    signal(&context, &stop, signal_number(&stop.config.stop_signal)).await;
    if !wait_for_end(&context, &mut stop).await {
        loop {
            signal(&context, &stop, libc::SIGKILL).await;
            let ended = stop.ended.wait_for(|ended| *ended);
            if tokio::time::timeout(KILL_AGAIN, ended).await.is_ok() {
                return;
            }
        }
    }
}

async fn run_hook(context: &Context, stop: &mut Stop, about: &api::corev1::ObjectReference) {
    let Some((_, container)) = find_container(&stop.place.pod, &stop.config.name) else { return };
    let has_hook = container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
    if !has_hook || *stop.ended.borrow() {
        return;
    }
    let mut deadline = stop.deadline.clone();
    let hook = hooks::pre_stop(context, &stop.place, &container, &stop.config.id);
    let result = tokio::select! {
        result = hook => result,
        () = reached(context, &mut deadline, SignedDuration::ZERO) => {
            Err("PreStopHook failed: the grace period ended before the hook".to_owned())
        }
    };
    if let Err(message) = result {
        context.recorder.warning(about, "FailedPreStopHook", message);
    }
}

/// True if it ended by itself before the deadline.
async fn wait_for_end(context: &Context, stop: &mut Stop) -> bool {
    let (_, container) = match find_container(&stop.place.pod, &stop.config.name) {
        Some(found) => found,
        None => return false,
    };
    let has_hook = container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
    let least = if has_hook { GRACE_AFTER_HOOK } else { SignedDuration::ZERO };
    let mut deadline = stop.deadline.clone();
    tokio::select! {
        ended = stop.ended.wait_for(|ended| *ended) => ended.is_ok(),
        () = reached(context, &mut deadline, least) => false,
    }
}

/// Sleeps until the deadline, wherever it moves, but at least `least` from now.
async fn reached(context: &Context, deadline: &mut watch::Receiver<Timestamp>, least: SignedDuration) {
    let floor = context.clock.now() + least;
    loop {
        let until = (*deadline.borrow_and_update()).max(floor);
        let pause = Duration::try_from(until.duration_since(context.clock.now())).unwrap_or(Duration::ZERO);
        tokio::select! {
            () = tokio::time::sleep(pause) => return,
            changed = deadline.changed() => if changed.is_err() {
                tokio::time::sleep(pause).await;
                return;
            },
        }
    }
}

/// Ends a pod of which nothing is known but its sandbox: a signal, and what is usual of grace.
pub async fn stop_forgotten(context: &Context, sandbox: &container::SandboxStatus) {
    const GRACE: Duration = Duration::from_secs(30);
    let uid = &sandbox.config.uid;
    let mut events = context.runtime.subscribe();
    for running in sandbox.containers.iter().filter(|container| container.state.is_running()) {
        let number = signal_number(&running.config.stop_signal);
        let _ = context.runtime.kill_container(uid, &running.config.id, number).await;
    }
    let all_ended = async {
        while let Ok(Some(status)) = context.runtime.status(uid).await {
            if !status.containers.iter().any(|container| container.state.is_running()) {
                return;
            }
            let _ = events.recv().await;
        }
    };
    // What is left then is killed with the sandbox.
    let _ = tokio::time::timeout(GRACE, all_ended).await;
}

async fn signal(context: &Context, stop: &Stop, number: i32) {
    let sent = context.runtime.kill_container(&stop.config.sandbox, &stop.config.id, number).await;
    if let Err(error) = sent {
        tracing::warn!(pod = stop.config.sandbox, container = stop.config.name, %error, "container was not signalled");
    }
}

/// `SIGTERM`, `TERM`, `15`.
pub fn signal_number(name: &str) -> i32 {
    if let Ok(number) = name.parse() {
        return number;
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some(offset) = full
        .strip_prefix("SIGRTMIN")
        .and_then(|rest| rest.trim_start_matches('+').parse::<i32>().ok().or(rest.is_empty().then_some(0)))
    {
        return libc::SIGRTMIN() + offset;
    }
    full.parse::<nix::sys::signal::Signal>().map_or(libc::SIGTERM, |signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let check = signal_number;
        assert_eq!([check("SIGTERM"), check("quit"), check("9"), check("nonsense")], [15, 3, 9, 15]);
        assert_eq!(check("SIGRTMIN+3"), libc::SIGRTMIN() + 3);
    }
}
