//! Validation of what containers mount.

use std::collections::{HashMap, HashSet};

use apimachinery::field::{ErrorList, FieldError};

use super::volume::{Volumes, descending_path};
use crate::at::At;

/// Names and places of the one kind, which the other kind may not use again.
struct Taken<'a> {
    names: HashSet<&'a str>,
    paths: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn of(list: &At<'a>, path: &str) -> Self {
        let all = list.items();
        Self {
            names: all.iter().map(|one| one.at("name").text()).collect(),
            paths: all.iter().map(|one| one.at(path).text()).collect(),
        }
    }

    fn check(&self, name: &At<'_>, path: &At<'_>, other: &str, errors: &mut ErrorList) {
        if self.names.contains(name.text()) {
            name.invalid(errors, &format!("must not already exist in {other}"));
        }
        if self.paths.contains(path.text()) {
            path.invalid(errors, &format!("must not already exist as a path in {other}"));
        }
    }
}

pub fn mounts(container: &At<'_>, volumes: &Volumes, errors: &mut ErrorList) {
    let mounts = container.at("volumeMounts");
    let devices = Taken::of(&container.at("volumeDevices"), "devicePath");
    let mut paths = HashSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        name.required(errors, "");
        if !volumes.contains_key(name.text()) {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        path.required(errors, "");
        if !paths.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        devices.check(&name, &path, "volumeDevices", errors);
        if volumes.get(name.text()).is_some_and(|kind| kind == "image") {
            for path in ["subPath", "subPathExpr"].map(|name| mount.at(name)).into_iter().filter(|path| !path.empty()) {
                path.invalid(errors, "not allowed in image volume sources");
            }
        }
        sub_path(&mount, &mounts, errors);
        propagation(container, &mount, &mounts, errors);
        recursive_read_only(&mount, &mounts, errors);
    }
}

/// The field of a mount, named without the index of the mount, as upstream does.
fn unindexed<'a>(mount: &At<'a>, mounts: &At<'_>, field: &str) -> At<'a> {
    At { value: mount.at(field).value, path: mounts.path.child(field) }
}

fn sub_path(mount: &At<'_>, mounts: &At<'_>, errors: &mut ErrorList) {
    let (plain, expanded) = (mount.at("subPath"), mount.at("subPathExpr"));
    descending_path(&unindexed(mount, mounts, "subPath"), errors);
    if !plain.empty() && !expanded.empty() {
        expanded.invalid(errors, "subPathExpr and subPath are mutually exclusive");
    }
    descending_path(&unindexed(mount, mounts, "subPathExpr"), errors);
}

fn propagation(container: &At<'_>, mount: &At<'_>, mounts: &At<'_>, errors: &mut ErrorList) {
    let propagation = unindexed(mount, mounts, "mountPropagation");
    propagation.one_of(errors, &["Bidirectional", "HostToContainer", "None"]);
    if propagation.text() == "Bidirectional" && !container.to("securityContext.privileged").is_true() {
        errors
            .forbidden(&propagation.path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(mount: &At<'_>, mounts: &At<'_>, errors: &mut ErrorList) {
    let recursive = unindexed(mount, mounts, "recursiveReadOnly");
    recursive.one_of(errors, &["Disabled", "Enabled", "IfPossible"]);
    if !["Enabled", "IfPossible"].contains(&recursive.text()) {
        return;
    }
    if !mount.at("readOnly").is_true() {
        errors.forbidden(&recursive.path, "may only be specified when readOnly is true");
    }
    if !["", "None"].contains(&mount.at("mountPropagation").text()) {
        errors.forbidden(&recursive.path, "may only be specified when mountPropagation is None or not specified");
    }
}

pub fn devices(container: &At<'_>, volumes: &Volumes, errors: &mut ErrorList) {
    let mounts = Taken::of(&container.at("volumeMounts"), "mountPath");
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for device in container.at("volumeDevices").items() {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        name.required(errors, "");
        if names.contains(name.text()) {
            name.invalid(errors, "must be unique");
        }
        device_volume(&name, volumes, errors);
        path.required(errors, "");
        if paths.contains(path.text()) {
            path.invalid(errors, "must be unique");
        }
        if path.text().split('/').any(|part| part == "..") {
            path.invalid(errors, "can not contain backsteps ('..')");
        } else {
            paths.insert(path.text());
        }
        mounts.check(&name, &path, "volumeMounts", errors);
        if !name.empty() {
            names.insert(name.text());
        }
    }
}

fn device_volume(name: &At<'_>, volumes: &HashMap<String, String>, errors: &mut ErrorList) {
    match volumes.get(name.text()).map(String::as_str) {
        None => errors.push(FieldError::not_found(&name.path, name.text())),
        Some("persistentVolumeClaim" | "ephemeral") => {}
        Some(_) => {
            let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            name.invalid(errors, detail);
        }
    }
}
