//! The checks of the level `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Pod, Refusal};
use super::setters::{Forbidden, bad_containers, containers, context, plural, quoted, setters};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

pub fn app_armor(pod: &Pod<'_>) -> Option<Refusal> {
    let mut forbidden =
        Forbidden::collect(pod, "/appArmorProfile/type", |kind| matches!(kind, "" | "RuntimeDefault" | "Localhost"));
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = pod.metadata.get("annotations").and_then(Value::as_object);
    let mut bad = Vec::new();
    for (key, value) in annotations.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if key.starts_with(APP_ARMOR) && !allowed(value) {
            forbidden.values.insert(value.to_owned());
            bad.push(format!("{key}={value:?}"));
        }
    }
    let annotated =
        (!bad.is_empty()).then(|| format!("{} {}", plural("annotation", "annotations", bad.len()), bad.join(", ")));
    let own = forbidden.any().then(|| forbidden.who());
    let who: Vec<String> = own.into_iter().chain(annotated).collect();
    if who.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", forbidden.values.len());
    Refusal::new(
        reason,
        format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&forbidden.values)),
    )
}

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub fn capabilities(pod: &Pod<'_>) -> Option<Refusal> {
    let (names, added) = added_capabilities(pod, CAPABILITIES);
    if names.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(&added));
    Refusal::new("non-default capabilities", detail)
}

/// The containers that add capabilities which are not allowed, and which.
pub fn added_capabilities<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<String>) {
    let mut added = BTreeSet::new();
    let names = bad_containers(pod, |container| {
        let list = context(container, "/capabilities/add").and_then(Value::as_array);
        let all = list.into_iter().flatten().filter_map(Value::as_str);
        let refused: Vec<String> = all.filter(|one| !allowed.contains(one)).map(str::to_owned).collect();
        let bad = !refused.is_empty();
        added.extend(refused);
        bad
    });
    (names, added)
}

pub fn host_namespaces(pod: &Pod<'_>) -> Option<Refusal> {
    let set = |field: &&str| pod.spec.get(*field) == Some(&Value::Bool(true));
    let used = ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|field| set(field));
    let detail = used.map(|field| format!("{field}=true")).collect::<Vec<_>>().join(", ");
    if detail.is_empty() { None } else { Refusal::new("host namespaces", detail) }
}

pub fn host_path(pod: &Pod<'_>) -> Option<Refusal> {
    let volumes = pod.spec.get("volumes").and_then(Value::as_array);
    let with =
        volumes.into_iter().flatten().filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null()));
    let names: Vec<&str> = with.map(|volume| volume["name"].as_str().unwrap_or_default()).collect();
    if names.is_empty() {
        return None;
    }
    Refusal::new("hostPath volumes", format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names)))
}

pub fn host_ports(pod: &Pod<'_>) -> Option<Refusal> {
    let mut ports = BTreeSet::new();
    let names = bad_containers(pod, |container| {
        let list = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        let used: Vec<i64> = list.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect();
        // Ordered as texts, as upstream's set is.
        ports.extend(used.iter().map(i64::to_string));
        !used.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("hostPort", "hostPorts", ports.len()),
        ports.into_iter().collect::<Vec<_>>().join(", ")
    );
    Refusal::new("hostPort", detail)
}

const HANDLERS: &[&str] =
    &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];

pub fn host_probes(pod: &Pod<'_>) -> Option<Refusal> {
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for (name, container) in pod.containers() {
        let handlers = HANDLERS.iter().filter_map(|pointer| container.pointer(pointer));
        let actions = handlers.flat_map(|handler| [handler.get("httpGet"), handler.get("tcpSocket")]).flatten();
        for host in actions.filter_map(|action| action.get("host")?.as_str()).filter(|host| !host.is_empty()) {
            names.insert(name);
            hosts.insert(host);
        }
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        quoted(hosts)
    );
    Refusal::new("probe or lifecycle host", detail)
}

pub fn privileged(pod: &Pod<'_>) -> Option<Refusal> {
    let names = bad_containers(pod, |container| context(container, "/privileged") == Some(&Value::Bool(true)));
    if names.is_empty() {
        return None;
    }
    Refusal::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&names)))
}

pub fn proc_mount(pod: &Pod<'_>) -> Option<Refusal> {
    let mut values = BTreeSet::new();
    let names = bad_containers(pod, |container| {
        let value = context(container, "/procMount").and_then(Value::as_str);
        value.filter(|value| *value != "Default").map(|value| values.insert(value.to_owned())).is_some()
    });
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&values));
    Refusal::new("procMount", detail)
}

