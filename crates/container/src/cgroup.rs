//! Control groups as the kernel shows them, version 1 and 2: counters, members, removal.
//!
//! libcontainer makes the containers' groups; this reads and ends them, also when nobody else is left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::Resources;
use crate::runtime::ContainerStats;

/// The mounted hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// Controller name to mount point.
    V1(BTreeMap<String, PathBuf>),
    V2(PathBuf),
}

const V1_CONTROLLERS: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
];

impl Hierarchy {
    pub fn detect() -> io::Result<Hierarchy> {
        Ok(parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// All directories of one group.
    fn directories(&self, cgroup: &str) -> Vec<PathBuf> {
        let relative = cgroup.trim_start_matches('/');
        match self {
            Hierarchy::V2(root) => vec![root.join(relative)],
            Hierarchy::V1(controllers) => {
                let mut paths: Vec<PathBuf> = controllers.values().map(|root| root.join(relative)).collect();
                paths.dedup();
                paths
            }
        }
    }

    fn directory(&self, controller: &str, cgroup: &str) -> Option<PathBuf> {
        let relative = cgroup.trim_start_matches('/');
        match self {
            Hierarchy::V2(root) => Some(root.join(relative)),
            Hierarchy::V1(controllers) => controllers.get(controller).map(|root| root.join(relative)),
        }
    }

    /// How often the kernel killed a member of the group for want of memory.
    pub fn oom_kills(&self, cgroup: &str) -> u64 {
        let file = match self {
            Hierarchy::V1(_) => "memory.oom_control",
            Hierarchy::V2(_) => "memory.events",
        };
        let Some(directory) = self.directory("memory", cgroup) else {
            return 0;
        };
        fs::read_to_string(directory.join(file)).map_or(0, |text| keyed(&text, "oom_kill"))
    }

    /// Kills all members of the group and of the groups below it.
    pub fn kill_all(&self, cgroup: &str) {
        for directory in self.directories(cgroup) {
            if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            for pid in members_below(&directory) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Removes the group and the groups below it. A group with members stays.
    pub fn remove(&self, cgroup: &str) -> io::Result<()> {
        self.directories(cgroup).iter().try_for_each(|directory| remove_tree(directory))
    }

    /// Makes the pod's own group with its limits; the containers' groups lie below.
    pub fn create_pod(&self, cgroup: &str, resources: &Resources) -> io::Result<()> {
        match self {
            Hierarchy::V1(_) => self.create_pod_v1(cgroup, resources),
            Hierarchy::V2(root) => create_pod_v2(root, cgroup, resources),
        }
    }

    fn create_pod_v1(&self, cgroup: &str, resources: &Resources) -> io::Result<()> {
        if let Some(directory) = self.directory("cpu", cgroup) {
            fs::create_dir_all(&directory)?;
            write_limit(&directory, "cpu.shares", resources.cpu_shares)?;
            write_limit(&directory, "cpu.cfs_period_us", resources.cpu_period)?;
            write_limit(&directory, "cpu.cfs_quota_us", resources.cpu_quota)?;
        }
        if let Some(directory) = self.directory("memory", cgroup) {
            fs::create_dir_all(&directory)?;
            write_limit(&directory, "memory.limit_in_bytes", resources.memory_limit)?;
        }
        Ok(())
    }

    pub fn stats(&self, cgroup: &str) -> ContainerStats {
        match self {
            Hierarchy::V1(_) => self.stats_v1(cgroup),
            Hierarchy::V2(_) => self.stats_v2(cgroup),
        }
    }

    fn stats_v1(&self, cgroup: &str) -> ContainerStats {
        let read = |controller: &str, file: &str| {
            let directory = self.directory(controller, cgroup)?;
            fs::read_to_string(directory.join(file)).ok()
        };
        let number = |controller, file| read(controller, file).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let usage: u64 = number("memory", "memory.usage_in_bytes");
        let detail = read("memory", "memory.stat").unwrap_or_default();
        ContainerStats {
            cpu_usage_nanos: number("cpuacct", "cpuacct.usage"),
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(keyed(&detail, "total_inactive_file")),
            memory_rss_bytes: keyed(&detail, "total_rss"),
            pids: number("pids", "pids.current"),
        }
    }

    fn stats_v2(&self, cgroup: &str) -> ContainerStats {
        let read = |file: &str| {
            let directory = self.directory("", cgroup)?;
            fs::read_to_string(directory.join(file)).ok()
        };
        let number = |file| read(file).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let usage: u64 = number("memory.current");
        let detail = read("memory.stat").unwrap_or_default();
        ContainerStats {
            cpu_usage_nanos: keyed(&read("cpu.stat").unwrap_or_default(), "usage_usec") * 1000,
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(keyed(&detail, "inactive_file")),
            memory_rss_bytes: keyed(&detail, "anon"),
            pids: number("pids.current"),
        }
    }
}

fn parse_mountinfo(text: &str) -> Hierarchy {
    let mut controllers = BTreeMap::new();
    let mut unified = None;
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount_point) = left.split(' ').nth(4) else {
            continue;
        };
        let mut fields = right.split(' ');
        match (fields.next(), fields.nth(1)) {
            (Some("cgroup"), Some(options)) => {
                for name in options.split(',').filter(|name| V1_CONTROLLERS.contains(name)) {
                    controllers.insert(name.to_owned(), PathBuf::from(mount_point));
                }
            }
            (Some("cgroup2"), _) => unified = Some(PathBuf::from(mount_point)),
            _ => {}
        }
    }
    match unified {
        Some(root) if controllers.is_empty() => Hierarchy::V2(root),
        _ => Hierarchy::V1(controllers),
    }
}

fn keyed(text: &str, key: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

fn members_below(directory: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = fs::read_to_string(directory.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|line| line.parse().ok()).collect())
        .unwrap_or_default();
    for child in subdirectories(directory) {
        pids.extend(members_below(&child));
    }
    pids
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in subdirectories(directory) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_limit(directory: &Path, file: &str, value: Option<impl ToString>) -> io::Result<()> {
    value.map_or(Ok(()), |value| fs::write(directory.join(file), value.to_string()))
}

/// Makes the group level by level, passing the controllers down.
fn create_pod_v2(root: &Path, cgroup: &str, resources: &Resources) -> io::Result<()> {
    let mut directory = root.to_path_buf();
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        enable_controllers(&directory);
        directory.push(part);
        fs::create_dir_all(&directory)?;
    }
    enable_controllers(&directory);
    write_limit(&directory, "cpu.weight", resources.cpu_shares.map(weight_of_shares))?;
    if let Some(quota) = resources.cpu_quota {
        let period = resources.cpu_period.unwrap_or(100_000);
        fs::write(directory.join("cpu.max"), format!("{quota} {period}"))?;
    }
    write_limit(&directory, "memory.max", resources.memory_limit)
}

fn enable_controllers(directory: &Path) {
    for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] {
        let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// The kernel documentation's line from shares 2..262144 to weight 1..10000.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_is_version_one() {
        let text = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                    31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let Hierarchy::V1(controllers) = parse_mountinfo(text) else { panic!("not version 1") };
        assert_eq!(controllers.keys().collect::<Vec<_>>(), ["cpu", "cpuacct"]);
    }

    #[test]
    fn a_unified_host_is_version_two() {
        let text = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(parse_mountinfo(text), Hierarchy::V2("/sys/fs/cgroup".into()));
    }

    #[test]
    fn a_key_is_matched_whole() {
        assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
    }

    #[test]
    fn shares_map_to_the_ends_of_weight() {
        assert_eq!((weight_of_shares(2), weight_of_shares(1024), weight_of_shares(262_144)), (1, 39, 10_000));
    }
}
