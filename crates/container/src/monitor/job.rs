//! The slow steps, each in a forked child, so that the monitor stays small and never waits.
//!
//! libcontainer changes directories, clones and allocates: all that ends with the child.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, fork};
use serde_json::{Value, json};

use super::executor::ContainerExecutor;
use crate::layout::ContainerDir;
use crate::records;
use crate::runtime::ExecConfig;

/// The standard streams of a process to be; None with a terminal.
#[derive(Default)]
pub struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// A forked child at work; its answer comes through the pipe.
pub struct Job {
    pub pid: i32,
    pub pipe: File,
    pub kind: JobKind,
    pub client: u64,
    pub container: String,
    /// Where the terminal's descriptor arrives.
    pub console: Option<UnixListener>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Create,
    Start,
    Exec { kill_on_drop: bool },
}

/// The pid of the new process, or why there is none.
pub type Outcome = Result<i32, String>;

/// Forks and lets the child do the work.
pub fn fork_work(work: impl FnOnce() -> Outcome) -> io::Result<(i32, File)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the monitor has one thread, so the child may allocate and go on.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child.as_raw(), File::from(read))),
        ForkResult::Child => {
            drop(read);
            reset_signals();
            let outcome = work();
            let mut line = serde_json::to_vec(&outcome).unwrap_or_default();
            line.push(b'\n');
            let _ = File::from(write).write_all(&line);
            // SAFETY: ends only this child, without the monitor's exit handlers.
            unsafe { libc::_exit(0) }
        }
    }
}

/// The container must not inherit our blocked and ignored signals.
fn reset_signals() {
    let _ = SigSet::empty().thread_set_mask();
    // SAFETY: the default disposition runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// Reads the answer's line. The pipe's other end may live on in the new process, so its end of file means nothing.
pub fn read_outcome(pipe: &mut File) -> Outcome {
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    while line.last() != Some(&b'\n') {
        match pipe.read(&mut chunk) {
            Ok(0) | Err(_) => return Err("the runtime process ended without an answer".to_owned()),
            Ok(length) => line.extend_from_slice(&chunk[..length]),
        }
    }
    serde_json::from_slice(&line).unwrap_or_else(|error| Err(format!("a damaged answer of the runtime: {error}")))
}

pub fn create(dir: &ContainerDir, id: &str, oom_score_adj: i32, streams: Streams, console: Option<&Path>) -> Outcome {
    adjust_oom_score(oom_score_adj);
    let builder = builder(dir, id, streams, console, ContainerExecutor::default())?;
    let container =
        builder.as_init(dir.path()).with_systemd(false).with_detach(true).build().map_err(|e| causes(&e))?;
    container.pid().map(|pid| pid.as_raw()).ok_or_else(|| "the new container has no process".to_owned())
}

/// Lowering it needs a capability that rootless runtimes lack; they go on without, and so do we.
fn adjust_oom_score(score: i32) {
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}

fn builder(
    dir: &ContainerDir,
    id: &str,
    streams: Streams,
    console: Option<&Path>,
    executor: ContainerExecutor,
) -> Result<ContainerBuilder, String> {
    let mut builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(dir.oci_state())
        .map_err(|error| causes(&error))?
        .with_console_socket(console);
    if let Some(stdin) = streams.stdin {
        builder = builder.with_stdin(stdin);
    }
    if let Some(stdout) = streams.stdout {
        builder = builder.with_stdout(stdout);
    }
    if let Some(stderr) = streams.stderr {
        builder = builder.with_stderr(stderr);
    }
    Ok(builder)
}

pub fn start(dir: &ContainerDir, id: &str) -> Outcome {
    let mut container = Container::load(dir.oci_state().join(id)).map_err(|error| causes(&error))?;
    container.start().map_err(|error| causes(&error))?;
    container.pid().map(|pid| pid.as_raw()).ok_or_else(|| "the container has no process".to_owned())
}

pub fn exec(dir: &ContainerDir, id: &str, exec: &ExecConfig, streams: Streams, console: Option<&Path>) -> Outcome {
    let (process, executor) = exec_process(dir, exec)?;
    let path = dir.path().join(format!("exec-{}.json", std::process::id()));
    records::write_durably(&path, &process).map_err(|error| format!("write {}: {error}", path.display()))?;
    let builder = builder(dir, id, streams, console, executor)?;
    let result = builder.as_tenant().with_process(Some(&path)).with_detach(true).build();
    let _ = fs::remove_file(&path);
    result.map(|pid| pid.as_raw()).map_err(|error| causes(&error))
}

/// The container's own process with other arguments, and what must be done to it last.
fn exec_process(dir: &ContainerDir, exec: &ExecConfig) -> Result<(Value, ContainerExecutor), String> {
    let document: Value = records::read(&dir.oci_spec())
        .map_err(|error| format!("read the container's document: {error}"))?
        .ok_or("the container has no document")?;
    let spec: Spec = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    let own = spec.process().as_ref().ok_or("the container's document has no process")?;
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone());
    let mut process = document["process"].clone();
    process["args"] = json!(exec.args);
    process["terminal"] = json!(exec.tty);
    let needs_more = seccomp.is_some() && own.no_new_privileges() != Some(true);
    let capabilities = needs_more.then(|| own.capabilities().clone()).flatten();
    if capabilities.is_some() {
        lend_capabilities(&mut process);
    }
    Ok((process, ContainerExecutor { seccomp, capabilities }))
}

/// To load a profile without `no_new_privs` takes CAP_SYS_ADMIN; to give it up again, CAP_SETPCAP.
fn lend_capabilities(process: &mut Value) {
    for set in ["bounding", "effective", "permitted"] {
        if let Some(list) = process["capabilities"][set].as_array_mut() {
            for lent in ["CAP_SYS_ADMIN", "CAP_SETPCAP"] {
                if !list.iter().any(|name| name == lent) {
                    list.push(json!(lent));
                }
            }
        }
    }
}

/// One line of an error and its causes, without the repetitions that transparent errors make.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}
