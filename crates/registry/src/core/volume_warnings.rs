//! What is accepted of volumes and claims but probably not meant.

use crate::at::At;
use crate::pod_spec::{fraction, selector_term_warnings};

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

const DEAD: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn old_annotation(object: &At<'_>, key: &str, since: &str, field: &str) -> Option<String> {
    let annotations = object.to("metadata.annotations");
    annotations.value.get(key)?;
    Some(format!("{}: deprecated since {since}; use {field:?} attribute instead", annotations.path.key(key)))
}

pub fn persistent_volume(volume: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = volume.at("spec");
    warnings.extend(old_annotation(volume, CLASS, "v1.8", "storageClassName"));
    warnings.extend(old_annotation(volume, MOUNT_OPTIONS, "v1.31", "mountOptions"));
    let policy = spec.at("persistentVolumeReclaimPolicy");
    if policy.text() == "Recycle" {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                   provisioning.";
        warnings.push(format!("{}: {why}", policy.path));
    }
    for term in spec.to("nodeAffinity.required.nodeSelectorTerms").items() {
        selector_term_warnings(&term, false, &mut warnings);
    }
    let dead = DEAD.iter().filter(|(kind, _, _)| spec.at(kind).present());
    warnings.extend(dead.map(|(_, shown, why)| format!("{}: {why}", spec.path.child(shown))));
    fraction(&spec.at("capacity"), "storage", &mut warnings);
    warnings
}

pub fn claim(claim: &At<'_>) -> Vec<String> {
    let mut warnings: Vec<String> = old_annotation(claim, CLASS, "v1.8", "storageClassName").into_iter().collect();
    for list in ["requests", "limits"] {
        fraction(&claim.to("spec.resources").at(list), "storage", &mut warnings);
    }
    warnings
}
