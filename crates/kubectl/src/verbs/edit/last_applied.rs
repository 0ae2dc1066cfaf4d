//! `apply edit-last-applied`, `set-last-applied`, `view-last-applied`: the annotation that a file was applied with.

use serde_json::{Value, json};

use super::LINE_ENDINGS;
use super::rounds::{Mode, edit_all};
use super::text::indented;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Patch};
use crate::print::{OUTPUT_FLAGS, compact_json, to_yaml};
use crate::session::Session;
use crate::verbs::apply::{LAST_APPLIED, described};
use crate::verbs::writing::{self, DryRun, Writing};

pub const EDIT_LAST_APPLIED: Command = Command {
    name: "edit-last-applied",
    about: "Edit latest last-applied-configuration annotations of a resource/object",
    usage: "(RESOURCE/NAME | -f FILENAME) [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FIELD_MANAGER, writing::VALIDATE, LINE_ENDINGS],
    run: runs!(edit),
    ..Command::EMPTY
};

pub const SET_LAST_APPLIED: Command = Command {
    name: "set-last-applied",
    about: "Set the last-applied-configuration annotation on a live object to match the contents of a file",
    usage: "-f FILENAME [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::DRY_RUN, SET_FLAGS],
    run: runs!(set),
    ..Command::EMPTY
};

pub const VIEW_LAST_APPLIED: Command = Command {
    name: "view-last-applied",
    about: "View the latest last-applied-configuration annotations of a resource/object",
    usage: "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME) [options]",
    flags: &[FILENAME_FLAGS, VIEW_FLAGS],
    run: runs!(view),
    ..Command::EMPTY
};

const SET_FLAGS: &[Flag] = &[Flag::switch(
    "create-annotation",
    "Will create 'last-applied-configuration' annotations if current objects doesn't have one",
)];

const VIEW_FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources in the namespace of the specified resource types"),
    Flag::text("output", "Output format. Must be one of (yaml, json)").short('o').or("yaml"),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
];

fn last_applied(object: &Value) -> Option<&str> {
    apimachinery::object::annotation(object, LAST_APPLIED)
}

async fn edit(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let writing = Writing::of(session, &parsed, "kubectl-client-side-apply")?;
    let asked = Asked { type_is_enough: true, ..Asked::of(session, &parsed)? };
    let (infos, failures) = asked.select(session).await?.fetched(session.client()?).await?;
    Failure::all(failures)?;
    let catalog = session.catalog().await?;
    let mut applied = Vec::new();
    for text in infos.iter().filter_map(|info| last_applied(&info.object)) {
        let object = serde_json::from_str(text).map_err(|error| format!("{LAST_APPLIED}: {error}"))?;
        applied.push(asked.place(object, "edited-file", catalog)?);
    }
    if applied.is_empty() {
        return fail!(
            "no last-applied-configuration annotation found on resources, to create the annotation, use command \
             `kubectl apply set-last-applied --create-annotation`"
        );
    }
    edit_all(session, &parsed, writing, Mode::LastApplied, applied).await
}

async fn set(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut writing = Writing::of(session, &parsed, "")?;
    let asked = Asked { arguments: Vec::new(), ..Asked::of(session, &parsed)? };
    let client = session.client()?;
    let (infos, failures) = asked.select(session).await?.infos(client).await?;
    Failure::all(failures)?;
    let mut changes = Vec::new();
    for mut info in infos {
        let wanted = compact_json(&info.object);
        let read = info.get(client).await.map_err(|failure| unread(failure, &info))?;
        let written = std::mem::replace(&mut info.object, read);
        let now = last_applied(&info.object);
        if now.is_none() && !parsed.on("create-annotation") {
            return fail!(
                "no last-applied-configuration annotation found on resource: {}, to create the annotation, run the \
                 command with --create-annotation",
                info.name
            );
        }
        if now.and_then(|now| serde_json::from_str::<Value>(now).ok()) == Some(written) {
            session.streams.line(format!("set-last-applied {}: no changes required.", info.name))?;
        } else {
            changes.push((info, wanted));
        }
    }
    for (mut info, wanted) in changes {
        if writing.dry_run != DryRun::Client {
            let patch = json!({"metadata": {"annotations": {LAST_APPLIED: wanted}}});
            info.object = info.patch(client, Patch::Merge, &patch, &writing.write()).await?;
        }
        writing.report(&info.object, "configured")?;
    }
    Ok(())
}

fn unread(failure: Failure, info: &Info) -> Failure {
    if failure.is_not_found() {
        return failure;
    }
    let doing = format!("retrieving current configuration of:\n{}\nfrom server for:", described(info));
    failure.with_source(&doing, info.source.as_deref())
}

async fn view(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let given = session.config.namespace().1;
    let asked = Asked { type_is_enough: given, ..Asked::of(session, &parsed)? };
    let (infos, failures) = asked.select(session).await?.fetched(session.client()?).await?;
    if let Some(first) = failures.into_iter().next() {
        return Err(first);
    }
    let mut texts = Vec::new();
    for info in &infos {
        match (last_applied(&info.object), &info.source) {
            (Some(text), _) => texts.push(text),
            // Only a file can be named as the one to blame.
            (None, Some(source)) => {
                return fail!(
                    "error when no last-applied-configuration annotation found on resource: {}\n {source:?}: <nil>",
                    info.name
                );
            }
            (None, None) => {}
        }
    }
    for text in texts {
        session.streams.print(match parsed.text("output") {
            "json" => indented(text),
            "yaml" => to_yaml(&serde_json::from_str(text).map_err(|error| format!("{LAST_APPLIED}: {error}"))?),
            other => {
                return Err(session
                    .usage(format!("Unexpected -o output mode: {other}, the flag 'output' must be one of yaml|json")));
            }
        })?;
    }
    Ok(())
}
