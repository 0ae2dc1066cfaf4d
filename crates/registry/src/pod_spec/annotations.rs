//! Annotations of pods and templates that mean something.

use apimachinery::field::{ErrorList, Path};
use serde_json::{Value, json};

use super::volume::descending_path;
use super::windows::all_containers;
use crate::at::At;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

fn entries(annotations: &Value) -> impl Iterator<Item = (&str, &str)> {
    annotations.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

/// `path` is that of the annotations.
pub fn validate(annotations: &Value, path: &Path, spec: &At<'_>, errors: &mut ErrorList) {
    let of = |key: &str| annotations.get(key).and_then(Value::as_str);
    if let Some(mirror) = of(MIRROR).filter(|_| spec.at("nodeName").empty()) {
        errors.invalid(&path.key(MIRROR), mirror, "must set spec.nodeName if mirror pod annotation is set");
    }
    if let Some(cost) = of(DELETION_COST).filter(|cost| !is_cost(cost)) {
        errors.invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    for (key, profile) in entries(annotations) {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(profile, &path.child(key), errors);
        }
    }
    let names: Vec<&str> = all_containers(spec).iter().map(|container| container.at("name").text()).collect();
    for (key, profile) in entries(annotations) {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        if !names.contains(&container) {
            errors.invalid(&path.key(key), container, "container not found");
        }
        if !["", "runtime/default", "unconfined"].contains(&profile) && !profile.starts_with("localhost/") {
            errors.invalid(&path.key(key), profile, format!("invalid AppArmor profile name: {profile:?}"));
        }
    }
}

/// Signs and zeros before the number are not allowed.
fn is_cost(cost: &str) -> bool {
    let first = cost.as_bytes().first().copied().unwrap_or_default();
    (first == b'-' || (b'1'..=b'9').contains(&first) || cost == "0") && cost.parse::<i32>().is_ok()
}

fn seccomp(profile: &str, path: &Path, errors: &mut ErrorList) {
    if ["runtime/default", "docker/default", "unconfined"].contains(&profile) {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(file) => descending_path(&At { value: &Value::from(file), path: path.clone() }, errors),
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// What an update may not touch.
pub fn validate_update(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    for (key, _) in entries(old).filter(|(key, value)| new.get(*key).and_then(Value::as_str) != Some(*value)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, _) in entries(new).filter(|(key, _)| old.get(*key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
}

/// Profiles that are given both ways say the same.
pub fn match_fields(annotations: &Value, spec: &At<'_>, errors: &mut ErrorList) {
    let of = |key: &str| annotations.get(key).and_then(Value::as_str);
    let whole = spec.at("securityContext");
    if let Some(annotation) = of(SECCOMP_POD) {
        agree(&whole.at("seccompProfile"), annotation, "seccomp", errors);
    }
    for container in all_containers(spec) {
        let profile = container.to("securityContext.seccompProfile");
        if let Some(annotation) = of(&format!("{SECCOMP_CONTAINER}{}", container.at("name").text())) {
            agree(&profile, annotation, "seccomp", errors);
        }
    }
    if spec.at("os").at("name").text() == "windows" {
        return;
    }
    for container in all_containers(spec) {
        let mut profile = container.to("securityContext.appArmorProfile");
        if !profile.present() {
            profile.value = whole.at("appArmorProfile").value;
        }
        if let Some(annotation) = of(&format!("{APP_ARMOR}{}", container.at("name").text())) {
            agree(&profile, annotation, "apparmor", errors);
        }
    }
}

fn agree(profile: &At<'_>, annotation: &str, kind: &str, errors: &mut ErrorList) {
    let docker = kind == "seccomp" && annotation == "docker/default";
    let fits = match profile.at("type").text() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || docker,
        "Localhost" => annotation.starts_with("localhost/"),
        _ => true,
    };
    let file = profile.at("localhostProfile");
    if !fits {
        errors.forbidden(&profile.path.child("type"), format!("{kind} type in annotation and field must match"));
    } else if profile.at("type").text() == "Localhost" && annotation.strip_prefix("localhost/") != file.value.as_str() {
        errors.forbidden(&file.path, format!("{kind} profile in annotation and field must match"));
    }
}

/// The profile that an annotation names.
pub fn app_armor_profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => {
            let file = annotation.strip_prefix("localhost/").filter(|file| !file.is_empty() && file.trim() == *file)?;
            Some(json!({"type": "Localhost", "localhostProfile": file}))
        }
    }
}
