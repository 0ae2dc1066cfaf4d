//! Clusters and users: listed and deleted; contexts are deleted so too.

use std::collections::BTreeMap;

use super::file_name;
use crate::command::{Command, help_of, runs};
use crate::config::{Settings, Stanza};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::session::Session;

pub const GET_CLUSTERS: Command = Command {
    name: "get-clusters",
    about: "Display clusters defined in the kubeconfig",
    usage: "[flags] [options]",
    run: runs!(get_clusters),
    ..Command::EMPTY
};

pub const GET_USERS: Command = Command {
    name: "get-users",
    about: "Display users defined in the kubeconfig",
    usage: "[flags] [options]",
    run: runs!(get_users),
    ..Command::EMPTY
};

pub const DELETE_CLUSTER: Command = Command {
    name: "delete-cluster",
    about: "Delete the specified cluster from the kubeconfig",
    usage: "NAME [options]",
    run: runs!(delete_cluster),
    ..Command::EMPTY
};

pub const DELETE_USER: Command = Command {
    name: "delete-user",
    about: "Delete the specified user from the kubeconfig",
    usage: "NAME [options]",
    run: runs!(delete_user),
    ..Command::EMPTY
};

async fn get_clusters(session: &Session, _: Parsed) -> Result<(), Failure> {
    list(session, &session.config.access().settings()?.clusters)
}

async fn get_users(session: &Session, _: Parsed) -> Result<(), Failure> {
    list(session, &session.config.access().settings()?.users)
}

fn list(session: &Session, stanzas: &BTreeMap<String, Stanza>) -> Result<(), Failure> {
    let names: String = stanzas.keys().map(|name| format!("{name}\n")).collect();
    session.streams.print(format!("NAME\n{names}"))
}

async fn delete_cluster(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    match parsed.arguments.as_slice() {
        [name] => delete(session, "cluster", name, |settings| &mut settings.clusters),
        _ => session.streams.print(help_of(&session.command)),
    }
}

async fn delete_user(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    match parsed.arguments.as_slice() {
        [name] => delete(session, "user", name, |settings| &mut settings.users),
        _ => Err(session.usage("user to delete is required")),
    }
}

/// Takes an entry out of the file that it is in.
pub fn delete(
    session: &Session,
    what: &str,
    name: &str,
    part: impl Fn(&mut Settings) -> &mut BTreeMap<String, Stanza>,
) -> Result<(), Failure> {
    let file = file_name(session)?;
    session.config.access().change(true, |settings| match part(settings).remove(name) {
        Some(_) => Ok(()),
        None => fail!("cannot delete {what} {name}, not in {file}"),
    })?;
    session.streams.line(format!("deleted {what} {name} from {file}"))
}
