//! Validation of the volume sources that pods and persistent volumes share.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::is_dns1123_subdomain;

use super::volume::host_path;
use crate::at::At;

/// Every kind of source, in the order in which upstream looks for them: the first is judged, others are too many.
pub const KINDS: [&str; 31] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "flexVolume",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "storageos",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "projected",
    "csi",
    "ephemeral",
    "image",
];

/// Fields that may not be empty.
const REQUIRED: [(&str, &[&str]); 19] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("azureFile", &["secretName", "shareName"]),
    ("flexVolume", &["driver"]),
    ("vsphereVolume", &["volumePath"]),
    ("quobyte", &["registry", "volume"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("fc", &[]),
];

/// The source of that kind. `in_pod` tells a pod's from a persistent volume's.
pub fn validate(kind: &str, source: &At<'_>, in_pod: bool, errors: &mut ErrorList) {
    let fields = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| *fields);
    for field in fields {
        source.at(field).required(errors, "");
    }
    match kind {
        "hostPath" => host_path(source, errors),
        "nfs" if !source.at("path").text().starts_with('/') => {
            let path = source.at("path");
            errors.invalid(&path.path, path.text(), "must be an absolute path");
        }
        "iscsi" => iscsi(source, errors),
        "fc" => fibre_channel(source, errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => source.at("partition").in_range(errors, 0, 255),
        "azureDisk" => azure_disk(source, errors),
        "csi" => csi(source, in_pod, errors),
        _ => {}
    }
}

fn iscsi(source: &At<'_>, errors: &mut ErrorList) {
    let iqn = source.at("iqn");
    let known = ["iqn", "eui", "naa"].iter().any(|prefix| iqn.text().starts_with(prefix));
    if !iqn.empty() && !known {
        iqn.invalid(errors, "must be valid format starting with iqn, eui, or naa");
    }
    source.at("lun").in_range(errors, 0, 255);
    let authenticated = source.at("chapAuthDiscovery").is_true() || source.at("chapAuthSession").is_true();
    if authenticated && !source.at("secretRef").present() {
        errors.required(&source.path.child("secretRef"), "");
    }
}

fn fibre_channel(source: &At<'_>, errors: &mut ErrorList) {
    let (targets, wwids) = (source.at("targetWWNs"), source.at("wwids"));
    match (targets.empty(), wwids.empty()) {
        (true, true) => {
            errors.required(&targets.path, "must specify either targetWWNs or wwids, but not both");
        }
        (false, false) => targets.invalid(errors, "targetWWNs and wwids can not be specified simultaneously"),
        (false, true) if !source.at("lun").present() => {
            errors.required(&source.path.child("lun"), "lun is required if targetWWNs is specified");
        }
        (false, true) => source.at("lun").in_range(errors, 0, 255),
        (true, false) => {}
    }
}

fn azure_disk(source: &At<'_>, errors: &mut ErrorList) {
    source.at("cachingMode").one_of(errors, &["None", "ReadOnly", "ReadWrite"]);
    source.at("kind").one_of(errors, &["Dedicated", "Managed", "Shared"]);
}

fn csi(source: &At<'_>, in_pod: bool, errors: &mut ErrorList) {
    driver_name(&source.at("driver"), errors);
    if !in_pod {
        source.at("volumeHandle").required(errors, "");
    }
    let references = if in_pod {
        &["nodePublishSecretRef"][..]
    } else {
        &["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    };
    for reference in references.iter().map(|name| source.at(name)).filter(At::present) {
        reference.at("name").required(errors, "");
        if !in_pod {
            reference.at("namespace").required(errors, "");
        }
    }
}

/// The name of a CSI driver.
pub fn driver_name(name: &At<'_>, errors: &mut ErrorList) {
    const MAX: usize = 63;
    if !name.required(errors, "") {
        return;
    }
    if name.text().len() > MAX {
        errors.push(FieldError::too_long(&name.path, MAX));
    }
    errors.invalid_all(&name.path, name.text(), is_dns1123_subdomain(&name.text().to_lowercase()));
}
