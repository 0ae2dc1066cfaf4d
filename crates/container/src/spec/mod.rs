//! From a [`ContainerConfig`] to the OCI document that libcontainer reads. Pure; start at [`oci_spec`].

mod capabilities;
mod mounts;
mod seccomp;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::{ContainerConfig, Resources, SandboxConfig, Seccomp};

pub(crate) use capabilities::names_of_mask;

/// What the document needs to know of the machine.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// Capabilities that we can give at all, `CAP_…`.
    pub capabilities: Vec<String>,
    /// The nodes of /dev, for privileged containers and device requests.
    pub devices: Vec<DeviceNode>,
    pub cgroup_v2: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    pub path: PathBuf,
    /// `c` or `b`.
    pub kind: char,
    pub major: i64,
    pub minor: i64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The namespaces of a sandbox that containers join by path.
#[derive(Debug, Clone, Default)]
pub struct NamespacePaths {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub pid: Option<PathBuf>,
    pub shm: Option<PathBuf>,
}

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The OCI runtime document of a container.
pub fn oci_spec(
    container: &ContainerConfig,
    sandbox: &SandboxConfig,
    namespaces: &NamespacePaths,
    host: &HostFacts,
) -> Value {
    let caps = capabilities::effective(&container.security, &host.capabilities);
    json!({
        "ociVersion": "1.1.0",
        "root": { "path": container.rootfs, "readonly": container.security.read_only_rootfs },
        "process": process(container, &caps),
        "mounts": mounts::mounts(container, sandbox, namespaces, host),
        "annotations": { "io.coracle.pod": sandbox.uid, "io.coracle.container": container.name },
        "linux": linux(container, sandbox, namespaces, host, &caps),
    })
}

fn process(container: &ContainerConfig, caps: &[String]) -> Value {
    let user = &container.user;
    let mut process = json!({
        "terminal": container.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": additional_gids(user.gid, &user.additional_gids) },
        "args": container.args,
        "env": environment(container),
        "cwd": if container.cwd.is_empty() { "/" } else { &container.cwd },
        "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
    });
    // An explicit `false` keeps libcontainer from loading the seccomp profile.
    if container.security.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    process
}

fn additional_gids(gid: u32, additional: &[u32]) -> Vec<u32> {
    let mut gids = vec![gid];
    gids.extend(additional.iter().filter(|additional| **additional != gid));
    gids
}

fn environment(container: &ContainerConfig) -> Vec<String> {
    let mut env = Vec::with_capacity(container.env.len() + 2);
    if !container.env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(DEFAULT_PATH.to_owned());
    }
    if container.tty && !container.env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(container.env.iter().cloned());
    env
}

fn linux(
    container: &ContainerConfig,
    sandbox: &SandboxConfig,
    paths: &NamespacePaths,
    host: &HostFacts,
    caps: &[String],
) -> Value {
    let security = &container.security;
    let open = security.privileged || security.unmasked;
    let mut linux = json!({
        "namespaces": namespaces(sandbox, paths, host),
        "cgroupsPath": container.cgroup,
        "resources": resources(container, host),
        "maskedPaths": if open { &[][..] } else { &MASKED_PATHS[..] },
        "readonlyPaths": if open { &[][..] } else { &READONLY_PATHS[..] },
        "rootfsPropagation": mounts::rootfs_propagation(&container.mounts),
        "devices": devices(container, host),
    });
    if let Some(profile) = seccomp_profile(container, caps) {
        linux["seccomp"] = profile;
    }
    linux
}

fn seccomp_profile(container: &ContainerConfig, caps: &[String]) -> Option<Value> {
    match &container.security.seccomp {
        _ if container.security.privileged => None,
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(seccomp::for_libcontainer(seccomp::default_profile(caps))),
        Seccomp::Profile(profile) => Some(seccomp::for_libcontainer(profile.clone())),
    }
}

fn namespaces(sandbox: &SandboxConfig, paths: &NamespacePaths, host: &HostFacts) -> Value {
    let mut list = vec![json!({ "type": "mount" })];
    if host.cgroup_v2 {
        list.push(json!({ "type": "cgroup" }));
    }
    let shared = [("network", &paths.net), ("ipc", &paths.ipc), ("uts", &paths.uts)];
    for (kind, path) in shared {
        list.extend(path.as_ref().map(|path| json!({ "type": kind, "path": path })));
    }
    match &paths.pid {
        _ if sandbox.host_pid => {}
        Some(path) => list.push(json!({ "type": "pid", "path": path })),
        None => list.push(json!({ "type": "pid" })),
    }
    Value::Array(list)
}

