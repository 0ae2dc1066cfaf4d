//! Validation of security contexts.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{is_id, regex_error};

use super::volume::descending_path;
use crate::at::{At, duplicates};

/// Of the pod, with the fields of the spec that belong to it.
pub fn validate_pod(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.at("securityContext");
    ids(&context, &["runAsUser", "runAsGroup", "fsGroup"], errors);
    let groups = context.at("supplementalGroups");
    for id in groups.items().iter().filter_map(At::int) {
        is_id(id).into_iter().for_each(|message| errors.invalid(&groups.path, id, message));
    }
    context.at("fsGroupChangePolicy").one_of(errors, &["Always", "OnRootMismatch"]);
    context.at("supplementalGroupsPolicy").one_of(errors, &["Merge", "Strict"]);
    profiles(&context, errors);
    sysctls(spec, &context.at("sysctls"), errors);
    host_users(spec, errors);
    if spec.at("shareProcessNamespace").is_true() && spec.at("hostPID").is_true() {
        let at = context.at("shareProcessNamespace");
        errors.invalid(&at.path, true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
}

fn ids(context: &At<'_>, names: &[&str], errors: &mut ErrorList) {
    for name in names {
        let at = context.at(name);
        for message in at.int().map(is_id).unwrap_or_default() {
            errors.invalid(&at.path, at.value.clone(), message);
        }
    }
}

fn profiles(context: &At<'_>, errors: &mut ErrorList) {
    for (name, shown) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = context.at(name);
        if !profile.present() {
            continue;
        }
        let kind = profile.at("type");
        if kind.required(errors, &format!("type is required when {name} is set")) {
            kind.one_of(errors, &["Localhost", "RuntimeDefault", "Unconfined"]);
        }
        let file = profile.at("localhostProfile");
        if kind.text() != "Localhost" && file.present() {
            file.invalid(errors, &format!("can only be set when {shown} type is Localhost"));
        } else if kind.text() == "Localhost" {
            localhost_profile(&file, name, shown, errors);
        }
    }
}

fn localhost_profile(file: &At<'_>, name: &str, shown: &str, errors: &mut ErrorList) {
    const LENGTH_MAX: usize = 4095;
    let detail = format!("must be set when {shown} type is Localhost");
    if !file.present() || name == "appArmorProfile" && file.text().trim().is_empty() {
        return errors.required(&file.path, &detail);
    }
    if name == "seccompProfile" {
        return descending_path(file, errors);
    }
    if file.text() != file.text().trim() {
        file.invalid(errors, "must not be padded with whitespace");
    }
    if file.text().len() > LENGTH_MAX {
        errors.push(FieldError::too_long(&file.path, LENGTH_MAX));
    }
}

/// A pod with users of its own shares nothing with the host. The names of two fields are upstream's.
fn host_users(spec: &At<'_>, errors: &mut ErrorList) {
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
    for sysctl in sysctls.items() {
        let name = sysctl.at("name");
        if name.required(errors, "") && !is_sysctl(name.text()) {
            let detail = regex_error(&format!("must have at most {} characters and match regex", 253), FORM, &[]);
            name.invalid(errors, &detail);
        }
        if let Some(why) = is_of_host(spec, name.text()) {
            name.invalid(errors, why);
        }
    }
    duplicates(errors, sysctls.items().iter().map(|sysctl| sysctl.at("name")));
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
    profiles(context, errors);
    let proc_mount = context.at("procMount");
    proc_mount.one_of(errors, &["Default", "Unmasked"]);
    if proc_mount.text() == "Unmasked" && !own_users {
        proc_mount.invalid(errors, "`hostUsers` must be false to use `Unmasked`");
    }
    if context.at("allowPrivilegeEscalation").value != false {
        return;
    }
    if context.at("privileged").is_true() {
        context.invalid(errors, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    let added = context.at("capabilities").at("add").items();
    for _ in added.iter().filter(|capability| capability.text() == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        context.invalid(errors, detail);
    }
}
