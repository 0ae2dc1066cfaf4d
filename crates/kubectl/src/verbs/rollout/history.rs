//! `rollout history` and `rollout undo` of deployments: the templates of their replica sets.

use serde_json::{Map, Value, json};

use super::{SELECTOR, kind, objects};
use crate::command::{Command, runs};
use crate::describe::describe_template;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Call, FILENAME_FLAGS, Info, Patch};
use crate::print::{OUTPUT_FLAGS, TabWriter};
use crate::remote::selector_text;
use crate::session::Session;
use crate::verbs::apply::LAST_APPLIED;
use crate::verbs::writing::{self, DryRun, Writing};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations that belong to a replica set or to the file, not to the template.
const OWN_ANNOTATIONS: [&str; 6] = [
    LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

pub const HISTORY: Command = Command {
    name: "history",
    about: "View rollout history",
    usage: "(TYPE NAME | TYPE/NAME) [flags] [options]",
    flags: &[
        FILENAME_FLAGS,
        SELECTOR,
        &[Flag::number("revision", "0", "See the details, including podTemplate of the revision specified")],
    ],
    run: runs!(history),
    ..Command::EMPTY
};

pub const UNDO: Command = Command {
    name: "undo",
    about: "Undo a previous rollout",
    usage: "(TYPE NAME | TYPE/NAME) [flags] [options]",
    flags: &[
        OUTPUT_FLAGS,
        FILENAME_FLAGS,
        SELECTOR,
        writing::FLAGS,
        &[Flag::number("to-revision", "0", "The revision to rollback to. Default to 0 (last revision).")],
    ],
    run: runs!(undo),
    ..Command::EMPTY
};

fn revision(object: &Value) -> i64 {
    apimachinery::object::annotation(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The replica sets of a deployment, by revision.
async fn revisions(session: &Session, info: &Info) -> Result<Vec<Value>, Failure> {
    let mapping = session.catalog().await?.resource("replicasets.apps")?;
    let call = Call::get(mapping.collection(&info.namespace))
        .query("labelSelector", &selector_text(&info.object["spec"]["selector"]));
    let mut list = call.value(session.client()?).await?;
    let Value::Array(mut sets) = list["items"].take() else { return Ok(Vec::new()) };
    let uid = apimachinery::object::uid(&info.object);
    sets.retain(|set| apimachinery::object::controller_of(set).is_some_and(|owner| owner.uid == uid));
    sets.sort_by_key(revision);
    Ok(sets)
}

fn check_kind(info: &Info, what: &str) -> Result<(), Failure> {
    if kind(info) == ("apps", "Deployment") {
        return Ok(());
    }
    fail!("no {what} has been implemented for {:?}", info.mapping.kind)
}

async fn history(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let (infos, mut failures) = objects(session, &parsed).await?;
    for info in infos {
        failures.extend(history_of(session, &info, parsed.number("revision")).await.err());
    }
    Failure::all(failures)
}

async fn history_of(session: &Session, info: &Info, wanted: i64) -> Result<(), Failure> {
    check_kind(info, "history viewer")?;
    let sets = revisions(session, info).await?;
    let cause = |set: &Value| apimachinery::object::annotation(set, CHANGE_CAUSE).map(str::to_owned);
    if wanted > 0 {
        let Some(set) = sets.iter().find(|set| revision(set) == wanted) else {
            return fail!("unable to find the specified revision");
        };
        let mut template = set["spec"]["template"].clone();
        if let Some(cause) = cause(set) {
            template["metadata"]["annotations"][CHANGE_CAUSE] = cause.into();
        }
        let text = describe_template(&template);
        return session.streams.print(format!("{} with revision #{wanted}\n{text}\n", info.title()));
    }
    let mut writer = TabWriter::history();
    writer.write("REVISION\tCHANGE-CAUSE\n");
    for set in &sets {
        writer.write(&format!("{}\t{}\n", revision(set), cause(set).unwrap_or("<none>".into())));
    }
    session.streams.print(format!("{} \n{}\n", info.title(), writer.flush()))
}

async fn undo(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut writing = Writing::of(session, &parsed, "kubectl-rollout")?;
    let (infos, mut failures) = objects(session, &parsed).await?;
    for info in infos {
        let undone = undo_one(session, &writing, &info, parsed.number("to-revision")).await;
        failures.extend(undone.and_then(|done| writing.report(&info.object, &done)).err());
    }
    Failure::all(failures)
}

async fn undo_one(session: &Session, writing: &Writing<'_>, info: &Info, wanted: i64) -> Result<String, Failure> {
    if wanted < 0 {
        return fail!("unable to find specified revision {wanted} in history");
    }
    check_kind(info, "rollbacker")?;
    if apimachinery::object::annotation(&info.object, LAST_APPLIED).is_some() {
        session.warn(&format!(
            "resource {}/{} was previously managed with 'kubectl apply'. Rolling back will not update the {LAST_APPLIED} \
             annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using \
             'kubectl apply' with your previous configuration file instead.",
            info.mapping.resource, info.name
        ));
    }
    let sets = revisions(session, info).await?;
    let target = match wanted {
        0 => sets.len().checked_sub(2).and_then(|index| sets.get(index)),
        wanted => sets.iter().find(|set| revision(set) == wanted),
    };
    let Some(target) = target else {
        return if wanted > 0 {
            fail!("unable to find specified revision {wanted} in history")
        } else {
            fail!("no rollout history found for deployment {:?}", info.name)
        };
    };
    if writing.dry_run == DryRun::Client {
        return Ok(describe_template(&target["spec"]["template"]));
    }
    if info.object["spec"]["paused"] == true {
        let name = &info.name;
        return fail!(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume deployment/{name}' and \
             try again"
        );
    }
    let template = without_hash(&target["spec"]["template"]);
    if template == without_hash(&info.object["spec"]["template"]) {
        return Ok(format!("skipped rollback (current template already matches revision {})", revision(target)));
    }
    let patch = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations(&info.object, target)},
    ]);
    info.patch(session.client()?, Patch::Json, &patch, &writing.write()).await?;
    Ok("rolled back".into())
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
        metadata.retain(|_, value| !value.is_null());
        if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// The deployment's own, and what the replica set kept of those that it had then.
fn annotations(deployment: &Value, set: &Value) -> Value {
    let mut annotations = Map::new();
    let own = apimachinery::object::annotations(deployment).into_iter().flatten();
    annotations.extend(
        own.filter(|(key, _)| OWN_ANNOTATIONS.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())),
    );
    let kept = apimachinery::object::annotations(set).into_iter().flatten();
    annotations.extend(
        kept.filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Value::Object(annotations)
}
