//! `delete`: and by default, waiting until it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::writing::DryRun;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, Watcher};
use crate::session::{FOREVER, Session};

pub const COMMAND: Command = Command {
    name: "delete",
    about: "Delete resources by file names, stdin, resources and names, or by resources and label selector",
    usage: "([-f FILENAME] | [-k DIRECTORY] | TYPE [(NAME | -l label | --all)]) [options]",
    flags: &[FILENAME_FLAGS, crate::objects::SELECTOR_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Delete all resources, in the namespace of the specified resource types."),
    Flag::new(
        "cascade",
        Kind::Optional("background"),
        "Must be \"background\", \"orphan\", or \"foreground\". Selects the deletion cascading strategy for the dependents.",
    )
    .or("background"),
    Flag::new("dry-run", Kind::Optional("unchanged"), "Must be \"none\", \"server\", or \"client\".").or("none"),
    Flag::switch("force", "If true, immediately remove resources from API and bypass graceful deletion."),
    Flag::number("grace-period", "-1", "Period of time in seconds given to the resource to terminate gracefully."),
    Flag::switch("ignore-not-found", "Treat \"resource not found\" as a successful delete."),
    Flag::switch("now", "If true, resources are signaled for immediate shutdown (same as --grace-period=1)."),
    Flag::text("output", "Output mode. Use \"-o name\" for shorter output (resource/name).").short('o'),
    Flag::new("timeout", Kind::Duration, "The length of time to wait before giving up on a delete.").or("0s"),
    Flag::switch("wait", "If true, wait for resources to be gone before returning.").or("true"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let plan = Plan::of(session, &parsed)?;
    let asked = Asked::of(session, &parsed)?;
    let client = session.client()?;
    let (infos, mut failures) = asked.select(session).await?.infos(client).await?;
    let mut waiting = Vec::new();
    let found = !infos.is_empty();
    for info in infos {
        match delete_one(session, &plan, &info).await {
            Ok(uid) => waiting.push((info, uid)),
            Err(failure) if plan.ignore_not_found && failure.is_not_found() => {}
            Err(failure) => failures.push(failure.with_source("deleting", info.source.as_deref())),
        }
    }
    Failure::all(failures)?;
    if !found {
        return session.streams.line("No resources found");
    }
    if plan.wait {
        wait_gone(session, &waiting, plan.timeout).await?;
    }
    Ok(())
}

/// How to delete.
struct Plan {
    options: Value,
    dry_run: DryRun,
    forced: bool,
    ignore_not_found: bool,
    wait: bool,
    timeout: Duration,
    short: bool,
}

impl Plan {
    fn of(session: &Session, parsed: &Parsed) -> Result<Self, Failure> {
        let selects = parsed.on("all") || parsed.some("selector").is_some() || parsed.some("field-selector").is_some();
        for flag in ["selector", "field-selector"] {
            if parsed.on("all") && parsed.some(flag).is_some() {
                return fail!("cannot set --all and --{flag} at the same time");
            }
        }
        let grace = grace_period(session, parsed)?;
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation(parsed)?});
        if grace >= 0 {
            options["gracePeriodSeconds"] = grace.into();
        }
        let output = parsed.text("output");
        if !["", "name"].contains(&output) {
            return fail!("unexpected -o output mode: {output}. We only support '-o name'");
        }
        let dry_run = DryRun::of(parsed)?;
        let timeout = parsed.duration("timeout");
        // Forced deletions do not wait unless they are told to.
        let wait = parsed.on("wait") && dry_run == DryRun::No && (grace != 0 || parsed.given("wait"));
        Ok(Self {
            options,
            dry_run,
            forced: grace == 0,
            ignore_not_found: if parsed.given("ignore-not-found") { parsed.on("ignore-not-found") } else { selects },
            wait,
            timeout: if timeout.is_zero() { FOREVER } else { timeout },
            short: output == "name",
        })
    }
}

fn grace_period(session: &Session, parsed: &Parsed) -> Result<i64, Failure> {
    let (given, force) = (parsed.number("grace-period"), parsed.on("force"));
    if parsed.on("now") {
        return if given == -1 { Ok(1) } else { fail!("--now and --grace-period cannot be specified together") };
    }
    match (given, force) {
        (1.., true) => fail!("--force and --grace-period greater than 0 cannot be specified together"),
        (_, true) => {
            session.warn(
                "Immediate deletion does not wait for confirmation that the running resource has been terminated. The \
                 resource may continue to run on the cluster indefinitely.",
            );
            Ok(0)
        }
        // Zero without force is taken for one, lest data be lost by habit.
        (0, false) => Ok(1),
        (given, false) => Ok(given),
    }
}

fn propagation(parsed: &Parsed) -> Result<&'static str, Failure> {
    match parsed.text("cascade") {
        "background" | "true" => Ok("Background"),
        "foreground" => Ok("Foreground"),
        "orphan" | "false" => Ok("Orphan"),
        other => fail!("invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""),
    }
}

