//! Validation of security contexts.

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_id, regex_error};

use crate::at::{At, duplicates};

/// Of the pod, with the fields of the spec that belong to it.
pub fn validate_pod(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.at("securityContext");
    ids(&context, &["runAsUser", "runAsGroup", "fsGroup"], errors);
    for group in context.at("supplementalGroups").items() {
        errors.invalid_all(&group.path, "", is_id(group.int().unwrap_or_default()));
    }
    context.at("fsGroupChangePolicy").one_of(errors, &["Always", "OnRootMismatch"]);
    context.at("supplementalGroupsPolicy").one_of(errors, &["Merge", "Strict"]);
    profiles(&context, errors);
    sysctls(&context.at("sysctls"), errors);
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
    for name in ["seccompProfile", "appArmorProfile"] {
        let profile = context.at(name);
        if !profile.present() {
            continue;
        }
        profile.at("type").required_one_of(errors, &["Localhost", "RuntimeDefault", "Unconfined"]);
        let file = profile.at("localhostProfile");
        if profile.at("type").text() == "Localhost" {
            file.required(errors, "must be set when profile type is Localhost");
        } else if file.present() {
            file.invalid(errors, "can only be set when profile type is Localhost");
        }
    }
}

fn sysctls(sysctls: &At<'_>, errors: &mut ErrorList) {
    const FORM: &str = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    for sysctl in sysctls.items() {
        let name = sysctl.at("name");
        if name.required(errors, "") && !is_sysctl(name.text()) {
            let detail = regex_error(&format!("must have at most {} characters and match regex", 253), FORM, &[]);
            name.invalid(errors, &detail);
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

/// Of a container.
pub fn validate_container(context: &At<'_>, errors: &mut ErrorList) {
    ids(context, &["runAsUser", "runAsGroup"], errors);
    profiles(context, errors);
    context.at("procMount").one_of(errors, &["Default", "Unmasked"]);
    let escalation = context.at("allowPrivilegeEscalation");
    if escalation.value == false {
        if context.at("privileged").is_true() {
            escalation.invalid(errors, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let added = context.at("capabilities").at("add").items();
        if added.iter().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
            escalation
                .invalid(errors, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
}
