//! `create`: from files, or from a few words.

mod config_map;
mod deployment;
mod ingress;
mod job;
mod plain;
mod policy;
mod rbac;
mod secret;
mod service;
mod token;

pub use plain::pairs;

use serde_json::Value;

use super::apply::set_last_applied;
use super::edit;
use super::writing::{self, DryRun, Writing, check_types};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Files, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "create",
    about: "Create a resource from a file or from stdin",
    usage: "-f FILENAME [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, edit::LINE_ENDINGS, FLAGS],
    children: &[
        &rbac::CLUSTER_ROLE,
        &rbac::CLUSTER_ROLE_BINDING,
        &config_map::CONFIG_MAP,
        &job::CRON_JOB,
        &deployment::COMMAND,
        &ingress::COMMAND,
        &job::JOB,
        &plain::NAMESPACE,
        &policy::BUDGET,
        &policy::PRIORITY_CLASS,
        &policy::QUOTA,
        &rbac::ROLE,
        &rbac::ROLE_BINDING,
        &config_map::SECRET,
        &service::COMMAND,
        &plain::SERVICE_ACCOUNT,
        &token::COMMAND,
    ],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("edit", "Edit the API resource before creating"),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
];

pub const SAVE_CONFIG: &[Flag] =
    &[Flag::switch("save-config", "If true, the configuration of current object will be saved in its annotation.")];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return Err(session.usage(format!("Unexpected args: [{}]", parsed.arguments.join(" "))));
    }
    if !parsed.given("filename") {
        return fail!("must specify one of -f and -k");
    }
    if parsed.on("edit") {
        return edit_before_create(session, &parsed).await;
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-create")?;
    let (mut documents, mut failures) = Files::of(&parsed)?.read().await?;
    if writing.validates() {
        documents = check_types(documents, &mut failures);
    }
    let (namespace, namespace_given) = session.config.namespace();
    let asked = Asked { namespace, namespace_given, ..Asked::default() };
    let mut count = 0;
    for document in documents {
        let placed = asked.place(document.object, &document.source, session.catalog().await?);
        let created = match placed {
            Ok(info) => create_one(session, &mut writing, info, parsed.on("save-config")).await,
            Err(failure) => Err(failure),
        };
        count += 1;
        failures.extend(created.err());
    }
    if count == 0 && failures.is_empty() {
        return fail!("no objects passed to create");
    }
    Failure::all(failures)
}

/// Each object in a file of its own.
async fn edit_before_create(session: &Session, parsed: &Parsed) -> Result<(), Failure> {
    let asked = Asked { arguments: Vec::new(), labels: None, ..Asked::of(session, parsed)? };
    let (infos, mut failures) = asked.select(session).await?.infos(session.client()?).await?;
    for info in infos {
        let writing = Writing::of(session, parsed, "kubectl-create")?;
        failures.extend(edit::edit_all(session, parsed, writing, edit::Mode::Create, vec![info]).await.err());
    }
    Failure::all(failures)
}

async fn create_one(session: &Session, writing: &mut Writing<'_>, mut info: Info, save: bool) -> Result<(), Failure> {
    if save {
        set_last_applied(&mut info.object);
    }
    if writing.dry_run != DryRun::Client {
        let created = info.create(session.client()?, &writing.write()).await;
        info.object = created.map_err(|failure| failure.with_source("creating", info.source.as_deref()))?;
    }
    writing.report(&info.object, "created")
}

/// Of the kinds that short forms make.
const CLUSTER_SCOPED: &[&str] = &["Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"];

/// The one name that the short forms take.
fn name_of<'a>(session: &Session, parsed: &'a Parsed) -> Result<&'a str, Failure> {
    let names = &parsed.arguments[..parsed.before_dash.unwrap_or(parsed.arguments.len())];
    match names {
        [name] => Ok(name),
        names => Err(session.usage(format!("exactly one NAME is required, got {}", names.len()))),
    }
}

/// Creates what a short form has made. Failures name the kind if `called` does.
async fn create_made(
    session: &Session,
    parsed: &Parsed,
    mut object: Value,
    called: Option<&str>,
) -> Result<(), Failure> {
    let mut writing = Writing::of(session, parsed, "kubectl-create")?;
    if parsed.on("save-config") {
        set_last_applied(&mut object);
    }
    let (namespace, given) = session.config.namespace();
    if writing.dry_run == DryRun::Client {
        if given && !CLUSTER_SCOPED.contains(&apimachinery::object::kind(&object)) {
            apimachinery::object::set_namespace(&mut object, &namespace);
        }
        return writing.report(&object, "created");
    }
    let mapping = session.catalog().await?.of_object(&object)?;
    let mut info = Info::of_object(&mapping, object);
    info.namespace = if mapping.namespaced { namespace } else { String::new() };
    let created = info.create(session.client()?, &writing.write()).await;
    let created = created.map_err(|failure| match (called, &failure) {
        (Some(called), Failure::Server(status)) => {
            Failure::Plain(format!("failed to create {called}{}", status.message))
        }
        _ => failure,
    })?;
    writing.report(&created, "created")
}
