//! The processes of a dev cluster, as `/proc` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// When it began, as the kernel counts: with the pid, what tells it from every other.
    pub began: u64,
    /// User and system time, in clock ticks.
    pub ticks: u64,
    pub arguments: Vec<String>,
    /// It has ended, and only its parent's look at its exit code is missing.
    pub ended: bool,
}

impl Process {
    /// The program that our binary plays in this process: `server`, `agent`, `monitor`, `network-agent`, `dns`.
    pub fn role(&self) -> Option<&str> {
        let program = Path::new(self.arguments.first()?).file_name()?;
        (program == "coracle" || program == "exe").then(|| self.arguments.get(1).map(String::as_str)).flatten()
    }

    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Self {
            pid,
            parent: u32::try_from(number(1)?).ok()?,
            began: number(19)?,
            ticks: number(11)? + number(12)?,
            arguments: arguments.collect(),
            ended: fields.first() == Some(&"Z"),
        })
    }

    /// Memory that is its own, and its share of what it shares, in bytes.
    pub fn proportional_memory(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }
}

/// Every process of this machine.
pub fn all() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Process::read(pid)?))).collect()
}

/// The first process of a node, and all that descend from it.
pub fn of_node(cluster: &str, node: &str) -> Result<Vec<Process>> {
    let path = format!("/var/lib/coracle/dev/{cluster}/nodes/{node}/pid");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Ok(descendants(&all(), first.with_context(|| format!("no number in {path}"))?))
}

fn descendants(all: &BTreeMap<u32, Process>, first: u32) -> Vec<Process> {
    let mut found: Vec<Process> = all.get(&first).cloned().into_iter().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.values().filter(|process| process.parent == parent).cloned());
        next += 1;
    }
    found
}

/// Those of a node that play this role.
pub fn with_role(cluster: &str, node: &str, role: &str) -> Result<Vec<Process>> {
    let processes = of_node(cluster, node)?;
    Ok(processes.into_iter().filter(|process| process.role() == Some(role)).collect())
}

/// Who the node's containers are: the processes that started them, and those inside.
pub fn container_identities(cluster: &str, node: &str) -> Result<BTreeSet<(u32, u64)>> {
    let processes = of_node(cluster, node)?;
    let all = processes.iter().map(|process| (process.pid, process.clone())).collect();
    let monitors = processes.iter().filter(|process| process.role() == Some("monitor"));
    let inside = monitors.flat_map(|monitor| descendants(&all, monitor.pid));
    Ok(inside.map(|process| (process.pid, process.began)).collect())
}

/// Ends a process as the kernel does when memory runs out: at once, without a word.
pub fn kill(process: &Process) -> Result<()> {
    let now = Process::read(process.pid).with_context(|| format!("process {} is gone", process.pid))?;
    ensure!(now.began == process.began, "process {} is another one by now", process.pid);
    let status = Command::new("kill").args(["-KILL", &process.pid.to_string()]).status().context("run kill")?;
    ensure!(status.success(), "kill {}: {status}", process.pid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_the_descendants_of_its_parent() {
        let (all, own) = (all(), std::process::id());
        let parent = all[&own].parent;
        assert!(descendants(&all, parent).iter().any(|process| process.pid == own));
        assert!(all[&own].proportional_memory().is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn a_role_is_only_our_own_binary_s() {
        let process = |arguments: &[&str]| Process {
            pid: 1,
            parent: 0,
            began: 0,
            ticks: 0,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            ended: false,
        };
        assert_eq!(process(&["/proc/self/exe", "monitor", "x"]).role(), Some("monitor"));
        assert_eq!(process(&["/coracle", "dns"]).role(), Some("dns"));
        assert_eq!(process(&["python3", "server"]).role(), None);
    }
}
