//! `coracle dev down` and `coracle dev stop`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use client::kubeconfig::Kubeconfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::state::Cluster;
use super::{OneNode, lan, up};

pub fn run(name: &str, kubeconfig: Option<PathBuf>) -> anyhow::Result<()> {
    crate::agent::require_root()?;
    let mut cluster = Cluster::open(name)?;
    if let Some(path) = kubeconfig {
        cluster.kubeconfig = path;
    }
    remove(&cluster)?;
    println!("Cluster \"{name}\" is gone.");
    Ok(())
}

/// Ends and removes everything of a cluster, also one that was only half made.
pub fn remove(cluster: &Cluster) -> anyhow::Result<()> {
    for node in &cluster.nodes {
        switch_off(cluster, &node.name)?;
    }
    lan::delete(cluster)?;
    remove_cgroups(&format!("coracle-dev-{}", cluster.name))?;
    forget_context(cluster)?;
    remove_directory(&cluster.run_directory())?;
    remove_directory(&cluster.directory())
}

pub fn stop(arguments: &OneNode) -> anyhow::Result<()> {
    crate::agent::require_root()?;
    let cluster = Cluster::open(&arguments.name)?;
    let node = cluster.node(&arguments.node)?;
    if switch_off(&cluster, &node.name)? {
        println!("Node {} is off.", node.name);
    } else {
        println!("Node {} was off already.", node.name);
    }
    Ok(())
}

/// Kills a node's first process, and with it everything in the node; waits until it is gone.
fn switch_off(cluster: &Cluster, node: &str) -> anyhow::Result<bool> {
    let Some(pid) = cluster.pid(node) else { return Ok(false) };
    let rustix_pid = rustix::process::Pid::from_raw(pid).context("a process number")?;
    let handle = pidfd_open(rustix_pid, PidfdFlags::empty()).context("watch the node's first process")?;
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("end process {pid}"))?;
    let mut watched = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut watched, None).context("wait for the node's end")?;
    Ok(true)
}

/// Removes the groups of this name from every hierarchy, the innermost first.
fn remove_cgroups(name: &str) -> anyhow::Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).context("read /sys/fs/cgroup")?.flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        let group = hierarchy.join(name);
        if group.is_dir() {
            remove_group(&group).with_context(|| format!("remove {}", group.display()))?;
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn forget_context(cluster: &Cluster) -> anyhow::Result<()> {
    if !cluster.kubeconfig.exists() {
        return Ok(());
    }
    let mut kubeconfig = Kubeconfig::read(&cluster.kubeconfig)?;
    kubeconfig.remove(&up::context_name(&cluster.name));
    if kubeconfig.is_empty() {
        return fs::remove_file(&cluster.kubeconfig).context("remove the kubeconfig");
    }
    Ok(kubeconfig.write(&cluster.kubeconfig)?)
}

fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
