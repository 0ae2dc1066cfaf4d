//! Validation of security contexts.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::is_id;

use super::volume::descending_path;
use super::windows;
use crate::at::At;

/// Of the pod, with the fields of the spec that belong to it.
pub fn validate_pod(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.at("securityContext");
    ids(&context, &["fsGroup", "runAsUser", "runAsGroup"], errors);
    for group in context.at("supplementalGroups").items() {
        let wrong = group.int().map(is_id).unwrap_or_default();
        wrong.iter().for_each(|message| group.invalid(errors, message));
    }
    if spec.at("shareProcessNamespace").is_true() && spec.at("hostPID").is_true() {
        let at = context.at("shareProcessNamespace");
        errors.invalid(&at.path, true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, &context.at("sysctls"), errors);
    context.at("fsGroupChangePolicy").one_of(errors, &["Always", "OnRootMismatch"]);
    seccomp(&context.at("seccompProfile"), errors);
    windows::options(&context.at("windowsOptions"), errors);
    app_armor(&context.at("appArmorProfile"), errors);
    context.at("supplementalGroupsPolicy").one_of(errors, &["Merge", "Strict"]);
    context.at("seLinuxChangePolicy").one_of(errors, &["MountOption", "Recursive"]);
}

fn ids(context: &At<'_>, names: &[&str], errors: &mut ErrorList) {
    for name in names {
        let at = context.at(name);
        for message in at.int().map(is_id).unwrap_or_default() {
            errors.invalid(&at.path, at.value.clone(), message);
        }
    }
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(profile: &At<'_>, errors: &mut ErrorList) {
    if !profile.present() {
        return;
    }
    let (kind, file) = (profile.at("type"), profile.at("localhostProfile"));
    if kind.required(errors, "type is required when seccompProfile is set") {
        kind.one_of(errors, &PROFILES);
    }
    match (kind.text() == "Localhost", file.present()) {
        (true, false) => errors.required(&file.path, "must be set when seccomp type is Localhost"),
        (true, true) => descending_path(&file, errors),
        (false, true) => {
            errors.invalid(&file.path, profile.value.clone(), "can only be set when seccomp type is Localhost");
        }
        (false, false) => {}
    }
}

fn app_armor(profile: &At<'_>, errors: &mut ErrorList) {
    if !profile.present() {
        return;
    }
    let (kind, file) = (profile.at("type"), profile.at("localhostProfile"));
    match kind.text() {
        "Localhost" => app_armor_file(&file, errors),
        "RuntimeDefault" | "Unconfined" if file.present() => {
            file.invalid(errors, "can only be set when AppArmor type is Localhost");
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => errors.required(&kind.path, "type is required when appArmorProfile is set"),
        _ => kind.one_of(errors, &PROFILES),
    }
}

fn app_armor_file(file: &At<'_>, errors: &mut ErrorList) {
    const LENGTH_MAX: usize = 4095;
    if file.text() != file.text().trim() {
        file.invalid(errors, "must not be padded with whitespace");
    } else if file.empty() {
        errors.required(&file.path, "must be set when AppArmor type is Localhost");
    }
    if file.text().len() > LENGTH_MAX {
        errors.push(FieldError::too_long(&file.path, LENGTH_MAX));
    }
}

/// A pod with users of its own shares nothing with the host. The names of two fields are upstream's.
pub fn host_users(spec: &At<'_>, errors: &mut ErrorList) {
    if spec.at("hostUsers").value != false {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.at(field).is_true() {
            errors.forbidden(&spec.path.child(shown), "when `hostUsers` is false");
        }
    }
}

/// Settings of a namespace that the pod shares with the host are the host's.
fn is_of_host(spec: &At<'_>, name: &str) -> Option<&'static str> {
    let name = name.replace('/', ".");
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
    if name.starts_with("net.") && spec.at("hostNetwork").is_true() {
        return Some("may not be specified when 'hostNetwork' is true");
    }
    let shared = (ipc || name == "kernel.sem") && spec.at("hostIPC").is_true();
    shared.then_some("may not be specified when 'hostIPC' is true")
}

fn sysctls(spec: &At<'_>, sysctls: &At<'_>, errors: &mut ErrorList) {
    const FORM: &str = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut seen = HashSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.at("name");
        if name.empty() {
            errors.required(&name.path, "");
        } else if !is_sysctl(name.text()) {
            name.invalid(errors, &format!("must have at most 253 characters and match regex ^{FORM}$"));
        } else if seen.contains(name.text()) {
            errors.duplicate(&name.path, name.text());
        }
        if let Some(why) = is_of_host(spec, name.text()) {
            name.invalid(errors, why);
        }
        seen.insert(name.text());
    }
}

fn is_sysctl(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
            && bytes.iter().all(|byte| inner(*byte) || b"-_".contains(byte))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

/// Of a container. `own_users`: the pod has a user namespace.
pub fn validate_container(context: &At<'_>, own_users: bool, errors: &mut ErrorList) {
    ids(context, &["runAsUser", "runAsGroup"], errors);
    let proc_mount = context.at("procMount");
    proc_mount.one_of(errors, &["Default", "Unmasked"]);
    if proc_mount.text() == "Unmasked" && !own_users {
        proc_mount.invalid(errors, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(&context.at("seccompProfile"), errors);
    if context.at("allowPrivilegeEscalation").value == false {
        no_escalation(context, errors);
    }
    windows::options(&context.at("windowsOptions"), errors);
    app_armor(&context.at("appArmorProfile"), errors);
}

fn no_escalation(context: &At<'_>, errors: &mut ErrorList) {
    if context.at("privileged").is_true() {
        context.invalid(errors, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    let added = context.at("capabilities").at("add").items();
    for _ in added.iter().filter(|capability| capability.text() == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        context.invalid(errors, detail);
    }
}
