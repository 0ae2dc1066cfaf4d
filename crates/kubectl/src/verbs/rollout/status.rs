//! `rollout status`: waits for a rollout to be done, and says how far it is.

use serde_json::Value;

use super::{SELECTOR, kind, objects};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Call, FILENAME_FLAGS, Info, Watcher};
use crate::session::{FOREVER, Session};

pub const COMMAND: Command = Command {
    name: "status",
    about: "Show the status of the rollout",
    usage: "(TYPE NAME | TYPE/NAME) [flags] [options]",
    flags: &[FILENAME_FLAGS, SELECTOR, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::number("revision", "0", "Pin to a specific revision for showing its status. Defaults to 0 (last revision)."),
    Flag::new("timeout", Kind::Duration, "The length of time to wait before ending watch, zero means never.").or("0s"),
    Flag::switch("watch", "Watch the status of the rollout until it's done.").short('w').or("true"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let (infos, mut failures) = objects(session, &parsed).await?;
    if infos.is_empty() && failures.is_empty() {
        session.streams.note(format!("No resources found in {} namespace.", session.namespace()));
    }
    let timeout = Some(parsed.duration("timeout")).filter(|timeout| !timeout.is_zero()).unwrap_or(FOREVER);
    for info in infos {
        let following = follow(session, &parsed, &info);
        let followed = tokio::time::timeout(timeout, following)
            .await
            .unwrap_or_else(|_| fail!("timed out waiting for the condition"));
        failures.extend(followed.err());
    }
    Failure::all(failures)
}

async fn follow(session: &Session, parsed: &Parsed, info: &Info) -> Result<(), Failure> {
    let client = session.client()?;
    let mut object = info.object.clone();
    loop {
        if show(session, parsed, info, &object)? || !parsed.on("watch") {
            return Ok(());
        }
        let call = Call::get(info.collection())
            .query("fieldSelector", &format!("metadata.name={}", info.name))
            .query("resourceVersion", apimachinery::object::resource_version(&object));
        let mut watcher = Watcher::start(client, call).await?;
        // A watch that ends, or is too old, is begun anew from the object as it is then.
        while let Ok(Some(event)) = watcher.next().await {
            match event.kind.as_str() {
                "DELETED" => return fail!("object has been deleted"),
                "BOOKMARK" => {}
                _ if show(session, parsed, info, &event.object)? => return Ok(()),
                _ => {}
            }
        }
        object = info.get(client).await?;
    }
}

/// Whether the rollout is done.
fn show(session: &Session, parsed: &Parsed, info: &Info, object: &Value) -> Result<bool, Failure> {
    let (message, done) = match kind(info) {
        ("apps", "Deployment") => deployment(object, parsed.number("revision"))?,
        ("apps", "DaemonSet") => daemon_set(object)?,
        ("apps", "StatefulSet") => stateful_set(object)?,
        _ => return fail!("no status viewer has been implemented for {}", info.mapping.kind),
    };
    session.streams.line(message)?;
    Ok(done)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn is_observed(object: &Value) -> bool {
    number(&object["metadata"]["generation"]) <= number(&object["status"]["observedGeneration"])
}

fn deployment(object: &Value, revision: i64) -> Result<(String, bool), Failure> {
    let name = apimachinery::object::name(object);
    if revision > 0 {
        let own = apimachinery::object::annotation(object, "deployment.kubernetes.io/revision").unwrap_or("0");
        if own.parse() != Ok(revision) {
            return fail!("desired revision ({revision}) is different from the running revision ({own})");
        }
    }
    if !is_observed(object) {
        return Ok(("Waiting for deployment spec update to be observed...".into(), false));
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let progressing = conditions.iter().find(|condition| condition["type"] == "Progressing");
    if progressing.is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        return fail!("deployment {name:?} exceeded its progress deadline");
    }
    let (desired, total) = (number(&spec["replicas"]), number(&status["replicas"]));
    let (updated, available) = (number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    let waiting = |why: String| Ok((format!("Waiting for deployment {name:?} rollout to finish: {why}"), false));
    if updated < desired {
        return waiting(format!("{updated} out of {desired} new replicas have been updated..."));
    }
    if total > updated {
        return waiting(format!("{} old replicas are pending termination...", total - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available..."));
    }
    Ok((format!("deployment {name:?} successfully rolled out"), true))
}

fn daemon_set(object: &Value) -> Result<(String, bool), Failure> {
    if object["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        return fail!("rollout status is only available for RollingUpdate strategy type");
    }
    if !is_observed(object) {
        return Ok(("Waiting for daemon set spec update to be observed...".into(), false));
    }
    let (name, status) = (apimachinery::object::name(object), &object["status"]);
    let desired = number(&status["desiredNumberScheduled"]);
    let (updated, available) = (number(&status["updatedNumberScheduled"]), number(&status["numberAvailable"]));
    let waiting = |why: String| Ok((format!("Waiting for daemon set {name:?} rollout to finish: {why}"), false));
    if updated < desired {
        return waiting(format!("{updated} out of {desired} new pods have been updated..."));
    }
    if available < desired {
        return waiting(format!("{available} of {desired} updated pods are available..."));
    }
    Ok((format!("daemon set {name:?} successfully rolled out"), true))
}

fn stateful_set(object: &Value) -> Result<(String, bool), Failure> {
    let (spec, status) = (&object["spec"], &object["status"]);
    if spec["updateStrategy"]["type"] != "RollingUpdate" {
        return fail!("rollout status is only available for RollingUpdate strategy type");
    }
    if number(&status["observedGeneration"]) == 0 || !is_observed(object) {
        return Ok(("Waiting for statefulset spec update to be observed...".into(), false));
    }
    let (desired, updated) = (number(&spec["replicas"]), number(&status["updatedReplicas"]));
    let unready = desired - number(&status["readyReplicas"]);
    if unready > 0 {
        return Ok((format!("Waiting for {unready} pods to be ready..."), false));
    }
    let partition = number(&spec["updateStrategy"]["rollingUpdate"]["partition"]);
    if partition > 0 {
        let wanted = desired - partition;
        if updated < wanted {
            let why = format!("{updated} out of {wanted} new pods have been updated...");
            return Ok((format!("Waiting for partitioned roll out to finish: {why}"), false));
        }
        return Ok((format!("partitioned roll out complete: {updated} new pods have been updated..."), true));
    }
    let revision = |field: &str| status[field].as_str().unwrap_or_default();
    if revision("updateRevision") != revision("currentRevision") {
        let at = revision("updateRevision");
        return Ok((
            format!("waiting for statefulset rolling update to complete {updated} pods at revision {at}..."),
            false,
        ));
    }
    let (current, at) = (number(&status["currentReplicas"]), revision("currentRevision"));
    Ok((format!("statefulset rolling update complete {current} pods at revision {at}..."), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_is_followed() {
        let said = |status: Value| {
            let object =
                json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status});
            deployment(&object, 0).map_err(|failure| failure.text())
        };
        let waiting = |why: &str| Ok((format!("Waiting for deployment \"web\" rollout to finish: {why}"), false));
        assert_eq!(
            said(json!({"observedGeneration": 1})),
            Ok(("Waiting for deployment spec update to be observed...".into(), false))
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 1})),
            waiting("1 out of 3 new replicas have been updated...")
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4})),
            waiting("1 old replicas are pending termination...")
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3})),
            Ok(("deployment \"web\" successfully rolled out".into(), true))
        );
    }
}
