//! The agent's side of the real runtime: records, monitors, connections. Start at [`LinuxRuntime`].

mod connection;
mod host;
mod removal;
mod session;
mod watch;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use rt::TaskSet;
use tokio::sync::broadcast;

use crate::cgroup::Hierarchy;
use crate::config::{ContainerConfig, SandboxConfig};
use crate::layout::{RunDir, SandboxDir};
use crate::monitor::protocol::Request;
use crate::records::{self, ContainerRecord, SandboxRecord};
use crate::runtime::{
    ContainerRuntime, ContainerState, ContainerStats, ExecConfig, RuntimeError, RuntimeEvent, Sandbox, SandboxStatus,
    Session,
};
use crate::spec::{HostFacts, NamespacePaths, oci_spec};
use connection::Connection;

/// Events that a reader may lag behind before it must list again: one per container of a full node, and some.
const EVENTS_MAX: usize = 1024;

/// Containers by namespaces and cgroups, each pod under a monitor that outlives this process.
#[derive(Clone)]
pub struct LinuxRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    run: RunDir,
    /// The program that is re-executed as a monitor.
    program: PathBuf,
    hierarchy: Hierarchy,
    host: HostFacts,
    events: broadcast::Sender<RuntimeEvent>,
    watched: Mutex<HashSet<String>>,
    tasks: TaskSet,
}

/// The sandboxes below a run directory, from the records alone; no agent is needed.
pub fn list_run_dir(run_dir: &Path) -> Result<Vec<SandboxStatus>, RuntimeError> {
    let run = RunDir::new(run_dir);
    let failed = || RuntimeError::io("list sandboxes in", run_dir);
    let names = records::directory_names(&run.pods()).map_err(failed())?;
    let mut list = Vec::new();
    for uid in names {
        list.extend(records::read_sandbox(&run.sandbox(&uid)).map_err(failed())?);
    }
    Ok(list)
}

impl LinuxRuntime {
    /// Takes up the sandboxes that an earlier agent left: those whose monitor lives go on, the others have ended.
    pub async fn new(run_dir: impl Into<PathBuf>, tasks: TaskSet) -> Result<LinuxRuntime, RuntimeError> {
        let run_dir = run_dir.into();
        let run = RunDir::new(&run_dir);
        fs::create_dir_all(run.pods()).map_err(RuntimeError::io("create", run.pods()))?;
        let hierarchy = Hierarchy::detect().map_err(RuntimeError::io("read", "/proc/self/mountinfo"))?;
        let inner = Inner {
            run,
            program: PathBuf::from("/proc/self/exe"),
            host: host::observe(&hierarchy),
            hierarchy,
            events: broadcast::channel(EVENTS_MAX).0,
            watched: Mutex::default(),
            tasks,
        };
        let runtime = LinuxRuntime { inner: Arc::new(inner) };
        for uid in records::directory_names(&runtime.inner.run.pods()).map_err(RuntimeError::io("list", run_dir))? {
            runtime.adopt(&uid).await;
        }
        Ok(runtime)
    }

    async fn adopt(&self, uid: &str) {
        let dir = self.inner.run.sandbox(uid);
        match Connection::open(&dir, uid).await {
            Ok(_) => self.watch(uid),
            Err(error) => {
                tracing::warn!(pod = uid, %error, "sandbox has lost its monitor");
                self.inner.journal_lost(uid);
            }
        }
    }

    /// Follows the sandbox's events, once.
    fn watch(&self, uid: &str) {
        if self.inner.watched.lock().insert(uid.to_owned()) {
            let inner = Arc::clone(&self.inner);
            let uid = uid.to_owned();
            self.inner.tasks.spawn_until_cancelled("sandbox events", async move { watch::follow(inner, uid).await });
        }
    }

    async fn connect(&self, uid: &str) -> Result<Connection, RuntimeError> {
        let dir = self.sandbox_dir(uid)?;
        Connection::open(&dir, uid).await
    }

