//! Validation of volumes.

use std::collections::HashSet;

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_config_map_key, is_dns1123_label, is_dns1123_subdomain};

use super::container::field_reference;
use super::resources;
use crate::at::{At, duplicates};

/// Judges the volumes and answers with their names.
pub fn validate(volumes: &At<'_>, errors: &mut ErrorList) -> HashSet<String> {
    for volume in volumes.items() {
        let name = volume.at("name");
        if name.required(errors, "") {
            name.follows(errors, is_dns1123_label);
        }
        sources(&volume, errors);
    }
    duplicates(errors, volumes.items().iter().map(|volume| volume.at("name")));
    volumes.items().iter().map(|volume| volume.at("name").text().to_owned()).collect()
}

fn sources(volume: &At<'_>, errors: &mut ErrorList) {
    let given: Vec<&String> =
        volume.value.as_object().into_iter().flat_map(|map| map.keys()).filter(|name| *name != "name").collect();
    for extra in given.iter().skip(1) {
        errors.forbidden(&volume.path.child(extra), "may not specify more than 1 volume type");
    }
    match given.first() {
        Some(first) => source(first, &volume.at(first), errors),
        None => errors.required(&volume.path, "must specify a volume type"),
    }
}

fn source(kind: &str, source: &At<'_>, errors: &mut ErrorList) {
    match kind {
        "hostPath" => host_path(source, errors),
        "emptyDir" => empty_dir(source, errors),
        "secret" => {
            source.at("secretName").required(errors, "");
            keys_and_modes(source, errors);
        }
        "configMap" => {
            source.at("name").required(errors, "");
            keys_and_modes(source, errors);
        }
        "downwardAPI" => downward(source, errors),
        "projected" => projected(source, errors),
        "persistentVolumeClaim" => drop(source.at("claimName").required(errors, "")),
        "nfs" => nfs(source, errors),
        "csi" => drop(source.at("driver").required(errors, "")),
        "ephemeral" => drop(source.at("volumeClaimTemplate").required(errors, "")),
        _ => {}
    }
}

/// A path of a host: shared with persistent volumes.
pub fn host_path(source: &At<'_>, errors: &mut ErrorList) {
    let path = source.at("path");
    if path.required(errors, "") && path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not contain '..'");
    }
    let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    source.at("type").one_of(errors, &kinds);
}

fn empty_dir(source: &At<'_>, errors: &mut ErrorList) {
    let limit = source.at("sizeLimit");
    if limit.quantity().is_some_and(apimachinery::Quantity::is_negative) {
        errors.forbidden(&limit.path, "SizeLimit field must be a valid resource quantity");
    }
}

fn nfs(source: &At<'_>, errors: &mut ErrorList) {
    source.at("server").required(errors, "");
    let path = source.at("path");
    if path.required(errors, "") && !path.text().starts_with('/') {
        path.invalid(errors, "must be an absolute path");
    }
}

pub fn volume_mode_bits(mode: &At<'_>, errors: &mut ErrorList) {
    if mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        mode.invalid(errors, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn keys_and_modes(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    for item in source.at("items").items() {
        if item.at("key").required(errors, "") {
            item.at("key").follows(errors, is_config_map_key);
        }
        local_path(&item.at("path"), errors);
        volume_mode_bits(&item.at("mode"), errors);
    }
}

fn local_path(path: &At<'_>, errors: &mut ErrorList) {
    if !path.required(errors, "") {
        return;
    }
    if path.text().starts_with('/') {
        path.invalid(errors, "must be a relative path");
    }
    if path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not contain '..'");
    } else if path.text().starts_with("..") {
        path.invalid(errors, "must not start with '..'");
    }
}

const DOWNWARD_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    for item in source.at("items").items() {
        local_path(&item.at("path"), errors);
        let (field, resource) = (item.at("fieldRef"), item.at("resourceFieldRef"));
        if field.present() {
            field_reference(&field, &DOWNWARD_FIELDS, errors);
            if resource.present() {
                item.invalid(errors, "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        } else if resource.present() {
            resources::field_reference(&resource, true, errors);
        } else {
            item.required(errors, "one of fieldRef and resourceFieldRef is required");
        }
        volume_mode_bits(&item.at("mode"), errors);
    }
}

fn projected(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    for part in source.at("sources").items() {
        let given: Vec<&String> = part.value.as_object().into_iter().flat_map(|map| map.keys()).collect();
        if given.is_empty() {
            part.required(errors, "must specify one of: secret, configMap, downwardAPI, serviceAccountToken, clusterTrustBundle, podCertificate");
        }
        for extra in given.iter().skip(1) {
            errors.forbidden(&part.path.child(extra), "may not specify more than 1 volume type per source");
        }
        for name in ["secret", "configMap"] {
            if part.at(name).present() {
                part.at(name).at("name").required(errors, "");
                keys_and_modes(&part.at(name), errors);
            }
        }
        if part.at("downwardAPI").present() {
            downward(&part.at("downwardAPI"), errors);
        }
        let token = part.at("serviceAccountToken");
        if token.present() {
            service_account_token(&token, errors);
        }
    }
}

fn service_account_token(token: &At<'_>, errors: &mut ErrorList) {
    let seconds = token.at("expirationSeconds");
    if seconds.int().is_some_and(|value| value < 600) {
        seconds.invalid(errors, "may not specify a duration less than 10 minutes");
    }
    if seconds.int().is_some_and(|value| value > 1 << 32) {
        seconds.invalid(errors, "may not specify a duration larger than 2^32 seconds");
    }
    local_path(&token.at("path"), errors);
}

/// The name of a storage class.
pub fn class_name(at: &At<'_>, errors: &mut ErrorList) {
    if !at.empty() {
        at.follows(errors, is_dns1123_subdomain);
    }
}