fn resources(container: &ContainerConfig, host: &HostFacts) -> Value {
    let Resources { cpu_shares, cpu_quota, cpu_period, memory_limit, pids_limit } = container.resources;
    let mut resources = json!({ "devices": device_rules(container, host) });
    let mut cpu = serde_json::Map::new();
    cpu.extend(cpu_shares.map(|shares| ("shares".to_owned(), json!(shares))));
    cpu.extend(cpu_quota.map(|quota| ("quota".to_owned(), json!(quota))));
    cpu.extend(cpu_quota.map(|_| ("period".to_owned(), json!(cpu_period.unwrap_or(100_000)))));
    if !cpu.is_empty() {
        resources["cpu"] = Value::Object(cpu);
    }
    if let Some(limit) = memory_limit {
        resources["memory"] = json!({ "limit": limit });
    }
    if let Some(limit) = pids_limit {
        resources["pids"] = json!({ "limit": limit });
    }
    resources
}

/// Everything is denied but the nodes that every container has (libcgroups adds these), and what was asked for.
fn device_rules(container: &ContainerConfig, host: &HostFacts) -> Value {
    if container.security.privileged {
        return json!([{ "allow": true, "access": "rwm" }]);
    }
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    for device in requested_devices(container, host) {
        rules.push(json!({
            "allow": true, "type": device.kind.to_string(), "major": device.major, "minor": device.minor, "access": "rwm",
        }));
    }
    Value::Array(rules)
}

fn requested_devices<'a>(container: &'a ContainerConfig, host: &'a HostFacts) -> impl Iterator<Item = &'a DeviceNode> {
    let all = container.security.privileged;
    host.devices.iter().filter(move |device| all || container.devices.contains(&device.path))
}

fn devices(container: &ContainerConfig, host: &HostFacts) -> Value {
    let nodes = requested_devices(container, host).map(|device| {
        json!({
            "path": device.path, "type": device.kind.to_string(), "major": device.major, "minor": device.minor,
            "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
        })
    });
    Value::Array(nodes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> ContainerConfig {
        ContainerConfig { args: vec!["sh".into()], rootfs: "/r".into(), cgroup: "/pod/c".into(), ..Default::default() }
    }

    fn spec(container: &ContainerConfig) -> Value {
        let all = names_of_mask(u64::MAX);
        let host = HostFacts { capabilities: all, ..Default::default() };
        oci_spec(container, &SandboxConfig::default(), &NamespacePaths::default(), &host)
    }

    #[test]
    fn the_document_is_one_that_the_oci_library_reads() {
        let document = spec(&container());
        let parsed: oci_spec::runtime::Spec = serde_json::from_value(document).expect("an OCI document");
        let process = parsed.process().as_ref().expect("a process");
        assert_eq!(process.no_new_privileges(), None);
        assert!(parsed.linux().as_ref().expect("a linux part").seccomp().is_some());
    }

    #[test]
    fn no_new_privileges_is_said_only_when_asked_for() {
        let mut config = container();
        config.security.no_new_privileges = true;
        assert_eq!(spec(&config)["process"]["noNewPrivileges"], json!(true));
        assert_eq!(spec(&container())["process"].get("noNewPrivileges"), None);
    }

    #[test]
    fn a_privileged_container_has_all_capabilities_and_no_masks() {
        let mut config = container();
        config.security.privileged = true;
        let document = spec(&config);
        assert_eq!(document["linux"]["maskedPaths"], json!([]));
        assert_eq!(document["linux"].get("seccomp"), None);
        assert_eq!(document["process"]["capabilities"]["bounding"].as_array().map(Vec::len), Some(41));
    }

    #[test]
    fn the_path_of_the_image_wins_over_the_default() {
        let mut config = container();
        config.env = vec!["PATH=/bin".into()];
        assert_eq!(spec(&config)["process"]["env"], json!(["PATH=/bin"]));
        assert_eq!(spec(&container())["process"]["env"], json!([DEFAULT_PATH]));
    }

    #[test]
    fn the_primary_group_is_a_supplementary_one_as_well() {
        assert_eq!(additional_gids(7, &[3, 7, 9]), [7, 3, 9]);
    }
}
