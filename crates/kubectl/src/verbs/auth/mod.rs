//! `auth`: who one is, and what one may do.

mod can_i;
mod reconcile;
mod whoami;

use crate::command::Command;

pub const COMMAND: Command = Command {
    name: "auth",
    about: "Inspect authorization",
    usage: "SUBCOMMAND [options]",
    children: &[&can_i::COMMAND, &reconcile::COMMAND, &whoami::COMMAND],
    ..Command::EMPTY
};
