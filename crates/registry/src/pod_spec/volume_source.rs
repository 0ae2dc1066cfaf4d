//! Validation of the volume sources that pods and persistent volumes share.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, range_error};

use super::volume::{backsteps, descending_path, host_path};
use crate::at::At;

/// Every kind of source of a pod's volume, in the order in which upstream looks for them: the first is judged, others are
/// too many.
pub const KINDS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// The same for persistent volumes.
pub const PERSISTENT_KINDS: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Whose source it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holder<'a> {
    Pod,
    /// A persistent volume of that name.
    Persistent(&'a str),
}

/// Fields that may not be empty.
const REQUIRED: [(&str, &[&str]); 16] = [
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
    ("azureDisk", &["diskName", "diskURI"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

/// The kinds of source that a volume has. All but the first are too many.
pub fn given(volume: &At<'_>, kinds: &[&'static str], errors: &mut ErrorList) -> Option<&'static str> {
    let given: Vec<&'static str> = kinds.iter().copied().filter(|kind| volume.at(kind).present()).collect();
    for extra in given.iter().skip(1) {
        let shown = match *extra {
            "cephfs" => "cephFS",
            // Upstream's spelling.
            "downwardAPI" => "downwarAPI",
            other => other,
        };
        errors.forbidden(&volume.path.child(shown), "may not specify more than 1 volume type");
    }
    given.first().copied()
}

/// The source of that kind, with the path that upstream gives it.
pub fn source<'a>(volume: &At<'a>, kind: &str) -> At<'a> {
    let shown = if kind == "gcePersistentDisk" { "persistentDisk" } else { kind };
    At { value: volume.at(kind).value, path: volume.path.child(shown) }
}

pub fn validate(kind: &str, source: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    let fields = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| *fields);
    for field in fields {
        source.at(field).required(errors, "");
    }
    match kind {
        "hostPath" => host_path(source, errors),
        "gitRepo" => descending_path(&source.at("directory"), errors),
        "nfs" => nfs(source, errors),
        "iscsi" => iscsi(source, holder, errors),
        "fc" => fibre_channel(source, errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => partition(&source.at("partition"), errors),
        "glusterfs" if holder != Holder::Pod => endpoints_namespace(&source.at("endpointsNamespace"), errors),
        "flocker" => flocker(source, errors),
        "quobyte" => quobyte(source, errors),
        "cinder" => secret(&source.at("secretRef"), holder, errors),
        "azureFile" => secret_namespace(&source.at("secretNamespace"), errors),
        "azureDisk" => azure_disk(source, errors),
        "flexVolume" => reserved_options(&source.at("options"), errors),
        "storageos" => storage_os(source, holder, errors),
        "local" if source.at("path").required(errors, "") => backsteps(&source.at("path"), errors),
        "csi" => csi(source, holder, errors),
        _ => {}
    }
}

fn nfs(source: &At<'_>, errors: &mut ErrorList) {
    let path = source.at("path");
    if !path.text().starts_with('/') {
        errors.invalid(&path.path, path.text(), "must be an absolute path");
    }
}

/// Zero is allowed, though the text denies it.
fn partition(partition: &At<'_>, errors: &mut ErrorList) {
    if partition.int().is_some_and(|number| !(0..=255).contains(&number)) {
        partition.invalid(errors, &range_error(1, 255));
    }
}

fn endpoints_namespace(namespace: &At<'_>, errors: &mut ErrorList) {
    if !namespace.present() {
        return;
    }
    if namespace.empty() {
        let detail = "if the endpointnamespace is set, it must be a valid namespace name";
        return namespace.invalid(errors, detail);
    }
    namespace.follows(errors, is_dns1123_label);
}

fn flocker(source: &At<'_>, errors: &mut ErrorList) {
    let (name, uuid) = (source.at("datasetName"), source.at("datasetUUID"));
    if name.empty() && uuid.empty() {
        errors.required(&source.path, "one of datasetName and datasetUUID is required");
    }
    if !name.empty() && !uuid.empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.invalid(&source.path, "resource", detail);
    }
    if name.text().contains('/') {
        name.invalid(errors, "must not contain '/'");
    }
}

fn quobyte(source: &At<'_>, errors: &mut ErrorList) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    const TENANT_LENGTH_MAX: usize = 64;
    let (registry, tenant) = (source.at("registry"), source.at("tenant"));
    if registry.empty() {
        errors.required(&registry.path, PAIRS);
    } else if tenant.text().len() > TENANT_LENGTH_MAX {
        errors.required(&tenant.path, "must be a UUID and may not exceed a length of 64 characters");
    } else {
        let wrong = registry.text().split(',').filter(|pair| !is_host_and_port(pair)).count();
        (0..wrong).for_each(|_| registry.invalid(errors, PAIRS));
    }
    source.at("volume").required(errors, "");
}

fn is_host_and_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(address) => address.split_once("]:").is_some_and(|(_, port)| !port.contains([':', '[', ']'])),
        None => pair.split_once(':').is_some_and(|(host, port)| !port.contains(':') && !host.contains(']')),
    }
}

/// A reference to a secret: that of a persistent volume names the namespace.
fn secret(reference: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    if !reference.present() {
        return;
    }
    reference.at("name").required(errors, "");
    if holder != Holder::Pod {
        reference.at("namespace").required(errors, "");
    }
}

fn secret_namespace(namespace: &At<'_>, errors: &mut ErrorList) {
    if namespace.present() {
        namespace.required(errors, "");
    }
}

