//! `cordon`, `uncordon`, `drain`: a node that shall get no pods, and one that shall have none.

mod eviction;
mod filters;

use serde_json::{Value, json};

use self::eviction::Drainer;
use super::writing::{DRY_RUN, DryRun};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, Info, Patch, Write};
use crate::print::operation;
use crate::session::Session;

const SELECTOR: &[Flag] = &[Flag::text("selector", "Selector (label query) to filter on.").short('l')];

pub const CORDON: Command = Command {
    name: "cordon",
    about: "Mark node as unschedulable",
    usage: "NODE [options]",
    flags: &[SELECTOR, DRY_RUN],
    run: runs!(cordon),
    ..Command::EMPTY
};

pub const UNCORDON: Command =
    Command { name: "uncordon", about: "Mark node as schedulable", run: runs!(uncordon), ..CORDON };

pub const DRAIN: Command = Command {
    name: "drain",
    about: "Drain node in preparation for maintenance",
    flags: &[SELECTOR, DRY_RUN, FLAGS],
    run: runs!(drain),
    ..CORDON
};

const FLAGS: &[Flag] = &[
    Flag::number("chunk-size", "500", "Return large lists in chunks rather than all at once. Pass 0 to disable."),
    Flag::switch("delete-emptydir-data", "Continue even if there are pods using emptyDir."),
    Flag::switch("disable-eviction", "Force drain to use delete, even if eviction is supported."),
    Flag::switch("force", "Continue even if there are pods that do not declare a controller."),
    Flag::number("grace-period", "-1", "Period of time in seconds given to each pod to terminate gracefully."),
    Flag::switch("ignore-daemonsets", "Ignore DaemonSet-managed pods."),
    Flag::text("pod-selector", "Label selector to filter pods on the node"),
    Flag::number(
        "skip-wait-for-delete-timeout",
        "0",
        "If pod DeletionTimestamp older than N seconds, skip waiting for the pod.",
    ),
    Flag::new("timeout", Kind::Duration, "The length of time to wait before giving up, zero means infinite").or("0s"),
];

async fn cordon(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let nodes = Nodes::find(session, &parsed, "cordon").await?;
    nodes.mark(true).await
}

async fn uncordon(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let nodes = Nodes::find(session, &parsed, "uncordon").await?;
    nodes.mark(false).await
}

async fn drain(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let pods = parsed.text("pod-selector");
    if apimachinery::labels::Selector::parse(pods).is_err() {
        return fail!("--pod-selector=<pod_selector> must be a valid label selector");
    }
    let nodes = Nodes::find(session, &parsed, "drain").await?;
    nodes.mark(true).await?;
    let drainer = Drainer::new(session, &parsed, nodes.dry_run).await?;
    let (mut failures, mut remaining) = (Vec::new(), Vec::new());
    for node in &nodes.infos {
        match drainer.drain(&node.name).await {
            Ok(()) => nodes.say(node, "drained")?,
            Err(failure) => {
                session.streams.note(format!(
                    "error: unable to drain node {:?} due to error: {}, continuing command...",
                    node.name,
                    failure.bare()
                ));
                remaining.push(node.name.clone());
                failures.push(failure);
            }
        }
    }
    if !remaining.is_empty() {
        session.streams.note("There are pending nodes to be drained:");
        remaining.iter().for_each(|name| session.streams.note(format!(" {name}")));
    }
    Failure::all(failures)
}

/// The nodes that the command line names.
struct Nodes<'a> {
    session: &'a Session,
    dry_run: DryRun,
    infos: Vec<Info>,
}

impl<'a> Nodes<'a> {
    async fn find(session: &'a Session, parsed: &Parsed, verb: &str) -> Result<Self, Failure> {
        let names = &parsed.arguments;
        if names.is_empty() && !parsed.given("selector") {
            return Err(session.usage(format!("USAGE: {verb} NODE [flags]")));
        }
        if !names.is_empty() && parsed.some("selector").is_some() {
            return Err(session.usage("cannot specify both a node name and a --selector option"));
        }
        let dry_run = DryRun::of(parsed)?;
        let mut asked = Asked { single_type: true, ..Asked::of(session, parsed)? };
        asked.arguments = arguments(names, asked.labels.is_some());
        let (infos, mut failures) = asked.select(session).await?.fetched(session.client()?).await?;
        if !failures.is_empty() {
            return Err(failures.remove(0));
        }
        match infos.iter().find(|info| info.mapping.qualified() != "nodes") {
            Some(other) => {
                let (group, version, resource) =
                    (&other.mapping.group, &other.mapping.version, &other.mapping.resource);
                fail!("expected resource of type node, got \"{group}/{version}, Resource={resource}\"")
            }
            None => Ok(Self { session, dry_run, infos }),
        }
    }

    /// Makes all of them unschedulable, or schedulable. What fails is told, and the rest goes on.
    async fn mark(&self, unschedulable: bool) -> Result<(), Failure> {
        let verb = if unschedulable { "cordon" } else { "uncordon" };
        for info in &self.infos {
            let is = info.object["spec"]["unschedulable"] == true;
            if is == unschedulable {
                self.say(info, &format!("already {verb}ed"))?;
                continue;
            }
            if let Err(failure) = self.patch(info, unschedulable).await {
                let (name, why) = (&info.name, failure.bare());
                self.session.streams.note(format!("error: unable to {verb} node {name:?}: {why}"));
                continue;
            }
            self.say(info, &format!("{verb}ed"))?;
        }
        Ok(())
    }

    async fn patch(&self, info: &Info, unschedulable: bool) -> Result<(), Failure> {
        if self.dry_run == DryRun::Client {
            return Ok(());
        }
        let value = if unschedulable { Value::Bool(true) } else { Value::Null };
        let write = Write { dry_run: self.dry_run == DryRun::Server, ..Write::default() };
        let patch = json!({"spec": {"unschedulable": value}});
        info.patch(self.session.client()?, Patch::Strategic, &patch, &write).await?;
        Ok(())
    }

    fn say(&self, info: &Info, done: &str) -> Result<(), Failure> {
        self.session.streams.print(operation(&info.object, &format!("{done}{}", self.dry_run.suffix())))
    }
}

/// Bare names are those of nodes.
fn arguments(names: &[String], selects: bool) -> Vec<String> {
    if selects {
        return vec!["nodes".to_owned()];
    }
    if names.is_empty() || names.iter().any(|name| name.contains('/')) {
        let full = |name: &String| if name.contains('/') { name.clone() } else { format!("nodes/{name}") };
        return names.iter().map(full).collect();
    }
    std::iter::once("nodes".to_owned()).chain(names.iter().cloned()).collect()
}
