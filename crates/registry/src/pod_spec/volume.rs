//! Validation of volumes.

use std::collections::{HashMap, HashSet};

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, object_meta};

use super::env::field_reference;
use super::volume_source::{self, Holder, KINDS, PORTAL_TOO_LONG, is_portal_too_long};
use super::{Options, resources};
use crate::at::At;

/// The faultless volumes of a pod, each with the kind of its source.
pub type Volumes = HashMap<String, String>;

/// Judges the volumes and answers with those that nothing is wrong with: mounts may name only them.
pub fn validate(volumes: &At<'_>, options: Options<'_>, errors: &mut ErrorList) -> Volumes {
    let mut known = Volumes::new();
    let created = created_claims(volumes, options.name);
    for volume in volumes.items() {
        let (mut own, name) = (ErrorList::new(), volume.at("name"));
        let kind = sources(&volume, options, &mut own);
        if name.required(&mut own, "") {
            name.follows(&mut own, is_dns1123_label);
        }
        if known.contains_key(name.text()) {
            own.duplicate(&name.path, name.text());
        }
        if own.is_empty() {
            known.insert(name.text().to_owned(), kind.into());
        }
        errors.append(own);
        let claim = volume.to("persistentVolumeClaim.claimName");
        if created.iter().any(|name| name == claim.text()) {
            claim.invalid(errors, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    known
}

/// The claims that come with a pod of that name.
fn created_claims(volumes: &At<'_>, pod: &str) -> Vec<String> {
    let ephemeral = volumes.items().into_iter().filter(|volume| !pod.is_empty() && volume.at("ephemeral").present());
    ephemeral.map(|volume| format!("{pod}-{}", volume.at("name").text())).collect()
}

fn sources(volume: &At<'_>, options: Options<'_>, errors: &mut ErrorList) -> &'static str {
    let mut own = ErrorList::new();
    let Some(first) = volume_source::given(volume, &KINDS, &mut own) else {
        errors.required(&volume.path, "must specify a volume type");
        return "";
    };
    source(first, volume, options, errors);
    errors.append(own);
    first
}

fn source(kind: &str, volume: &At<'_>, options: Options<'_>, errors: &mut ErrorList) {
    let source = &volume_source::source(volume, kind);
    volume_source::validate(kind, source, Holder::Pod, errors);
    match kind {
        "emptyDir" => empty_dir(source, errors),
        "secret" => {
            source.at("secretName").required(errors, "");
            keys_and_modes(source, errors);
        }
        "configMap" => {
            source.at("name").required(errors, "");
            keys_and_modes(source, errors);
        }
        "iscsi" => initiator(volume, source, errors),
        "downwardAPI" => downward(source, errors),
        "projected" => projected(source, errors),
        "ephemeral" => ephemeral(volume, source, options.name, errors),
        "image" => {
            if options.pod {
                source.at("reference").required(errors, "");
            }
            source.at("pullPolicy").required_one_of(errors, &["Always", "IfNotPresent", "Never"]);
        }
        _ => {}
    }
}

fn initiator(volume: &At<'_>, source: &At<'_>, errors: &mut ErrorList) {
    let (name, portal) = (volume.at("name"), source.at("targetPortal"));
    if source.at("initiatorName").present() && is_portal_too_long(name.text(), portal.text()) {
        errors.invalid(&name.path, name.text(), PORTAL_TOO_LONG);
    }
}

/// A claim of its own, named after the pod and the volume.
fn ephemeral(volume: &At<'_>, source: &At<'_>, pod: &str, errors: &mut ErrorList) {
    claim_template(source, errors);
    let name = volume.at("name");
    if !pod.is_empty() && !name.empty() {
        let claim = format!("{pod}-{}", name.text());
        let wrong = is_dns1123_subdomain(&claim).into_iter().map(|why| format!("PVC name {claim:?}: {why}"));
        errors.invalid_all(&name.path, name.text(), wrong);
    }
}

fn claim_template(source: &At<'_>, errors: &mut ErrorList) {
    let template = source.at("volumeClaimTemplate");
    if !template.present() {
        return errors.required(&template.path, "");
    }
    let metadata = template.at("metadata");
    errors.append(object_meta::annotations(metadata.at("annotations").value, &metadata.path.child("annotations")));
    errors.append(object_meta::labels(metadata.at("labels").value, &metadata.path.child("labels")));
    for (name, _) in metadata.entries() {
        if !["annotations", "labels", "creationTimestamp"].contains(&name) && !metadata.at(name).empty() {
            errors.forbidden(&metadata.path.child(name), "cannot be set");
        }
    }
    crate::core::validate_claim_spec(&template.at("spec"), errors);
}

/// A path of a host: shared with persistent volumes.
pub fn host_path(source: &At<'_>, errors: &mut ErrorList) {
    let path = source.at("path");
    if !path.required(errors, "") {
        return;
    }
    backsteps(&path, errors);
    let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    source.at("type").one_of(errors, &kinds);
}

fn empty_dir(source: &At<'_>, errors: &mut ErrorList) {
    let limit = source.at("sizeLimit");
    if limit.quantity().is_some_and(apimachinery::Quantity::is_negative) {
        errors.forbidden(&limit.path, "SizeLimit field must be a valid resource quantity");
    }
}

pub fn volume_mode_bits(mode: &At<'_>, errors: &mut ErrorList) {
    if mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        mode.invalid(errors, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn keys_and_modes(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    source.at("items").items().iter().for_each(|item| key_to_path(item, errors));
}

fn key_to_path(item: &At<'_>, errors: &mut ErrorList) {
    item.at("key").required(errors, "");
    local_path(&item.at("path"), errors);
    volume_mode_bits(&item.at("mode"), errors);
}

/// A path within something, given and not beginning with `..`.
pub fn local_path(path: &At<'_>, errors: &mut ErrorList) {
    path.required(errors, "");
    descending_path(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        path.invalid(errors, "must not start with '..'");
    }
}

/// A relative path that does not leave where it starts.
pub fn descending_path(path: &At<'_>, errors: &mut ErrorList) {
    if path.text().starts_with('/') {
        path.invalid(errors, "must be a relative path");
    }
    backsteps(path, errors);
}

/// No part of the path leads up.
pub fn backsteps(path: &At<'_>, errors: &mut ErrorList) {
    if path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not contain '..'");
    }
}

const DOWNWARD_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    source.at("items").items().iter().for_each(|item| downward_file(source, item, errors));
}

/// Upstream names the faults of a file without the index of the item.
fn downward_file(source: &At<'_>, item: &At<'_>, errors: &mut ErrorList) {
    let item = At { value: item.value, path: source.path.clone() };
    local_path(&item.at("path"), errors);
    let (field, resource) = (item.at("fieldRef"), item.at("resourceFieldRef"));
    if field.present() {
        field_reference(&field, &DOWNWARD_FIELDS, errors);
        if resource.present() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid(&item.path, "resource", detail);
        }
    } else if resource.present() {
        resources::field_reference(&resource, true, errors);
    } else {
        errors.required(&item.path, "one of fieldRef and resourceFieldRef is required");
    }
    volume_mode_bits(&item.at("mode"), errors);
}

/// No two sources may write the same file.
fn projected(projected: &At<'_>, errors: &mut ErrorList) {
    const KINDS: [&str; 6] =
        ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
    volume_mode_bits(&projected.at("defaultMode"), errors);
    let mut taken = HashSet::new();
    for part in projected.at("sources").items() {
        for name in ["secret", "configMap"] {
            if part.at(name).present() {
                projected_keys(projected, &part.at(name), &mut taken, errors);
            }
        }
        let downward = part.at("downwardAPI");
        for item in downward.at("items").items() {
            downward_file(&downward, &item, errors);
            let path = item.at("path").text();
            if !path.is_empty() && !taken.insert(path) {
                errors.invalid(&projected.path, path, "conflicting duplicate paths");
            }
        }
        let token = part.at("serviceAccountToken");
        if token.present() {
            service_account_token(projected, &token, errors);
        }
        if KINDS.iter().filter(|kind| part.at(kind).present()).count() > 1 {
            errors.forbidden(&part.path, "may not specify more than 1 volume type per source");
        }
    }
}

fn projected_keys<'a>(projected: &At<'_>, source: &At<'a>, taken: &mut HashSet<&'a str>, errors: &mut ErrorList) {
    source.at("name").required(errors, "");
    for item in source.at("items").items() {
        key_to_path(&item, errors);
        let path = item.at("path").text();
        if !path.is_empty() && !taken.insert(path) {
            errors.invalid(&projected.path, source.at("name").text(), "conflicting duplicate paths");
        }
    }
}

/// Upstream names the fault of a path without the source.
fn service_account_token(projected: &At<'_>, token: &At<'_>, errors: &mut ErrorList) {
    let seconds = token.at("expirationSeconds");
    if seconds.int().unwrap_or_default() < 600 {
        let value = seconds.int().unwrap_or_default();
        errors.invalid(&seconds.path, value, "may not specify a duration less than 10 minutes");
    }
    if seconds.int().is_some_and(|value| value > 1 << 32) {
        seconds.invalid(errors, "may not specify a duration larger than 2^32 seconds");
    }
    local_path(&At { value: token.at("path").value, path: projected.path.child("path") }, errors);
}

/// The name of a storage class.
pub fn class_name(at: &At<'_>, errors: &mut ErrorList) {
    if !at.empty() {
        at.follows(errors, is_dns1123_subdomain);
    }
}
