//! The checks that the level `restricted` adds.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{added_capabilities, bad_seccomp, valid_seccomp};
use super::checks::{Pod, Refusal};
use super::setters::{Forbidden, bad_containers, containers, context, plural, quoted, setters};

pub fn privilege_escalation(pod: &Pod<'_>) -> Option<Refusal> {
    let names =
        bad_containers(pod, |container| context(container, "/allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    Refusal::new("allowPrivilegeEscalation != false", detail)
}

/// Windows has nothing of the kind.
pub fn privilege_escalation_1_25(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.is_windows() { None } else { privilege_escalation(pod) }
}

pub fn capabilities(pod: &Pod<'_>) -> Option<Refusal> {
    let keeping = bad_containers(pod, |container| {
        let dropped = context(container, "/capabilities/drop").and_then(Value::as_array);
        !dropped.is_some_and(|dropped| dropped.iter().any(|one| one == "ALL"))
    });
    let (adding, added) = added_capabilities(pod, &["NET_BIND_SERVICE"]);
    let keeps = (!keeping.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    let adds = (!adding.is_empty()).then(|| {
        format!("{} must not include {} in securityContext.capabilities.add", containers(&adding), quoted(&added))
    });
    let details: Vec<String> = keeps.into_iter().chain(adds).collect();
    if details.is_empty() { None } else { Refusal::new("unrestricted capabilities", details.join("; ")) }
}

pub fn capabilities_1_25(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.is_windows() { None } else { capabilities(pod) }
}

const VOLUMES: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

pub fn volumes(pod: &Pod<'_>) -> Option<Refusal> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in pod.spec.get("volumes").and_then(Value::as_array).into_iter().flatten() {
        let sources = volume.as_object().into_iter().flatten().filter(|(_, source)| !source.is_null());
        let sources: Vec<&str> = sources.map(|(kind, _)| kind.as_str()).filter(|kind| *kind != "name").collect();
        if !sources.iter().any(|kind| VOLUMES.contains(kind)) {
            names.push(volume["name"].as_str().unwrap_or_default());
            kinds.insert(sources.first().copied().unwrap_or("unknown"));
        }
    }
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} restricted {} {}",
        plural("volume", "volumes", names.len()),
        quoted(&names),
        plural("uses", "use", names.len()),
        plural("volume type", "volume types", kinds.len()),
        quoted(kinds)
    );
    Refusal::new("restricted volume types", detail)
}

pub fn non_root(pod: &Pod<'_>) -> Option<Refusal> {
    const REASON: &str = "runAsNonRoot != true";
    let wish = |owner| context(owner, "/runAsNonRoot").and_then(Value::as_bool);
    let by_pod = wish(pod.spec);
    let explicit = bad_containers(pod, |container| wish(container) == Some(false));
    if by_pod == Some(false) || !explicit.is_empty() {
        let who = setters(by_pod == Some(false), &explicit);
        return Refusal::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let implicit = bad_containers(pod, |container| wish(container).is_none() && by_pod != Some(true));
    if implicit.is_empty() {
        return None;
    }
    Refusal::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit)))
}

/// Root of a user namespace of its own is nobody outside.
pub fn non_root_1_35(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.in_user_namespace() { None } else { non_root(pod) }
}

pub fn run_as_user(pod: &Pod<'_>) -> Option<Refusal> {
    let sets = |owner: &Value| context(owner, "/runAsUser").and_then(Value::as_i64) == Some(0);
    let (by_pod, names) = (sets(pod.spec), bad_containers(pod, sets));
    if !by_pod && names.is_empty() {
        return None;
    }
    Refusal::new("runAsUser=0", format!("{} must not set runAsUser=0", setters(by_pod, &names)))
}

pub fn run_as_user_1_35(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.in_user_namespace() { None } else { run_as_user(pod) }
}

pub fn seccomp(pod: &Pod<'_>) -> Option<Refusal> {
    const TYPE: &str = "/seccompProfile/type";
    let refused = bad_seccomp(&Forbidden::collect(pod, TYPE, valid_seccomp));
    if refused.is_some() || context(pod.spec, TYPE).is_some() {
        return refused;
    }
    let implicit = bad_containers(pod, |container| context(container, TYPE).is_none());
    if implicit.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&implicit)
    );
    Refusal::new("seccompProfile", detail)
}

pub fn seccomp_1_25(pod: &Pod<'_>) -> Option<Refusal> {
    if pod.is_windows() { None } else { seccomp(pod) }
}