fn storage_os(source: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    let (name, namespace) = (source.at("volumeName"), source.at("volumeNamespace"));
    if name.required(errors, "") {
        name.follows(errors, is_dns1123_label);
    }
    if !namespace.empty() {
        namespace.follows(errors, is_dns1123_label);
    }
    secret(&source.at("secretRef"), holder, errors);
}

fn reserved_options(options: &At<'_>, errors: &mut ErrorList) {
    for (key, at) in options.entries() {
        let domain = key.split_once('/').map_or(key, |(domain, _)| domain).to_lowercase();
        let domain = format!(".{domain}");
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.invalid(&at.path, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn iscsi(source: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    let (portal, iqn, initiator) = (source.at("targetPortal"), source.at("iqn"), source.at("initiatorName"));
    portal.required(errors, "");
    if let Holder::Persistent(name) = holder
        && initiator.present()
        && is_portal_too_long(name, portal.text())
    {
        errors.invalid(&source.path.child("targetportal"), portal.text(), PORTAL_TOO_LONG);
    }
    if iqn.required(errors, "") {
        qualified(&iqn, holder, errors);
    }
    source.at("lun").in_range(errors, 0, 255);
    let authenticated = source.at("chapAuthDiscovery").is_true() || source.at("chapAuthSession").is_true();
    let reference = source.at("secretRef");
    if authenticated && !reference.present() {
        errors.required(&reference.path, "");
    }
    if holder != Holder::Pod && reference.present() {
        reference.at("name").required(errors, "");
    }
    if initiator.present() {
        let shown = At { value: initiator.value, path: source.path.child("initiatorname") };
        qualified(&shown, holder, errors);
    }
}

pub const PORTAL_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                                   iscsi.initiatorName is specified.";

/// A name is kept together with the portal.
pub fn is_portal_too_long(name: &str, portal: &str) -> bool {
    const LENGTH_MAX: usize = 64;
    name.len() + 1 + portal.len() > LENGTH_MAX
}

/// A name of an iSCSI node.
fn qualified(at: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    let name = at.text();
    let alphanumeric = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric());
    // The character after `eui` and `naa` may be any.
    let rest = || name.get(4..).unwrap_or_default();
    let fits = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => alphanumeric(rest(), 16),
        Some("naa") => alphanumeric(rest(), 32),
        _ if holder == Holder::Pod => {
            return at.invalid(errors, "must be valid format starting with iqn, eui, or naa");
        }
        _ => false,
    };
    if !fits {
        at.invalid(errors, "must be valid format");
    }
}

/// `iqn.yyyy-mm.authority:name`.
fn is_iqn(name: &str) -> bool {
    let Some((authority, rest)) = name.split_once(':') else { return false };
    let is_date = |date: &str| {
        let bytes = date.as_bytes();
        bytes.len() == 7
            && bytes.iter().enumerate().all(|(at, b)| if at == 4 { *b == b'-' } else { b.is_ascii_digit() })
    };
    let dated = authority.strip_prefix("iqn.").and_then(|authority| authority.split_once('.'));
    let domain = |domain: &str| {
        !domain.is_empty() && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let plain = |text: &str| !text.is_empty() && !text.contains([',', ';', '*', '&', '$', '|', ' ', '\t', '\n', '\r']);
    dated.is_some_and(|(date, authority)| is_date(date) && domain(authority)) && plain(rest)
}

fn fibre_channel(source: &At<'_>, errors: &mut ErrorList) {
    let (targets, wwids, lun) = (source.at("targetWWNs"), source.at("wwids"), source.at("lun"));
    if targets.empty() && wwids.empty() {
        errors.required(&targets.path, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.empty() && !wwids.empty() {
        targets.invalid(errors, "targetWWNs and wwids can not be specified simultaneously");
    }
    if !targets.empty() && !lun.present() {
        errors.required(&lun.path, "lun is required if targetWWNs is specified");
    } else if !targets.empty() {
        lun.in_range(errors, 0, 255);
    }
}

fn azure_disk(source: &At<'_>, errors: &mut ErrorList) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (kind, uri) = (source.at("kind"), source.at("diskURI"));
    source.at("cachingMode").one_of(errors, &["None", "ReadOnly", "ReadWrite"]);
    kind.one_of(errors, &["Dedicated", "Managed", "Shared"]);
    let (prefix, form) = if kind.text() == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    if kind.present() && !uri.text().starts_with(prefix) {
        errors.not_supported(&uri.path, uri.text(), &[form]);
    }
}

fn csi(source: &At<'_>, holder: Holder<'_>, errors: &mut ErrorList) {
    driver_name(&source.at("driver"), errors);
    if holder == Holder::Pod {
        let name = source.to("nodePublishSecretRef.name");
        if source.at("nodePublishSecretRef").present() && name.required(errors, "") {
            // Upstream names the fault without the reference.
            errors.invalid_all(&source.path.child("name"), name.text(), is_dns1123_subdomain(name.text()));
        }
        return;
    }
    source.at("volumeHandle").required(errors, "");
    for name in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        secret_reference(&source.at(name), errors);
    }
}

fn secret_reference(reference: &At<'_>, errors: &mut ErrorList) {
    if !reference.present() {
        return;
    }
    let (name, namespace) = (reference.at("name"), reference.at("namespace"));
    if name.required(errors, "") {
        name.follows(errors, is_dns1123_subdomain);
    }
    if namespace.required(errors, "") {
        namespace.follows(errors, is_dns1123_label);
    }
}

/// The name of a CSI driver. An empty one has two faults.
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
