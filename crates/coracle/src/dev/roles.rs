//! The processes that make a node: one that enters the namespaces, and the node's first process.
//!
//! Both are re-executions of our own binary with one thread. The first process mounts what the node sees, keeps the
//! node's program running as a service manager would, and adopts orphans: the monitors of pods, when the agent dies.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitStatus, wait};
use serde::{Deserialize, Serialize};

const ENTER: &str = "dev-node-enter";
const INIT: &str = "dev-node-init";
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A node, as its first process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    pub hostname: String,
    pub netns: PathBuf,
    /// Becomes `/var/lib/coracle` in the node.
    pub data: PathBuf,
    /// Becomes `/var/lib/coracle/images`.
    pub images: PathBuf,
    /// Its files cover those of the same name in `/etc`.
    pub etc: PathBuf,
    pub log: PathBuf,
    pub pid_file: PathBuf,
    /// The arguments of the node's program.
    pub arguments: Vec<String>,
}

/// Runs a role if the arguments ask for one.
pub fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let role = arguments.next()?;
    let work: fn(&Path) -> anyhow::Result<()> = match role.to_str() {
        Some(ENTER) => enter,
        Some(INIT) => init,
        _ => return None,
    };
    let spec = arguments.next().map(PathBuf::from).unwrap_or_default();
    Some(match work(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn read(spec: &Path) -> anyhow::Result<NodeSpec> {
    let bytes = fs::read(spec).with_context(|| format!("read {}", spec.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Starts a node and returns when its first process runs. `socket` becomes the program's standard input.
#[expect(clippy::disallowed_methods, reason = "a node is started by re-executing our own binary")]
pub fn start(spec: &NodeSpec, directory: &Path, socket: Option<std::net::TcpListener>) -> anyhow::Result<()> {
    let path = directory.join("spec.json");
    crate::join::write_private(&path, &serde_json::to_vec_pretty(spec)?)?;
    let log = append(&spec.log)?;
    let stdin = socket.map_or_else(Stdio::null, |socket| Stdio::from(std::os::fd::OwnedFd::from(socket)));
    let status = Command::new("/proc/self/exe")
        .arg(ENTER)
        .arg(&path)
        .stdin(stdin)
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("start the node")?;
    if status.success() {
        return Ok(());
    }
    bail!("the node {} did not start; see {}", spec.hostname, spec.log.display())
}

fn append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("open {}", path.display()))
}

/// Enters the node's namespaces and starts its first process, which outlives this one.
#[expect(clippy::disallowed_methods, reason = "the first process of a node is a re-execution of our own binary")]
fn enter(path: &Path) -> anyhow::Result<()> {
    let spec = read(path)?;
    nix::unistd::setsid().context("leave the session")?;
    let network = File::open(&spec.netns).with_context(|| format!("open {}", spec.netns.display()))?;
    setns(network.as_fd(), CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
    // Not the mounts: this process still reads this machine's /proc and writes this machine's files.
    unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID)
        .context("make the node's namespaces")?;
    let child = Command::new("/proc/self/exe").arg(INIT).arg(path).spawn().context("start the first process")?;
    let pid = i32::try_from(child.id()).context("a process number")?;
    let began = super::state::start_time(pid).context("the first process ended at once")?;
    crate::join::write_private(&spec.pid_file, format!("{pid} {began}\n").as_bytes())
}

/// The node's first process: never returns while the node lives.
fn init(path: &Path) -> anyhow::Result<()> {
    let spec = read(path)?;
    unshare(CloneFlags::CLONE_NEWNS).context("make the node's mount namespace")?;
    nix::unistd::sethostname(&spec.hostname).context("set the host's name")?;
    mount_all(&spec)?;
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let began = Instant::now();
        let program = run(&spec)?;
        let status = reap_until(&program)?;
        eprintln!(
            "coracle {} ended ({status:?}); starting it again",
            spec.arguments.first().map_or("", String::as_str)
        );
        pause =
            if began.elapsed() > RESTART_PAUSE_MAX { RESTART_PAUSE_MIN } else { (pause * 2).min(RESTART_PAUSE_MAX) };
        wait_before_restart(pause);
    }
}

#[expect(clippy::disallowed_methods, reason = "a process with one thread that has nothing else to wait for")]
fn wait_before_restart(pause: Duration) {
    std::thread::sleep(pause / 2);
}

#[expect(clippy::disallowed_methods, reason = "a service manager starts programs")]
fn run(spec: &NodeSpec) -> anyhow::Result<Child> {
    Command::new("/proc/self/exe").args(&spec.arguments).spawn().context("start the node's program")
}

/// Reaps every child, and returns when it was the program.
fn reap_until(program: &Child) -> anyhow::Result<WaitStatus> {
    let own = i32::try_from(program.id()).context("a process number")?;
    loop {
        let status = wait().context("wait for a child")?;
        if status.pid().is_some_and(|pid| pid.as_raw() == own) {
            return Ok(status);
        }
    }
}

/// What the node sees of the file system: everything of this machine, but for what is its own.
fn mount_all(spec: &NodeSpec) -> anyhow::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make the mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mount /proc")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context("mount /run")?;
    for file in fs::read_dir(&spec.etc).context("read the node's own files")? {
        let file = file?;
        let target = Path::new("/etc").join(file.file_name());
        if target.exists() {
            bind(&file.path(), &target)?;
        }
    }
    // Last: it covers the directory in which this machine keeps its clusters.
    bind(&spec.images, &spec.data.join("images"))?;
    bind(&spec.data, Path::new(crate::agent::DATA_DIR))
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mount {} at {}", from.display(), to.display()))
}
