//! `attach`: joins the process that a container runs already.

use serde_json::Value;

use super::exec::{PROCESS_FLAGS, takes_terminal, with_streams};
use super::named::{RUNNING_TIMEOUT, one_object};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::{Call, Info};
use crate::remote::{Order, Remote, default_container, pod_behind, run_remote};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "attach",
    about: "Attach to a running container",
    usage: "(POD | TYPE/NAME) -c CONTAINER [options]",
    flags: &[PROCESS_FLAGS, RUNNING_TIMEOUT],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [named] = parsed.arguments.as_slice() else {
        return Err(session.usage("expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments)"));
    };
    let info = one_object(session, named).await?;
    let pods = pod_behind(session, &info, Order::Active, parsed.duration("pod-running-timeout")).await?;
    let pod = pods.first().ok_or("no pod was found")?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        return fail!("cannot attach a container in a completed pod; current phase is {phase}");
    }
    let quiet = parsed.on("quiet");
    let container = default_container(&session.streams, pod, parsed.some("container"), quiet)?;
    let mapping = session.catalog().await?.resource("pods")?;
    let target = Info::new(&mapping, &info.namespace, apimachinery::object::name(pod));
    let (stdin, tty) = (parsed.on("stdin"), parsed.on("tty"));
    join(session, &target, pod, Joining { container, stdin, tty, quiet, command: &session.command }).await
}

const RECORDED: &str = "All commands and output from this session will be recorded in container logs, including \
    credentials and sensitive information passed through the command prompt.";

/// How a container is joined.
pub(super) struct Joining<'a> {
    pub container: String,
    pub stdin: bool,
    pub tty: bool,
    pub quiet: bool,
    /// What joins it again.
    pub command: &'a str,
}

/// Joins a container's process until it ends, or the connection does.
pub(super) async fn join(session: &Session, target: &Info, pod: &Value, joining: Joining<'_>) -> Result<(), Failure> {
    let Joining { container, stdin, quiet, command, .. } = joining;
    let has_terminal = has_terminal(pod, &container);
    if joining.tty && !has_terminal && !quiet {
        session.streams.note(format!("error: Unable to use a TTY - container {container} did not allocate one"));
    }
    let tty = takes_terminal(session, stdin && has_terminal, quiet);
    if !quiet {
        session.streams.note(RECORDED);
        session.streams.note("If you don't see a command prompt, try pressing enter.");
    }
    let path = with_streams(Call::get(target.path() + "/attach"), &container, stdin, tty);
    run_remote(session.client()?, &Remote { path, stdin, tty }, &session.streams).await?;
    if !quiet && tty && pod["spec"]["restartPolicy"] == "Always" {
        let again = format!("{command} {} -c {container} -i -t", target.name);
        let ephemeral = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
        session.streams.line(if ephemeral.clone().any(|one| one["name"] == container.as_str()) {
            format!(
                "Session ended, the ephemeral container will not be restarted but may be reattached using '{again}' if \
                 it is still running"
            )
        } else {
            format!("Session ended, resume using '{again}' command when the pod is running")
        })?;
    }
    Ok(())
}

fn has_terminal(pod: &Value, container: &str) -> bool {
    let lists = ["containers", "ephemeralContainers", "initContainers"];
    let mut all = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.any(|one| one["name"] == container && one["tty"] == true)
}
