//! `options`: the flags that every command takes.

use crate::command::{Command, GLOBAL, help_of_flag, runs};
use crate::failure::Failure;
use crate::flags::Parsed;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "options",
    about: "Print the list of flags inherited by all commands",
    usage: "[flags] [options]",
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, _: Parsed) -> Result<(), Failure> {
    let flags = GLOBAL.iter().filter(|flag| flag.name != "help");
    let list: String = flags.map(help_of_flag).collect();
    // One default is this machine's, and one flag is no text.
    let cache = std::env::home_dir().unwrap_or_default().join(".kube/cache");
    let list = list.replace("--cache-dir=''", &format!("--cache-dir='{}'", cache.display()));
    let list = list.replace("--vmodule=''", "--vmodule=");
    session.streams.print(format!("The following options can be passed to any command:\n\n{list}"))
}
