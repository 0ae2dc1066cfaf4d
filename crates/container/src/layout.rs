//! Where everything lies below the run directory.

use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        RunDir(path.into())
    }

    pub fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    pub fn sandbox(&self, uid: &str) -> SandboxDir {
        SandboxDir(self.pods().join(uid))
    }
}

/// The directory of one pod; also the monitor's working directory.
#[derive(Debug, Clone)]
pub struct SandboxDir(PathBuf);

pub const SOCKET: &str = "monitor.sock";

impl SandboxDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SandboxDir(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn record(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }

    pub fn monitor_log(&self) -> PathBuf {
        self.0.join("monitor.log")
    }

    /// Where a namespace is held: `net`, `ipc`, `uts` or `pid`.
    pub fn namespace(&self, name: &str) -> PathBuf {
        self.0.join("ns").join(name)
    }

    pub fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }

    pub fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub fn container(&self, id: &str) -> ContainerDir {
        ContainerDir(self.containers().join(id))
    }
}

/// The directory of one container; also its OCI bundle.
#[derive(Debug, Clone)]
pub struct ContainerDir(PathBuf);

impl ContainerDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }

    pub fn oci_spec(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }

    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// libcontainer's own state.
    pub fn oci_state(&self) -> PathBuf {
        self.0.join("runtime")
    }

    pub fn console(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
