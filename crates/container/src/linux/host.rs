//! What this machine can give to containers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::cgroup::Hierarchy;
use crate::spec::{DeviceNode, HostFacts, names_of_mask};

pub fn observe(hierarchy: &Hierarchy) -> HostFacts {
    HostFacts {
        capabilities: names_of_mask(bounding_set()),
        devices: devices(),
        cgroup_v2: matches!(hierarchy, Hierarchy::V2(_)),
    }
}

fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The nodes directly in /dev and one level below, without terminals and shared memory.
fn devices() -> Vec<DeviceNode> {
    let mut nodes = Vec::new();
    collect("/dev".into(), 1, &mut nodes);
    nodes
}

fn collect(directory: std::path::PathBuf, depth: u8, nodes: &mut Vec<DeviceNode>) {
    const ELSEWHERE: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if ELSEWHERE.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() && depth > 0 {
            collect(entry.path(), depth - 1, nodes);
        } else if metadata.file_type().is_char_device() || metadata.file_type().is_block_device() {
            nodes.push(node(entry.path(), &metadata));
        }
    }
}

fn node(path: std::path::PathBuf, metadata: &fs::Metadata) -> DeviceNode {
    let device = metadata.rdev();
    DeviceNode {
        path,
        kind: if metadata.file_type().is_block_device() { 'b' } else { 'c' },
        major: i64::from(rustix::fs::major(device)),
        minor: i64::from(rustix::fs::minor(device)),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    }
}