    fn sandbox_dir(&self, uid: &str) -> Result<SandboxDir, RuntimeError> {
        let dir = self.inner.run.sandbox(uid);
        if dir.record().exists() { Ok(dir) } else { Err(RuntimeError::NoSandbox { uid: uid.to_owned() }) }
    }

    async fn lives(&self, dir: &SandboxDir, uid: &str) -> Option<Sandbox> {
        let record: SandboxRecord = records::read(&dir.record()).ok().flatten()?;
        let connection = Connection::open(dir, uid).await.ok()?;
        drop(connection);
        Some(Sandbox { uid: uid.to_owned(), netns: record.netns })
    }

    async fn spawn_monitor(&self, dir: &SandboxDir, uid: &str) -> Result<(), RuntimeError> {
        let output = tokio::process::Command::new(&self.inner.program)
            .arg(crate::monitor::VERB)
            .arg(dir.path())
            .env_clear()
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(RuntimeError::io("start the monitor in", dir.path()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(RuntimeError::Refused { message: format!("start the monitor of pod {uid}: {}", said.trim()) })
    }
}

/// The namespaces that exist below a sandbox's directory.
fn namespace_paths(dir: &SandboxDir) -> NamespacePaths {
    let held = |name: &str| Some(dir.namespace(name)).filter(|path| path.exists());
    NamespacePaths {
        net: held("net"),
        ipc: held("ipc"),
        uts: held("uts"),
        pid: held("pid"),
        shm: Some(dir.shm()).filter(|path| path.exists()),
    }
}

/// The process namespace of a container that runs.
fn process_namespace(dir: &SandboxDir, id: &str) -> Result<PathBuf, RuntimeError> {
    let status = records::read_sandbox(dir).map_err(RuntimeError::io("read records in", dir.path()))?;
    let containers = status.into_iter().flat_map(|status| status.containers);
    let target = containers.into_iter().find(|container| container.config.id == id).ok_or_else(|| no_container(id))?;
    match target.state {
        ContainerState::Running { pid, .. } => Ok(PathBuf::from(format!("/proc/{pid}/ns/pid"))),
        _ => Err(RuntimeError::Refused { message: format!("target container {id} is not running") }),
    }
}

fn no_container(id: &str) -> RuntimeError {
    RuntimeError::NoContainer { id: id.to_owned() }
}

#[async_trait]
impl ContainerRuntime for LinuxRuntime {
    async fn create_sandbox(&self, config: &SandboxConfig) -> Result<Sandbox, RuntimeError> {
        let uid = &config.uid;
        let dir = self.inner.run.sandbox(uid);
        if let Some(sandbox) = self.lives(&dir, uid).await {
            self.watch(uid);
            return Ok(sandbox);
        }
        self.remove_sandbox(uid).await?;
        fs::create_dir_all(dir.containers()).map_err(RuntimeError::io("create", dir.containers()))?;
        let made = self.inner.hierarchy.create_pod(&config.cgroup, &config.resources);
        made.map_err(RuntimeError::io("create cgroup", &config.cgroup))?;
        let record = SandboxRecord {
            config: config.clone(),
            netns: (!config.host_network).then(|| dir.namespace("net")),
            created_at: Timestamp::now(),
            boot_id: records::boot_id(),
        };
        records::write_durably(&dir.record(), &record).map_err(RuntimeError::io("write", dir.record()))?;
        self.spawn_monitor(&dir, uid).await?;
        self.watch(uid);
        Ok(Sandbox { uid: uid.clone(), netns: record.netns })
    }

    async fn remove_sandbox(&self, uid: &str) -> Result<(), RuntimeError> {
        let dir = self.inner.run.sandbox(uid);
        // From here on the monitor's end is what was asked for.
        self.inner.watched.lock().remove(uid);
        if let Ok(mut connection) = Connection::open(&dir, uid).await {
            // A monitor that dies instead of answering has ended as well.
            let _ = connection.ask(&Request::Shutdown).await;
        }
        let inner = Arc::clone(&self.inner);
        let uid = uid.to_owned();
        let removal =
            tokio::task::spawn_blocking(move || removal::remove_sandbox(&inner.hierarchy, &inner.run.sandbox(&uid)));
        removal.await.expect("the removal does not panic")
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let (uid, id) = (&config.sandbox, &config.id);
        let sandbox_dir = self.sandbox_dir(uid)?;
        let sandbox: SandboxRecord = records::read(&sandbox_dir.record())
            .map_err(RuntimeError::io("read", sandbox_dir.record()))?
            .ok_or_else(|| RuntimeError::NoSandbox { uid: uid.clone() })?;
        let dir = sandbox_dir.container(id);
        let failed = || RuntimeError::io("write records in", dir.path());
        fs::create_dir_all(dir.oci_state()).map_err(failed())?;
        let mut namespaces = namespace_paths(&sandbox_dir);
        if let Some(target) = &config.process_namespace_of {
            namespaces.pid = Some(process_namespace(&sandbox_dir, target)?);
        }
        let document = oci_spec(config, &sandbox.config, &namespaces, &self.inner.host);
        let record = ContainerRecord { config: config.clone(), created_at: Timestamp::now() };
        fs::write(dir.oci_spec(), document.to_string()).map_err(failed())?;
        records::write_durably(&dir.record(), &record).map_err(failed())?;
        let mut connection = self.connect(uid).await?;
        let created = connection.ask(&Request::Create { id: id.clone() }).await;
        if created.is_err() {
            let _ = removal::remove_container(&self.inner.hierarchy, &dir);
        }
        created
    }

    async fn start_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError> {
        self.connect(uid).await?.ask(&Request::Start { id: id.to_owned() }).await
    }

    async fn kill_container(&self, uid: &str, id: &str, signal: i32) -> Result<(), RuntimeError> {
        let dir = self.sandbox_dir(uid)?.container(id);
        if dir.exit().exists() {
            return Ok(());
        }
        self.connect(uid).await?.ask(&Request::Kill { id: id.to_owned(), signal }).await
    }

    async fn remove_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError> {
        let Ok(sandbox) = self.sandbox_dir(uid) else {
            return Ok(());
        };
        let dir = sandbox.container(id);
        if let Ok(mut connection) = self.connect(uid).await {
            connection.ask(&Request::Forget { id: id.to_owned() }).await?;
        }
        let inner = Arc::clone(&self.inner);
        let removal = tokio::task::spawn_blocking(move || removal::remove_container(&inner.hierarchy, &dir));
        removal.await.expect("the removal does not panic")
    }

    async fn exec(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError> {
        session::exec(&self.sandbox_dir(uid)?, uid, id, exec, &self.inner.tasks).await
    }

    async fn attach(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError> {
        session::attach(&self.sandbox_dir(uid)?, uid, id, exec, &self.inner.tasks).await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let pods = self.inner.run.pods();
        let mut list = Vec::new();
        for uid in records::directory_names(&pods).map_err(RuntimeError::io("list", &pods))? {
            list.extend(self.status(&uid).await?);
        }
        Ok(list)
    }

    async fn status(&self, uid: &str) -> Result<Option<SandboxStatus>, RuntimeError> {
        let dir = self.inner.run.sandbox(uid);
        records::read_sandbox(&dir).map_err(RuntimeError::io("read records in", dir.path()))
    }

    async fn stats(&self, uid: &str, id: &str) -> Result<ContainerStats, RuntimeError> {
        let dir = self.sandbox_dir(uid)?.container(id);
        let record: Option<ContainerRecord> =
            records::read(&dir.record()).map_err(RuntimeError::io("read", dir.record()))?;
        let record = record.ok_or_else(|| no_container(id))?;
        Ok(self.inner.hierarchy.stats(&record.config.cgroup))
    }

    fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }
}