pub fn proc_mount_1_35(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.in_user_namespace() { None } else { proc_mount(pod) }
}

pub fn selinux(pod: &Pod<'_>) -> Option<Refusal> {
    selinux_types(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub fn selinux_1_31(pod: &Pod<'_>) -> Option<Refusal> {
    selinux_types(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn selinux_types(pod: &Pod<'_>, allowed: &[&str]) -> Option<Refusal> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |owner: &Value| {
        let text = |field: &str| {
            let options = context(owner, "/seLinuxOptions");
            options.and_then(|options| options.get(field)?.as_str()).unwrap_or_default().to_owned()
        };
        let (kind, sets_user, sets_role) = (text("type"), !text("user").is_empty(), !text("role").is_empty());
        (user, role) = (user || sets_user, role || sets_role);
        let bad_type = !allowed.contains(&kind.as_str());
        if bad_type {
            types.insert(kind);
        }
        bad_type || sets_user || sets_role
    };
    let by_pod = bad(pod.spec);
    let names = bad_containers(pod, &mut bad);
    if !by_pod && names.is_empty() {
        return None;
    }
    let typed = (!types.is_empty()).then(|| format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    let user = user.then(|| "user may not be set".to_owned());
    let role = role.then(|| "role may not be set".to_owned());
    let data: Vec<String> = typed.into_iter().chain(user).chain(role).collect();
    let who = setters(by_pod, &names);
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Refusal::new("seLinuxOptions", detail)
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Before version 1.19 seccomp was asked for by annotations.
pub fn seccomp_annotations(pod: &Pod<'_>) -> Option<Refusal> {
    let allowed =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let keys = std::iter::once(SECCOMP_POD.to_owned())
        .chain(pod.containers().map(|(name, _)| format!("{SECCOMP_CONTAINER}{name}")));
    let annotations = pod.metadata.get("annotations");
    let value = |key: &str| annotations.and_then(|all| all.get(key)?.as_str());
    let bad: BTreeSet<String> = keys
        .filter_map(|key| value(&key).filter(|value| !allowed(value)).map(|value| format!("{key}={value:?}")))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let noun = plural("annotation", "annotations", bad.len());
    let list = bad.into_iter().collect::<Vec<_>>().join(", ");
    Refusal::new("seccompProfile", format!("forbidden {noun} {list}"))
}

pub fn valid_seccomp(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

pub fn seccomp(pod: &Pod<'_>) -> Option<Refusal> {
    bad_seccomp(&Forbidden::collect(pod, "/seccompProfile/type", valid_seccomp))
}

pub fn bad_seccomp(forbidden: &Forbidden<'_>) -> Option<Refusal> {
    if !forbidden.any() {
        return None;
    }
    let (who, values) = (forbidden.who(), quoted(&forbidden.values));
    Refusal::new("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {values}"))
}

/// Sysctls with the minor version in which they became safe.
const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

pub fn sysctls(pod: &Pod<'_>) -> Option<Refusal> {
    sysctls_of(pod, 0)
}

pub fn sysctls_1_27(pod: &Pod<'_>) -> Option<Refusal> {
    sysctls_of(pod, 27)
}

pub fn sysctls_1_29(pod: &Pod<'_>) -> Option<Refusal> {
    sysctls_of(pod, 29)
}

pub fn sysctls_1_32(pod: &Pod<'_>) -> Option<Refusal> {
    sysctls_of(pod, 32)
}

fn sysctls_of(pod: &Pod<'_>, minor: u32) -> Option<Refusal> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(since, safe)| *since <= minor && *safe == name);
    let set = context(pod.spec, "/sysctls").and_then(Value::as_array).into_iter().flatten();
    let names = set.map(|sysctl| sysctl["name"].as_str().unwrap_or_default());
    let bad: Vec<&str> = names.filter(|name| !allowed(name)).collect();
    if bad.is_empty() { None } else { Refusal::new("forbidden sysctls", bad.join(", ")) }
}

pub fn windows_host_process(pod: &Pod<'_>) -> Option<Refusal> {
    let sets = |owner: &Value| context(owner, "/windowsOptions/hostProcess") == Some(&Value::Bool(true));
    let (by_pod, names) = (sets(pod.spec), bad_containers(pod, sets));
    if !by_pod && names.is_empty() {
        return None;
    }
    let who = setters(by_pod, &names);
    Refusal::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
