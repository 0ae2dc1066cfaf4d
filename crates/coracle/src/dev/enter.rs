//! `coracle dev exec` and `coracle dev client`: a command inside a machine of the LAN. Runs before there is a second thread.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

use super::lan::CLIENT;
use super::state::Cluster;
use super::{Exec, OnClient};

pub fn node(arguments: &Exec) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(&arguments.name)?;
    cluster.node(&arguments.node)?;
    let pid = cluster
        .pid(&arguments.node)
        .with_context(|| format!("node {} is off; `coracle dev start {}` starts it", arguments.node, arguments.node))?;
    let path = search_path();
    let kinds = [
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let open = |kind| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).with_context(|| format!("open {path}"))
    };
    let opened = kinds.map(|(kind, flag)| open(kind).map(|file| (file, kind, flag)));
    for entry in opened {
        let (file, kind, flag) = entry?;
        setns(file.as_fd(), flag).with_context(|| format!("enter the node's {kind} namespace"))?;
    }
    execute(&arguments.command, &path)
}

pub fn client(arguments: &OnClient) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(&arguments.name)?;
    let namespace = cluster.netns(CLIENT);
    let file = File::open(&namespace).with_context(|| format!("open {}", namespace.display()))?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).context("enter the client's network namespace")?;
    execute(&arguments.command, &search_path())
}

/// The search path, with our own binary's directory in front.
fn search_path() -> std::ffi::OsString {
    let own = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let given = std::env::var_os("PATH").unwrap_or_default();
    let all = own.into_iter().chain(std::env::split_paths(&given));
    std::env::join_paths(all).unwrap_or(given)
}

#[expect(clippy::disallowed_methods, reason = "running the user's command is what this is for")]
fn execute(command: &[String], path: &std::ffi::OsStr) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command")?;
    let status =
        Command::new(program).args(arguments).env("PATH", path).status().with_context(|| format!("run {program}"))?;
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
