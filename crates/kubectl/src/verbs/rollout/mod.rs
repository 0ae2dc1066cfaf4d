//! `rollout`: how a new template comes to be what runs.

mod history;
mod status;

use serde_json::{Value, json};

use super::writing::{self, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Patch};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

const SELECTOR: &[Flag] = &[Flag::text("selector", "Selector (label query) to filter on.").short('l')];

pub const COMMAND: Command = Command {
    name: "rollout",
    about: "Manage the rollout of a resource",
    usage: "SUBCOMMAND [options]",
    children: &[&history::HISTORY, &PAUSE, &RESTART, &RESUME, &status::COMMAND, &history::UNDO],
    ..Command::EMPTY
};

const PAUSE: Command = Command {
    name: "pause",
    about: "Mark the provided resource as paused",
    usage: "RESOURCE [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, SELECTOR, writing::FLAGS],
    run: runs!(pause),
    ..Command::EMPTY
};

const RESUME: Command = Command { name: "resume", about: "Resume a paused resource", run: runs!(resume), ..PAUSE };

const RESTART: Command = Command { name: "restart", about: "Restart a resource", run: runs!(restart), ..PAUSE };

/// The objects that the arguments name, as they are now.
async fn objects(session: &Session, parsed: &Parsed) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    if parsed.arguments.is_empty() && !parsed.given("filename") {
        return fail!("required resource not specified");
    }
    let asked = Asked { type_is_enough: true, ..Asked::of(session, parsed)? };
    asked.select(session).await?.fetched(session.client()?).await
}

/// Patches each object by what `change` makes of it.
async fn patch_each(
    session: &Session,
    parsed: &Parsed,
    done: &str,
    change: impl Fn(&Info) -> Result<Value, Failure>,
) -> Result<(), Failure> {
    let mut writing = Writing::of(session, parsed, "kubectl-rollout")?;
    let (infos, mut failures) = objects(session, parsed).await?;
    for info in infos {
        let patch = match change(&info) {
            Ok(patch) => patch,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        let patched = info.patch(session.client()?, Patch::Strategic, &patch, &writing.write()).await;
        failures.extend(patched.and_then(|object| writing.report(&object, done)).err());
    }
    Failure::all(failures)
}

fn kind(info: &Info) -> (&str, &str) {
    (info.mapping.group.as_str(), info.mapping.kind.as_str())
}

async fn pause(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    patch_each(session, &parsed, "paused", |info| match (kind(info), info.object["spec"]["paused"] == true) {
        (("apps", "Deployment"), false) => Ok(json!({"spec": {"paused": true}})),
        (("apps", "Deployment"), true) => fail!("{} {:?} is already paused", info.mapping.qualified(), info.name),
        _ => fail!("{} {:?} pausing is not supported", info.mapping.qualified(), info.name),
    })
    .await
}

async fn resume(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    patch_each(session, &parsed, "resumed", |info| match (kind(info), info.object["spec"]["paused"] == true) {
        (("apps", "Deployment"), true) => Ok(json!({"spec": {"paused": null}})),
        (("apps", "Deployment"), false) => fail!("{} {:?} is not paused", info.mapping.qualified(), info.name),
        _ => fail!("{} {:?} resuming is not supported", info.mapping.qualified(), info.name),
    })
    .await
}

async fn restart(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let now = apimachinery::time::format(jiff::Timestamp::now());
    patch_each(session, &parsed, "restarted", |info| match kind(info) {
        ("apps", "Deployment") if info.object["spec"]["paused"] == true => {
            fail!(
                "{} {:?} can't restart paused deployment (run rollout resume first)",
                info.mapping.qualified(),
                info.name
            )
        }
        ("apps", "Deployment" | "DaemonSet" | "StatefulSet") => {
            let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
            Ok(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
        }
        _ => fail!("{} {:?} restarting is not supported", info.mapping.qualified(), info.name),
    })
    .await
}
