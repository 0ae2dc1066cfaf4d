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
    let (stdin, quiet) = (parsed.on("stdin"), parsed.on("quiet"));
    let container = default_container(session, pod, parsed.some("container"), quiet)?;
    let has_terminal = has_terminal(pod, &container);
    if parsed.on("tty") && !has_terminal && !quiet {
        session.streams.note(format!("error: Unable to use a TTY - container {container} did not allocate one"));
    }
    let tty = takes_terminal(session, stdin && has_terminal, quiet);
    if !quiet {
        session.streams.note("If you don't see a command prompt, try pressing enter.");
    }
    let mapping = session.catalog().await?.resource("pods")?;
    let target = Info::new(&mapping, &info.namespace, apimachinery::object::name(pod));
    let path = with_streams(Call::get(target.path() + "/attach"), &container, stdin, tty);
    run_remote(session.client()?, &Remote { path, stdin, tty }, &session.streams).await?;
    if tty && pod["spec"]["restartPolicy"] == "Always" {
        let name = apimachinery::object::name(pod);
        let resume = format!("{} {name} -c {container} -i -t", session.command);
        session.streams.line(format!("Session ended, resume using '{resume}' command when the pod is running"))?;
    }
    Ok(())
}

fn has_terminal(pod: &Value, container: &str) -> bool {
    let lists = ["containers", "ephemeralContainers", "initContainers"];
    let mut all = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.any(|one| one["name"] == container && one["tty"] == true)
}
