//! Rules that depend on the operating system of a pod.

use apimachinery::field::ErrorList;

use crate::at::At;

/// Every container of whatever kind.
pub fn all_containers<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|list| spec.at(list).items()).collect()
}

pub fn operating_system(spec: &At<'_>, errors: &mut ErrorList) {
    let os = spec.at("os");
    if !os.present() {
        return;
    }
    match os.at("name").text() {
        "" => errors.required(&os.path.child("name"), "cannot be empty"),
        "linux" => linux(spec, errors),
        "windows" => windows(spec, errors),
        other => errors.not_supported(&os.path, other, &["linux", "windows"]),
    }
}

fn linux(spec: &At<'_>, errors: &mut ErrorList) {
    let contexts = std::iter::once(spec.clone()).chain(all_containers(spec));
    for options in contexts.map(|holder| holder.to("securityContext.windowsOptions")).filter(At::present) {
        errors.forbidden(&options.path, "windows options cannot be set for a linux pod");
    }
}

fn windows(spec: &At<'_>, errors: &mut ErrorList) {
    // In this order; those without a prefix are the pod's own.
    const POD: [&str; 15] = [
        "securityContext.appArmorProfile",
        "securityContext.seLinuxOptions",
        "hostUsers",
        "hostPID",
        "hostIPC",
        "securityContext.seccompProfile",
        "securityContext.fsGroup",
        "securityContext.fsGroupChangePolicy",
        "securityContext.sysctls",
        "shareProcessNamespace",
        "securityContext.runAsUser",
        "securityContext.runAsGroup",
        "securityContext.supplementalGroups",
        "securityContext.supplementalGroupsPolicy",
        "securityContext.seLinuxChangePolicy",
    ];
    const CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let forbid = |at: At<'_>, errors: &mut ErrorList| {
        let plain = ["hostPID", "hostIPC"].iter().any(|name| at.path.as_str().ends_with(name));
        if at.present() && (!plain || at.is_true()) {
            errors.forbidden(&at.path, "cannot be set for a windows pod");
        }
    };
    POD.iter().for_each(|names| forbid(spec.to(names), errors));
    for container in all_containers(spec) {
        CONTAINER.iter().for_each(|name| forbid(container.at("securityContext").at(name), errors));
    }
}

/// Containers that are processes of the host are all or none, and on the host's network.
pub fn host_process(spec: &At<'_>, errors: &mut ErrorList) {
    const NAMES: &str = "securityContext.windowsOptions.hostProcess";
    let whole = spec.to(NAMES);
    let containers = all_containers(spec);
    let mut count = 0;
    for own in containers.iter().map(|container| container.to(NAMES)) {
        if whole.present() && own.present() && whole.value != own.value {
            let detail = format!("pod hostProcess value must be identical if both are specified, was {}", whole.value);
            own.invalid(errors, &detail);
        }
        count += usize::from(if own.present() { own.is_true() } else { whole.is_true() });
    }
    if count == 0 {
        return;
    }
    if count != containers.len() {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(&spec.path, "", detail);
    }
    if !spec.at("hostNetwork").is_true() {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&spec.path.child("hostNetwork"), false, detail);
    }
}

/// Options of a security context.
pub fn options(options: &At<'_>, errors: &mut ErrorList) {
    const SPEC_LENGTH_MAX: usize = 64 * 1024;
    let (name, text) = (options.at("gmsaCredentialSpecName"), options.at("gmsaCredentialSpec"));
    if name.present() {
        name.follows(errors, apimachinery::validation::is_dns1123_subdomain);
    }
    if text.present() && text.empty() {
        text.invalid(errors, "gmsaCredentialSpec cannot be an empty string");
    } else if text.text().len() > SPEC_LENGTH_MAX {
        text.invalid(errors, "gmsaCredentialSpec size must be under 64 KiB");
    }
    let user = options.at("runAsUserName");
    if user.present() {
        user_name(user.text()).iter().for_each(|why| user.invalid(errors, &format!("runAsUserName{why}")));
    }
}

/// What is wrong with `user` or `domain\user`.
fn user_name(name: &str) -> Vec<&'static str> {
    const DOMAIN_LENGTH_MAX: usize = 255;
    const USER_LENGTH_MAX: usize = 104;
    if name.is_empty() {
        return vec![" cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec![" cannot contain control characters"];
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    if user.contains('\\') {
        return vec![" cannot contain more than one backslash"];
    }
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() > DOMAIN_LENGTH_MAX) {
        wrong.push("'s Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        wrong.push("'s Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        wrong.push("'s User cannot be empty");
    } else if user.len() > USER_LENGTH_MAX {
        wrong.push("'s User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| ". ".contains(c)) {
        wrong.push("'s User cannot contain only periods or spaces");
    }
    if user.chars().any(|c| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        wrong.push("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.chars().any(|c| "\\/:*?\"<>|".contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        label.len() <= 63
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}
