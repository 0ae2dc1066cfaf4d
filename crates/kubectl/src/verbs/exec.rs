//! `exec`: runs a command in a container.

use std::io::IsTerminal;

use super::named::{RUNNING_TIMEOUT, one_object};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info};
use crate::remote::{Order, Remote, default_container, pod_behind, run_remote};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "exec",
    about: "Execute a command in a container",
    usage: "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...] [options]",
    flags: &[FILENAME_FLAGS, PROCESS_FLAGS, RUNNING_TIMEOUT],
    run: runs!(run),
    ..Command::EMPTY
};

/// Of every verb that joins a process.
pub(super) const PROCESS_FLAGS: &[Flag] = &[
    Flag::text("container", "Container name.").short('c'),
    Flag::switch("quiet", "Only print output from the remote session").short('q'),
    Flag::switch("stdin", "Pass stdin to the container").short('i'),
    Flag::switch("tty", "Stdin is a TTY").short('t'),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let (resource, command) = split(session, &parsed)?;
    let info = match resource {
        Some(resource) => one_object(session, resource).await?,
        None => from_file(session, &parsed).await?,
    };
    let pods = pod_behind(session, &info, Order::Active, parsed.duration("pod-running-timeout")).await?;
    let pod = pods.first().ok_or("no pod was found")?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        return fail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    let quiet = parsed.on("quiet");
    let container = default_container(&session.streams, pod, parsed.some("container"), quiet)?;
    let stdin = parsed.on("stdin");
    let tty = takes_terminal(session, stdin && parsed.on("tty"), quiet);
    let mapping = session.catalog().await?.resource("pods")?;
    let pod = Info::new(&mapping, &info.namespace, apimachinery::object::name(pod));
    let path = path(&pod, &command, &container, stdin, tty);
    run_remote(session.client()?, &Remote { path, stdin, tty }, &session.streams).await
}

/// Whether the terminal that is wanted is there.
pub(super) fn takes_terminal(session: &Session, wanted: bool, quiet: bool) -> bool {
    let is_there = std::io::stdin().is_terminal();
    if wanted && !is_there && !quiet {
        session.streams.note("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    wanted && is_there
}

/// What to run in, and what to run.
fn split<'a>(session: &Session, parsed: &'a Parsed) -> Result<(Option<&'a str>, Vec<String>), Failure> {
    let (before, command) = parsed.arguments.split_at(parsed.before_dash.unwrap_or(parsed.arguments.len()));
    let has_file = parsed.given("filename");
    match before {
        [] if !has_file => return fail!("pod, type/name or --filename must be specified"),
        [_, ..] if parsed.before_dash.is_none() && before.len() > 1 || before.len() > 1 => {
            return Err(
                session.usage("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
            );
        }
        _ => {}
    }
    if command.is_empty() {
        return fail!("you must specify at least one command for the container");
    }
    Ok((before.first().map(String::as_str), command.to_vec()))
}

async fn from_file(session: &Session, parsed: &Parsed) -> Result<Info, Failure> {
    let asked = Asked { arguments: Vec::new(), ..Asked::of(session, parsed)? };
    let (mut infos, failures) = asked.select(session).await?.fetched(session.client()?).await?;
    Failure::all(failures)?;
    if infos.len() == 1 { Ok(infos.remove(0)) } else { fail!("expected a resource") }
}

/// The path of a request to run something in a container.
pub(super) fn path(pod: &Info, command: &[String], container: &str, stdin: bool, tty: bool) -> String {
    let mut call = Call::get(pod.path() + "/exec");
    for word in command {
        call = call.query("command", word);
    }
    with_streams(call, container, stdin, tty)
}

/// The path of a request for a container's streams.
pub(super) fn with_streams(call: Call, container: &str, stdin: bool, tty: bool) -> String {
    call.query("container", container)
        .maybe("stdin", stdin.then_some("true"))
        .query("stdout", "true")
        .maybe("stderr", (!tty).then_some("true"))
        .maybe("tty", tty.then_some("true"))
        .path_and_query()
}
