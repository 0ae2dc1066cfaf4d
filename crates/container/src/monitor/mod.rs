//! The monitor: one small single-threaded process per pod, a re-execution of our own binary.
//!
//! It holds the pod's namespaces, owns the containers' pipes and terminals, writes their logs, reaps them, journals
//! their ends, and outlives the agent. It must not know Kubernetes. Start at [`dispatch`], then `event_loop`.

mod clients;
mod container;
mod event_loop;
mod executor;
mod job;
mod log;
mod namespaces;
pub(crate) mod protocol;
mod reap;

pub(crate) use clients::{receive, send};

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{ForkResult, fork, setsid};

use crate::layout::{SOCKET, SandboxDir};
use crate::records::{self, SandboxRecord};

/// The first argument that makes our binary a monitor.
pub const VERB: &str = "monitor";

/// Runs a re-executed role if the arguments ask for one.
///
/// The roof's `main` must call this before it starts a runtime or any thread: the roles fork.
pub fn dispatch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()?.to_str() != Some(VERB) {
        return None;
    }
    let Some(directory) = args.next() else {
        eprintln!("usage: {VERB} SANDBOX-DIRECTORY");
        return Some(ExitCode::from(2));
    };
    Some(match start(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Makes the namespaces and the socket, then detaches: when the first process ends well, the monitor answers.
fn start(directory: &Path) -> io::Result<()> {
    let dir = SandboxDir::new(directory);
    let record: SandboxRecord = records::read(&dir.record())?.ok_or_else(|| io::Error::other("no sandbox record"))?;
    std::env::set_current_dir(directory)?;
    namespaces::create(&dir, &record.config)?;
    let _ = std::fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET)?;
    // SAFETY: the process has one thread, so the child may go on as if nothing happened.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            let ended = detach(&dir).and_then(|()| event_loop::run(dir, &record.config, listener));
            if let Err(error) = ended {
                eprintln!("monitor: {error}");
            }
            std::process::exit(0)
        }
    }
}

/// Leaves the agent's session and its standard streams, and becomes the adopter of orphans.
fn detach(dir: &SandboxDir) -> io::Result<()> {
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let _ = nix::sys::prctl::set_name(c"coracle-monitor");
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.monitor_log())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}