/// Deletes, says so, and gives the UID of what was deleted.
async fn delete_one(session: &Session, plan: &Plan, info: &Info) -> Result<Option<String>, Failure> {
    if plan.dry_run == DryRun::Client {
        say(session, plan, info)?;
        return Ok(None);
    }
    let call = Call::new(Method::DELETE, info.path())
        .json(&plan.options)
        .maybe("dryRun", (plan.dry_run == DryRun::Server).then_some("All"));
    let answer = call.value(session.client()?).await?;
    say(session, plan, info)?;
    let uid = answer["details"]["uid"].as_str().or(answer["metadata"]["uid"].as_str());
    Ok(uid.map(str::to_owned))
}

fn say(session: &Session, plan: &Plan, info: &Info) -> Result<(), Failure> {
    let kind = info.mapping.kind_name();
    if plan.short {
        return session.streams.line(format!("{kind}/{}", info.name));
    }
    let mut done = if plan.forced { "force deleted".to_owned() } else { "deleted".to_owned() };
    if info.mapping.namespaced {
        done.push_str(&format!(" from {} namespace", info.namespace));
    }
    session.streams.line(format!("{kind} {:?} {done}{}", info.name, plan.dry_run.suffix()))
}

async fn wait_gone(session: &Session, waiting: &[(Info, Option<String>)], timeout: Duration) -> Result<(), Failure> {
    let uids: BTreeMap<String, String> =
        waiting.iter().filter_map(|(info, uid)| Some((info.path(), uid.clone()?))).collect();
    let deadline = tokio::time::Instant::now() + timeout;
    for (info, _) in waiting {
        let uid = uids.get(&info.path()).map(String::as_str);
        match gone(session, info, uid, deadline).await {
            // Who may delete need not be allowed to look.
            Err(failure) if failure.has_reason("Forbidden") || failure.has_reason("MethodNotAllowed") => return Ok(()),
            waited => waited?,
        }
    }
    Ok(())
}

/// How other verbs delete: to make an object anew, or to prune it.
pub struct Removal {
    options: Value,
    timeout: Duration,
}

impl Removal {
    /// From `--cascade`, `--grace-period` and `--timeout`.
    pub fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation(parsed)?});
        match parsed.number("grace-period") {
            0 => options["gracePeriodSeconds"] = 1.into(),
            seconds @ 1.. => options["gracePeriodSeconds"] = seconds.into(),
            _ => {}
        }
        let timeout = parsed.duration("timeout");
        Ok(Self { options, timeout: if timeout.is_zero() { FOREVER } else { timeout } })
    }

    /// From `--cascade` alone.
    pub fn cascading(parsed: &Parsed) -> Result<Self, Failure> {
        let mut removal = Self::default();
        removal.options["propagationPolicy"] = propagation(parsed)?.into();
        Ok(removal)
    }

    /// Deletes, and gives the UID of what was deleted; `None` when there was nothing.
    pub async fn start(&self, session: &Session, info: &Info, dry_run: DryRun) -> Result<Option<String>, Failure> {
        let call = Call::new(Method::DELETE, info.path())
            .json(&self.options)
            .maybe("dryRun", (dry_run == DryRun::Server).then_some("All"));
        match call.value(session.client()?).await {
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
            Ok(answer) => {
                let uid = answer["details"]["uid"].as_str().or(answer["metadata"]["uid"].as_str());
                Ok(Some(uid.unwrap_or_default().to_owned()))
            }
        }
    }

    /// Deletes and waits until it is gone. Whether there was anything.
    pub async fn finish(&self, session: &Session, info: &Info) -> Result<bool, Failure> {
        let Some(uid) = self.start(session, info, DryRun::No).await? else { return Ok(false) };
        let deadline = tokio::time::Instant::now() + self.timeout;
        gone(session, info, Some(uid.as_str()).filter(|uid| !uid.is_empty()), deadline).await?;
        Ok(true)
    }
}

impl Default for Removal {
    fn default() -> Self {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        Self { options, timeout: FOREVER }
    }
}

/// Waits until there is no such object, or another of its name.
pub async fn gone(
    session: &Session,
    info: &Info,
    uid: Option<&str>,
    deadline: tokio::time::Instant,
) -> Result<(), Failure> {
    let waiting = async {
        let client = session.client()?;
        loop {
            let object = match info.get(client).await {
                Ok(object) => object,
                Err(failure) if failure.is_not_found() => return Ok(()),
                Err(failure) => return Err(failure),
            };
            if uid.is_some_and(|uid| apimachinery::object::uid(&object) != uid) {
                return Ok(());
            }
            let call = Call::get(info.collection())
                .query("fieldSelector", &format!("metadata.name={}", info.name))
                .query("resourceVersion", apimachinery::object::resource_version(&object));
            let mut watcher = Watcher::start(client, call).await?;
            // A watch that ends, or is too old, is begun anew.
            while let Ok(Some(event)) = watcher.next().await {
                if event.kind == "DELETED" {
                    return Ok(());
                }
            }
        }
    };
    match tokio::time::timeout_at(deadline, waiting).await {
        Ok(result) => result,
        Err(_) => fail!("timed out waiting for the condition on {}/{}", info.mapping.resource, info.name),
    }
}
