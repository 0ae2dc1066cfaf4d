//! `scale`: how many replicas.

use serde_json::{Value, json};

use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Patch, Write};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "scale",
    about: "Set a new size for a deployment, replica set, or replication controller",
    usage: "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME) [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources in the namespace of the specified resource types"),
    Flag::number(
        "current-replicas",
        "-1",
        "Precondition for current size. Requires that the current size of the resource match this value in order to scale.",
    ),
    Flag::number("replicas", "0", "The new desired number of replicas. Required."),
    Flag::text("resource-version", "Precondition for resource version."),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::new(
        "timeout",
        Kind::Duration,
        "The length of time to wait before giving up on a scale operation, zero means don't wait.",
    )
    .or("0s"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.given("replicas") {
        return fail!("required flag(s) \"replicas\" not set");
    }
    if parsed.number("replicas") < 0 {
        return fail!("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    }
    if !parsed.duration("timeout").is_zero() {
        return fail!("--timeout is not supported: use 'kubectl rollout status'");
    }
    let mut writing = Writing::of(session, &parsed, "kubectl")?;
    let asked = Asked::of(session, &parsed)?;
    let (infos, mut failures) = asked.select(session).await?.fetched(session.client()?).await?;
    if infos.is_empty() && failures.is_empty() {
        return fail!("no objects passed to scale");
    }
    for info in infos {
        let scaled = scale_one(session, &parsed, &writing, &info).await;
        failures.extend(scaled.and_then(|object| writing.report(&object, "scaled")).err());
    }
    Failure::all(failures)
}

async fn scale_one(session: &Session, parsed: &Parsed, writing: &Writing<'_>, info: &Info) -> Result<Value, Failure> {
    let replicas = parsed.number("replicas");
    check(parsed, info)?;
    let mut object = info.object.clone();
    object["spec"]["replicas"] = replicas.into();
    if writing.dry_run == DryRun::Client {
        return Ok(object);
    }
    let mut patch = json!({"spec": {"replicas": replicas}});
    let conditional = parsed.number("current-replicas") != -1 || parsed.given("resource-version");
    if conditional {
        patch["metadata"]["resourceVersion"] = info.object["metadata"]["resourceVersion"].clone();
    }
    let write = Write { subresource: "/scale", ..writing.write() };
    info.patch(session.client()?, Patch::Merge, &patch, &write).await?;
    Ok(object)
}

fn check(parsed: &Parsed, info: &Info) -> Result<(), Failure> {
    let expected = parsed.number("current-replicas");
    let is = info.object["spec"]["replicas"].as_i64().unwrap_or(0);
    if expected != -1 && is != expected {
        return fail!("Expected replicas to be {expected}, was {is}");
    }
    if let Some(version) = parsed.some("resource-version") {
        let is = apimachinery::object::resource_version(&info.object);
        if is != version {
            return fail!("Expected resource version to be {version}, was {is}");
        }
    }
    Ok(())
}
