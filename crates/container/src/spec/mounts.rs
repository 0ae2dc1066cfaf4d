//! The mounts of a container: the kernel's file systems, then the pod's, outer before inner.

use serde_json::{Value, json};

use super::{HostFacts, NamespacePaths};
use crate::config::{ContainerConfig, Mount, Propagation, SandboxConfig};

pub(super) fn mounts(
    container: &ContainerConfig,
    sandbox: &SandboxConfig,
    namespaces: &NamespacePaths,
    host: &HostFacts,
) -> Value {
    let taken = |destination: &str| container.mounts.iter().any(|mount| mount.destination.as_os_str() == destination);
    let mut list: Vec<Value> = kernel_mounts(container, sandbox, host)
        .into_iter()
        .filter(|mount| !mount["destination"].as_str().is_some_and(taken))
        .collect();
    if !taken("/dev/shm") {
        list.extend(namespaces.shm.as_ref().map(|shm| bind(&shm_mount(shm.clone()))));
    }
    let mut own: Vec<&Mount> = container.mounts.iter().collect();
    own.sort_by_key(|mount| mount.destination.components().count());
    list.extend(own.into_iter().map(bind));
    Value::Array(list)
}

fn kernel_mounts(container: &ContainerConfig, sandbox: &SandboxConfig, _host: &HostFacts) -> Vec<Value> {
    let access = if container.security.privileged { "rw" } else { "ro" };
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
    ];
    if !sandbox.host_ipc {
        list.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    if sandbox.host_network {
        // A sysfs of its own needs an own network namespace.
        let options = ["rbind", "nosuid", "noexec", "nodev", access];
        list.push(mount("/sys", "bind", "/sys", &options));
        return list;
    }
    list.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]));
    list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]));
    list
}

fn shm_mount(source: std::path::PathBuf) -> Mount {
    Mount { source, destination: "/dev/shm".into(), read_only: false, propagation: Propagation::Private }
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    json!({
        "destination": mount.destination, "type": "bind", "source": mount.source, "options": ["rbind", propagation, access],
    })
}

/// Mounts travel out of the container only if its root lets them.
pub(super) fn rootfs_propagation(mounts: &[Mount]) -> &'static str {
    if mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional) { "shared" } else { "slave" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_mount_comes_after_the_one_around_it() {
        let mount = |path: &str| Mount {
            source: "/s".into(),
            destination: path.into(),
            read_only: false,
            propagation: Propagation::Private,
        };
        let container = ContainerConfig { mounts: vec![mount("/a/b"), mount("/a")], ..Default::default() };
        let list = mounts(&container, &SandboxConfig::default(), &NamespacePaths::default(), &HostFacts::default());
        let last: Vec<_> =
            list.as_array().expect("a list").iter().rev().take(2).map(|m| m["destination"].clone()).collect();
        assert_eq!(last, [json!("/a/b"), json!("/a")]);
    }
}
