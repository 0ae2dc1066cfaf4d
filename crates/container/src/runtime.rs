//! The seam: what a kubelet asks of a container runtime.

use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::config::{ContainerConfig, SandboxConfig};

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("no sandbox {uid:?} on this node")]
    NoSandbox { uid: String },
    #[error("no container {id:?} on this node")]
    NoContainer { id: String },
    #[error("container {id:?} is not running")]
    NotRunning { id: String },
    #[error("container {id:?} is running")]
    StillRunning { id: String },
    /// The monitor or the OCI runtime refused; the text is meant for the user.
    #[error("{message}")]
    Refused { message: String },
    #[error("the monitor of pod {uid:?} does not answer")]
    MonitorLost {
        uid: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{action} {path:?}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl RuntimeError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| RuntimeError::Io { action, path, source }
    }

    /// The text with all its causes, for events and statuses.
    pub fn full_text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// Where a sandbox's shared namespaces are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    pub uid: String,
    /// None with host networking.
    pub netns: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxStatus {
    pub config: SandboxConfig,
    pub netns: Option<PathBuf>,
    pub created_at: Timestamp,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub config: ContainerConfig,
    pub created_at: Timestamp,
    pub state: ContainerState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    Created,
    Running { pid: i32, started_at: Timestamp },
    Exited(Exit),
}

impl ContainerState {
    pub fn is_running(&self) -> bool {
        matches!(self, ContainerState::Running { .. })
    }

    pub fn exit(&self) -> Option<&Exit> {
        match self {
            ContainerState::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

/// How a container ended, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    #[serde(default)]
    pub signal: Option<i32>,
    pub reason: ExitReason,
    #[serde(default)]
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    Completed,
    Error,
    OomKilled,
    /// The process never ran.
    StartError,
    /// Nobody saw the end: the monitor died, or the node restarted.
    Unknown,
}

impl ExitReason {
    /// The word in `state.terminated.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            ExitReason::Completed => "Completed",
            ExitReason::Error => "Error",
            ExitReason::OomKilled => "OOMKilled",
            ExitReason::StartError => "StartError",
            ExitReason::Unknown => "ContainerStatusUnknown",
        }
    }
}

/// Something happened to a container of this sandbox: look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    pub sandbox: String,
    pub container: String,
    pub exit_code: Option<i32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecConfig {
    pub args: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The process ends when its session is dropped; for probes and hooks.
    #[serde(default)]
    pub kill_on_drop: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A process beside the container's own, or the container's own streams.
pub struct Session {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    /// Terminal sizes go here; closed when the process has ended.
    pub resize: mpsc::Sender<TerminalSize>,
    /// The exit code, once the process has ended.
    pub exit: oneshot::Receiver<i32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStats {
    pub cpu_usage_nanos: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub pids: u64,
}

/// What runs containers. Implementations: [`crate::LinuxRuntime`], [`crate::FakeRuntime`].
#[async_trait]
pub trait ContainerRuntime: Send + Sync {
    /// Makes the pod's namespaces and starts its monitor. Idempotent.
    async fn create_sandbox(&self, config: &SandboxConfig) -> Result<Sandbox, RuntimeError>;

    /// Ends what still runs and removes all trace of the sandbox. Idempotent.
    async fn remove_sandbox(&self, uid: &str) -> Result<(), RuntimeError>;

    /// Prepares the process and opens the log file; nothing of the image runs yet.
    async fn create_container(&self, config: &ContainerConfig) -> Result<(), RuntimeError>;

    async fn start_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError>;

    /// Sends a signal to the container's first process; fine if it has ended.
    async fn kill_container(&self, uid: &str, id: &str, signal: i32) -> Result<(), RuntimeError>;

    /// Removes an ended container's records; its log stays.
    async fn remove_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError>;

    async fn exec(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError>;

    async fn attach(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError>;

    /// All sandboxes on this node with their containers, from the records on disk.
    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError>;

    async fn status(&self, uid: &str) -> Result<Option<SandboxStatus>, RuntimeError>;

    async fn stats(&self, uid: &str, id: &str) -> Result<ContainerStats, RuntimeError>;

    /// Events of all sandboxes; a slow reader loses the oldest and must list again.
    fn subscribe(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent>;
}
