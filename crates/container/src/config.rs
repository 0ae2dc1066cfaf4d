//! What a sandbox and a container are to be, as plain values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The pod's frame: the namespaces its containers share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxConfig {
    /// The pod's UID; names the sandbox on this node.
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub hostname: String,
    pub host_network: bool,
    pub host_ipc: bool,
    pub host_pid: bool,
    pub share_process_namespace: bool,
    /// `net.*`, `kernel.shm*` and the like, set inside the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The pod's cgroup, an absolute path below the hierarchy's root.
    pub cgroup: String,
    pub resources: Resources,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// 64 hexadecimal digits, unique on the node.
    pub id: String,
    pub sandbox: String,
    pub name: String,
    pub attempt: u32,
    /// The image as the pod names it.
    pub image: String,
    /// The image's identity, `sha256:…`.
    pub image_id: String,
    pub image_ref: String,
    pub rootfs: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub user: User,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub mounts: Vec<Mount>,
    pub devices: Vec<PathBuf>,
    pub security: Security,
    pub resources: Resources,
    pub cgroup: String,
    pub oom_score_adj: i32,
    pub log: LogConfig,
    pub stop_signal: String,
    /// Another container of the sandbox whose processes it sees instead of its own alone.
    pub process_namespace_of: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub destination: PathBuf,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    pub privileged: bool,
    pub read_only_rootfs: bool,
    pub no_new_privileges: bool,
    /// Names without `CAP_`; `ALL` is known.
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`: no masked and read-only paths.
    pub unmasked: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile in the OCI JSON form.
    Profile(serde_json::Value),
}

/// Limits in the units of the kernel's interface files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    /// Microseconds in each period.
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    pub memory_limit: Option<i64>,
    pub pids_limit: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    pub path: PathBuf,
    /// A file that grows beyond this is put aside.
    pub size_max: u64,
    /// How many files are kept, the current one included.
    pub files_max: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { path: PathBuf::new(), size_max: 10 << 20, files_max: 5 }
    }
}
