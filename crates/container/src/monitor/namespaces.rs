//! Makes the pod's shared namespaces and holds them by bind mounts.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, sethostname};

use crate::config::SandboxConfig;
use crate::layout::SandboxDir;

/// Size of the pod's shared memory, as container runtimes have it.
const SHM_OPTIONS: &str = "mode=1777,size=67108864";

pub fn create(dir: &SandboxDir, config: &SandboxConfig) -> io::Result<()> {
    fs::create_dir_all(dir.path().join("ns"))?;
    // SAFETY: the process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => finish_child(hold_namespaces(dir, config)),
        ForkResult::Parent { child } => wait_for(child)?,
    }
    if !config.host_ipc {
        mount_shm(dir)?;
    }
    if config.share_process_namespace && !config.host_pid {
        hold_process_namespace(dir)?;
    }
    Ok(())
}

/// The child's end: its message goes to standard error, which the agent reads.
fn finish_child(result: io::Result<()>) -> ! {
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("make the pod's namespaces: {error}");
            1
        }
    };
    // SAFETY: ends only this process, without running the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

fn wait_for(child: Pid) -> io::Result<()> {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        status => Err(io::Error::other(format!("the namespaces were not made: {status:?}"))),
    }
}

fn hold_namespaces(dir: &SandboxDir, config: &SandboxConfig) -> io::Result<()> {
    unshare(flags(config))?;
    if !config.host_network {
        loopback_up()?;
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
        hold("net", &dir.namespace("net"))?;
    }
    if !config.host_ipc {
        hold("ipc", &dir.namespace("ipc"))?;
    }
    if !config.host_network {
        sethostname(&config.hostname)?;
        hold("uts", &dir.namespace("uts"))?;
    }
    for (name, value) in &config.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(|error| io::Error::other(format!("set sysctl {name}: {error}")))?;
    }
    Ok(())
}

/// A pod on the host's network has the host's name as well.
fn flags(config: &SandboxConfig) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    if !config.host_network {
        flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    }
    if !config.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    flags
}

fn hold(name: &str, path: &Path) -> io::Result<()> {
    bind(Path::new(&format!("/proc/self/ns/{name}")), path)
}

fn bind(source: &Path, path: &Path) -> io::Result<()> {
    File::create(path)?;
    Ok(mount(Some(source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

fn mount_shm(dir: &SandboxDir) -> io::Result<()> {
    fs::create_dir_all(dir.shm())?;
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("shm"), &dir.shm(), Some("tmpfs"), flags, Some(SHM_OPTIONS))?)
}

/// Process 1 of a shared process namespace: it adopts and reaps what the containers leave behind.
fn hold_process_namespace(dir: &SandboxDir) -> io::Result<()> {
    // SAFETY: the process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => wait_for(child),
        ForkResult::Child => finish_child(start_process_one(dir)),
    }
}

fn start_process_one(dir: &SandboxDir) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    // SAFETY: the process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => bind(Path::new(&format!("/proc/{child}/ns/pid")), &dir.namespace("pid")),
        ForkResult::Child => reap_for_ever(),
    }
}

fn reap_for_ever() -> ! {
    let signals = SigSet::from(Signal::SIGCHLD);
    let _ = signals.thread_block();
    let _ = nix::unistd::setsid();
    let _ = to_null();
    loop {
        let _ = signals.wait();
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
    }
}

/// The agent waits for the end of our standard streams.
fn to_null() -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut request: libc::ifreq = {
        // SAFETY: an all-zero ifreq is a valid value of this plain C structure.
        unsafe { std::mem::zeroed() }
    };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("two small flags");
    // SAFETY: the descriptor is open and the request lives through the call, which reads it only.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS as _, &request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
