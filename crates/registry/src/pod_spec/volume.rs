//! Validation of volumes.

use std::collections::HashMap;

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, object_meta};

use super::env::field_reference;
use super::volume_source::{self, KINDS};
use super::{Options, resources};
use crate::at::{At, duplicates};

/// The volumes of a pod, each with the kind of its source.
pub type Volumes = HashMap<String, String>;

/// Judges the volumes and answers with them.
pub fn validate(volumes: &At<'_>, options: Options, errors: &mut ErrorList) -> Volumes {
    let mut known = Volumes::new();
    for volume in volumes.items() {
        let name = volume.at("name");
        if name.required(errors, "") {
            name.follows(errors, is_dns1123_label);
        }
        let kind = sources(&volume, options, errors);
        known.entry(name.text().to_owned()).or_insert(kind.into());
    }
    duplicates(errors, volumes.items().iter().map(|volume| volume.at("name")));
    known
}

fn sources(volume: &At<'_>, options: Options, errors: &mut ErrorList) -> &'static str {
    let given: Vec<&'static str> = KINDS.into_iter().filter(|kind| volume.at(kind).present()).collect();
    for extra in given.iter().skip(1) {
        errors.forbidden(&volume.path.child(extra), "may not specify more than 1 volume type");
    }
    let Some(first) = given.first() else {
        errors.required(&volume.path, "must specify a volume type");
        return "";
    };
    source(first, &volume.at(first), options, errors);
    first
}

fn source(kind: &str, source: &At<'_>, options: Options, errors: &mut ErrorList) {
    volume_source::validate(kind, source, true, errors);
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
        "downwardAPI" => downward(source, errors),
        "projected" => projected(source, errors),
        "ephemeral" => ephemeral(source, errors),
        "image" => {
            if options.pod {
                source.at("reference").required(errors, "");
            }
            source.at("pullPolicy").required_one_of(errors, &["Always", "IfNotPresent", "Never"]);
        }
        _ => {}
    }
}

/// A claim of its own.
fn ephemeral(source: &At<'_>, errors: &mut ErrorList) {
    let template = source.at("volumeClaimTemplate");
    if !template.present() {
        return errors.required(&template.path, "");
    }
    let metadata = template.at("metadata");
    errors.append(object_meta::labels(metadata.at("labels").value, &metadata.path.child("labels")));
    errors.append(object_meta::annotations(metadata.at("annotations").value, &metadata.path.child("annotations")));
    crate::core::validate_claim_spec(&template.at("spec"), errors);
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

pub fn volume_mode_bits(mode: &At<'_>, errors: &mut ErrorList) {
    if mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        mode.invalid(errors, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn keys_and_modes(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    for item in source.at("items").items() {
        item.at("key").required(errors, "");
        local_path(&item.at("path"), errors);
        volume_mode_bits(&item.at("mode"), errors);
    }
}

/// A path within something, given and not beginning with `..`.
pub fn local_path(path: &At<'_>, errors: &mut ErrorList) {
    path.required(errors, "");
    descending_path(path, errors);
    if path.text().starts_with("..") && !path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not start with '..'");
    }
}

/// A relative path that does not leave where it starts.
pub fn descending_path(path: &At<'_>, errors: &mut ErrorList) {
    if path.text().starts_with('/') {
        path.invalid(errors, "must be a relative path");
    }
    if path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not contain '..'");
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
}

fn projected(source: &At<'_>, errors: &mut ErrorList) {
    volume_mode_bits(&source.at("defaultMode"), errors);
    for part in source.at("sources").items() {
        let given: Vec<&String> = part.value.as_object().into_iter().flat_map(|map| map.keys()).collect();
        let given: Vec<&String> = given.into_iter().filter(|kind| part.at(kind).present()).collect();
        if given.is_empty() {
            errors.required(&part.path, "must specify one of: secret, configMap, downwardAPI, serviceAccountToken, clusterTrustBundle, podCertificate");
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
