//! `replace`: an object as a file says, and nothing else.

use super::apply::{LAST_APPLIED, set_last_applied};
use super::delete::Removal;
use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Write};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "replace",
    about: "Replace a resource by file name or stdin",
    usage: "-f FILENAME [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, writing::VALIDATE, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("cascade", Kind::Optional("background"), "Must be \"background\", \"orphan\", or \"foreground\".")
        .or("background"),
    Flag::switch("force", "If true, immediately remove resources from API and bypass graceful deletion."),
    Flag::number("grace-period", "-1", "Period of time in seconds given to the resource to terminate gracefully."),
    Flag::text("raw", "Raw URI to PUT to the server."),
    Flag::switch("save-config", "If true, the configuration of current object will be saved in its annotation."),
    Flag::text("subresource", "If specified, replace will operate on the subresource of the requested object."),
    Flag::new("timeout", Kind::Duration, "The length of time to wait before giving up on a delete.").or("0s"),
    Flag::switch("wait", "If true, wait for resources to be gone before returning."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return Err(session.usage(format!("Unexpected args: [{}]", parsed.arguments.join(" "))));
    }
    if !parsed.given("filename") {
        return fail!("must specify one of -f and -k");
    }
    if !parsed.on("force") {
        if parsed.number("grace-period") >= 0 {
            return fail!("--grace-period must have --force specified");
        }
        if !parsed.duration("timeout").is_zero() {
            return fail!("--timeout must have --force specified");
        }
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-replace")?;
    let (infos, mut failures) = Asked::of(session, &parsed)?.select(session).await?.infos(session.client()?).await?;
    for mut info in infos {
        if parsed.on("save-config") || apimachinery::object::annotation(&info.object, LAST_APPLIED).is_some() {
            set_last_applied(&mut info.object);
        }
        let replaced = if parsed.on("force") {
            make_anew(session, &parsed, &mut writing, &info).await
        } else {
            replace(session, &parsed, &mut writing, &info).await
        };
        failures.extend(replaced.err().map(|failure| failure.with_source("replacing", info.source.as_deref())));
    }
    Failure::all(failures)
}

async fn replace(session: &Session, parsed: &Parsed, writing: &mut Writing<'_>, info: &Info) -> Result<(), Failure> {
    if writing.dry_run == DryRun::Client {
        return writing.report(&info.object, "replaced");
    }
    let subresource = parsed.some("subresource").map(|name| format!("/{name}")).unwrap_or_default();
    let write = Write { subresource: &subresource, ..writing.write() };
    let replaced = info.replace(session.client()?, &write).await?;
    writing.report(&replaced, "replaced")
}

/// Deletes, waits until it is gone, and creates.
async fn make_anew(session: &Session, parsed: &Parsed, writing: &mut Writing<'_>, info: &Info) -> Result<(), Failure> {
    let removal = Removal::of(parsed)?;
    if writing.dry_run != DryRun::No {
        return writing.report(&info.object, "replaced");
    }
    if removal.finish(session, info).await? && !writing.shows_objects() {
        let within =
            if info.mapping.namespaced { format!(" from {} namespace", info.namespace) } else { String::new() };
        session.streams.line(format!("{} {:?} deleted{within}", info.mapping.kind_name(), info.name))?;
    }
    let created = info.create(session.client()?, &writing.write()).await?;
    writing.report(&created, "replaced")
}
