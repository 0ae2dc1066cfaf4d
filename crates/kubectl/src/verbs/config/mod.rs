//! `config`: the kubeconfig, shown and changed.

mod contexts;
mod entries;
mod property;
mod set_cluster;
mod set_credentials;
mod view;

use crate::command::{Command, help_of};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "config",
    about: "Modify kubeconfig files",
    usage: "SUBCOMMAND [options]",
    children: &[
        &contexts::CURRENT,
        &entries::DELETE_CLUSTER,
        &contexts::DELETE,
        &entries::DELETE_USER,
        &entries::GET_CLUSTERS,
        &contexts::GET,
        &entries::GET_USERS,
        &contexts::RENAME,
        &property::SET,
        &set_cluster::COMMAND,
        &contexts::SET,
        &set_credentials::COMMAND,
        &property::UNSET,
        &contexts::USE,
        &view::COMMAND,
    ],
    ..Command::EMPTY
};

/// Wrong arguments: the help, then what is wrong.
fn unexpected(session: &Session, what: &str, arguments: &[String]) -> Failure {
    match session.streams.print(help_of(&session.command)) {
        Ok(()) => Failure::Plain(format!("{what} args: [{}]", arguments.join(" "))),
        Err(failure) => failure,
    }
}

/// The file that messages name.
fn file_name(session: &Session) -> Result<String, Failure> {
    Ok(session.config.access().default_file()?.display().to_string())
}

/// A flag's path as it is written down.
fn absolute(path: &str) -> String {
    let path = if path.is_empty() { "." } else { path };
    std::path::absolute(path).map_or_else(
        |_| path.to_owned(),
        |path| path.components().collect::<std::path::PathBuf>().display().to_string(),
    )
}
