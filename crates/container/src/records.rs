//! The records on disk, by which a sandbox is found again after the agent is gone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{ContainerConfig, SandboxConfig};
use crate::layout::{ContainerDir, SandboxDir};
use crate::runtime::{ContainerState, ContainerStatus, Exit, ExitReason, SandboxStatus};

#[derive(Debug, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub config: SandboxConfig,
    pub netns: Option<PathBuf>,
    pub created_at: Timestamp,
    /// The node's boot: another one means that nothing of this record runs.
    pub boot_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub config: ContainerConfig,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartedRecord {
    pub pid: i32,
    pub started_at: Timestamp,
}

/// Replaces a file so that a crash leaves the old one or the new one, on disk.
pub fn write_durably<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let directory = path.parent().expect("a record lies in a directory");
    File::open(directory)?.sync_all()
}

pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map(Some)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Reads a sandbox with its containers; None if it has no record (never made, or half removed).
pub fn read_sandbox(dir: &SandboxDir) -> io::Result<Option<SandboxStatus>> {
    let Some(record) = read::<SandboxRecord>(&dir.record())? else {
        return Ok(None);
    };
    let mut containers = Vec::new();
    for name in directory_names(&dir.containers())? {
        containers.extend(read_container(&dir.container(&name))?);
    }
    containers.sort_by_key(|container: &ContainerStatus| container.created_at);
    Ok(Some(SandboxStatus { config: record.config, netns: record.netns, created_at: record.created_at, containers }))
}

fn read_container(dir: &ContainerDir) -> io::Result<Option<ContainerStatus>> {
    let Some(record) = read::<ContainerRecord>(&dir.record())? else {
        return Ok(None);
    };
    let state = match (read::<Exit>(&dir.exit())?, read::<StartedRecord>(&dir.started())?) {
        (Some(exit), _) => ContainerState::Exited(exit),
        (None, Some(started)) => ContainerState::Running { pid: started.pid, started_at: started.started_at },
        (None, None) => ContainerState::Created,
    };
    Ok(Some(ContainerStatus { config: record.config, created_at: record.created_at, state }))
}

/// The names in a directory; none if there is no such directory.
pub fn directory_names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Journals an end that nobody saw.
pub fn write_unknown_exit(dir: &ContainerDir, message: &str) -> io::Result<()> {
    let started = read::<StartedRecord>(&dir.started())?;
    let exit = Exit {
        code: 137,
        signal: None,
        reason: ExitReason::Unknown,
        message: message.to_owned(),
        started_at: started.map(|record| record.started_at),
        finished_at: Timestamp::now(),
    };
    write_durably(&dir.exit(), &exit)
}
