//! Validation of environment variables and of references to fields of the pod.

use apimachinery::field::ErrorList;
use apimachinery::validation::{
    is_config_map_key, is_dns1123_label, is_dns1123_subdomain, is_env_var_name, is_qualified_name,
};

use super::resources;
use super::volume::local_path;
use crate::at::At;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that have a name at all; which of them may be used depends on the place.
const POD_FIELDS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

pub fn env(env: &At<'_>, errors: &mut ErrorList) {
    for entry in env.items() {
        let name = entry.at("name");
        if name.required(errors, "") {
            name.follows(errors, is_env_var_name);
        }
        let from = entry.at("valueFrom");
        if from.present() {
            value_from(&entry, &from, errors);
        }
    }
}

fn value_from(entry: &At<'_>, from: &At<'_>, errors: &mut ErrorList) {
    const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    if from.at("fieldRef").present() {
        field_reference(&from.at("fieldRef"), &ENV_FIELDS, errors);
    }
    if from.at("resourceFieldRef").present() {
        resources::field_reference(&from.at("resourceFieldRef"), false, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = from.at(name);
        if reference.present() {
            errors.invalid_all(
                &reference.path.child("name"),
                reference.at("name").text(),
                is_dns1123_subdomain(reference.at("name").text()),
            );
            required_key(&reference.at("key"), is_config_map_key, errors);
        }
    }
    if from.at("fileKeyRef").present() {
        file_key(&from.at("fileKeyRef"), errors);
    }
    let sources = SOURCES.iter().filter(|name| from.at(name).present()).count();
    if sources == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(&from.path, "", detail);
    } else if !entry.at("value").empty() {
        errors.invalid(&from.path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(&from.path, "", "may not have more than one field specified at a time");
    }
}

fn required_key(key: &At<'_>, rule: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if key.required(errors, "") {
        key.follows(errors, rule);
    }
}

/// A variable from a file of a volume.
fn file_key(reference: &At<'_>, errors: &mut ErrorList) {
    required_key(&reference.at("volumeName"), is_dns1123_label, errors);
    local_path(&reference.at("path"), errors);
    required_key(&reference.at("key"), is_env_var_name, errors);
}

/// A reference to a field of the pod; `supported` are the plain paths that this place knows.
pub fn field_reference(reference: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    let (version, path) = (reference.at("apiVersion"), reference.at("fieldPath"));
    if !version.required(errors, "") || !path.required(errors, "") {
        return;
    }
    if let Some(why) = unconvertible(version.text(), path.text()) {
        return path.invalid(errors, &format!("error converting fieldPath: {why}"));
    }
    match subscript(path.text()) {
        Some(("metadata.annotations", key)) => {
            errors.invalid_all(&reference.path, &key.to_lowercase(), is_qualified_name(&key.to_lowercase()));
        }
        Some((_, key)) => errors.invalid_all(&reference.path, key, is_qualified_name(key)),
        None if !supported.contains(&path.text()) => errors.not_supported(&path.path, path.text(), supported),
        None => {}
    }
}

fn unconvertible(version: &str, path: &str) -> Option<String> {
    if version != "v1" {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscript(path) {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {path}")),
        None if POD_FIELDS.contains(&path) => None,
        None => Some(format!("field label not supported: {path}")),
    }
}

/// `path['key']` in its parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

/// Upstream names two of these faults without the index of the source.
pub fn env_from(sources: &At<'_>, errors: &mut ErrorList) {
    for source in sources.items() {
        if !source.at("prefix").empty() {
            source.at("prefix").follows(errors, is_env_var_name);
        }
        for reference in ["configMapRef", "secretRef"].map(|name| source.at(name)) {
            let name = reference.at("name");
            if reference.present() && name.required(errors, "") {
                let rule = crate::NameRule::DnsSubdomain;
                name.follows(errors, |name| rule.check(name, true));
            }
        }
        let given = ["configMapRef", "secretRef"].iter().filter(|name| source.at(name).present()).count();
        match given {
            0 => errors.invalid(&sources.path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&sources.path, "", "may not have more than one field specified at a time"),
        }
    }
}
