//! `edit`: objects in the user's editor, again and again until the server takes them.

mod editor;
mod last_applied;
mod rounds;
mod text;

pub use last_applied::{EDIT_LAST_APPLIED, SET_LAST_APPLIED, VIEW_LAST_APPLIED};
pub use rounds::{Mode, edit_all};

use super::writing::{self, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "edit",
    about: "Edit a resource on the server",
    usage: "(RESOURCE/NAME | -f FILENAME) [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FIELD_MANAGER, writing::VALIDATE, LINE_ENDINGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

pub const LINE_ENDINGS: &[Flag] =
    &[Flag::switch("windows-line-endings", "Defaults to the line ending native to your platform.")];

const FLAGS: &[Flag] = &[
    Flag::switch("output-patch", "Output the patch if the resource is edited."),
    Flag::switch("save-config", "If true, the configuration of current object will be saved in its annotation."),
    Flag::text("subresource", "If specified, edit will operate on the subresource of the requested object."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let writing = Writing::of(session, &parsed, "kubectl-edit")?;
    let asked = Asked { type_is_enough: true, ..Asked::of(session, &parsed)? };
    let client = session.client()?;
    let (mut infos, failures) = asked.select(session).await?.fetched(client).await?;
    Failure::all(failures)?;
    if infos.is_empty() {
        return fail!("edit cancelled, no objects found");
    }
    if let Some(name) = parsed.some("subresource") {
        for info in &mut infos {
            info.object = Call::get(format!("{}/{name}", info.path())).value(client).await?;
        }
    }
    edit_all(session, &parsed, writing, Mode::Patch, infos).await
}
