//! Defaults of the pod's spec.

use serde_json::{Value, json};

use crate::defaults::{items, lacks, object, present, set, set_nonzero, set_pointer};

/// Of a template: metadata and spec.
pub fn default_template(template: &mut Value) {
    if let Some(spec) = object(template, "spec") {
        default_spec(spec);
    }
}

/// Of a pod's or template's spec.
pub fn default_spec(spec: &mut Value) {
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    object(spec, "securityContext");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    items(spec, "volumes").for_each(volume);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(spec, list).for_each(container);
    }
}

/// The old name of the field follows the new one.
fn service_account(spec: &mut Value) {
    if lacks(spec, "serviceAccountName") {
        if let Some(old) = spec.get("serviceAccount").filter(|old| *old != "").cloned() {
            spec["serviceAccountName"] = old;
        }
        return;
    }
    spec["serviceAccount"] = spec["serviceAccountName"].clone();
}

/// Of pods, not of templates.
pub fn default_pod_only(spec: &mut Value) {
    set(spec, "enableServiceLinks", true);
    let host_network = spec["hostNetwork"] == true;
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            requests_from_limits(container);
            if host_network {
                items(container, "ports").for_each(host_port);
            }
        }
    }
    super::pod_resources::default(spec);
}

fn host_port(port: &mut Value) {
    let number = port["containerPort"].as_i64().unwrap_or_default();
    set_nonzero(port, "hostPort", number);
}

fn requests_from_limits(container: &mut Value) {
    let Some(resources) = present(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let Some(requests) = object(resources, "requests") else { return };
    for (name, limit) in limits {
        set(requests, &name, limit);
    }
}

fn container(container: &mut Value) {
    let policy = if is_latest(container["image"].as_str().unwrap_or_default()) { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", policy);
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    object(container, "resources");
    items(container, "ports").for_each(|port| set(port, "protocol", "TCP"));
    for entry in items(container, "env") {
        if let Some(reference) = present(entry, "valueFrom").and_then(|from| present(from, "fieldRef")) {
            set(reference, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = present(container, name) {
            probe(found);
        }
    }
    if let Some(lifecycle) = present(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = present(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

/// Whether an image reference names the tag `latest`, or none.
/// Whether a name means the newest image. One that is no name means none.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    let path_at = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[path_at..].split_once(':') {
        Some((last, tag)) => (&name[..path_at + last.len()], tag),
        None => (name, "latest"),
    };
    digest.is_empty() && tag == "latest" && is_image_name(name)
}

/// The grammar of repositories: an optional host, and components in lower case.
fn is_image_name(name: &str) -> bool {
    const LENGTH_MAX: usize = 255;
    const LIBRARY: usize = "docker.io/library/".len();
    let host = name.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    let path = host.map_or(name, |(_, path)| path);
    let whole = if host.is_some() { name.len() } else { name.len() + LIBRARY };
    let is_identifier = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    !is_identifier && whole <= LENGTH_MAX && path.split('/').all(is_component)
}

/// Letters and digits, with a dot, one or two underscores or any number of dashes between.
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let between =
        |separator: &str| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().next_back().is_some_and(is_alphanumeric)
        && text.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit()).all(between)
}

fn probe(probe: &mut Value) {
    set_nonzero(probe, "timeoutSeconds", 1);
    set_nonzero(probe, "periodSeconds", 10);
    set_nonzero(probe, "successThreshold", 1);
    set_nonzero(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = present(probe, "grpc").filter(|grpc| lacks(grpc, "service")) {
        grpc["service"] = "".into();
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = present(handler, "httpGet") {
        set(get, "path", "/");
        set(get, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Value) {
    let sourceless = volume.as_object().is_some_and(|map| map.keys().all(|key| key == "name"));
    if sourceless {
        volume["emptyDir"] = json!({});
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = present(volume, name) {
            set(source, "defaultMode", 420);
            field_references(source);
            items(source, "sources").for_each(projection);
        }
    }
    if let Some(host) = present(volume, "hostPath").filter(|host| lacks(host, "type")) {
        host["type"] = "".into();
    }
    legacy_volume(volume);
    let template = present(volume, "ephemeral").and_then(|ephemeral| present(ephemeral, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| present(template, "spec")) {
        set_pointer(spec, "volumeMode", "Filesystem");
    }
}

/// What network file systems of old default to; shared with persistent volumes.
pub fn legacy_volume(volume: &mut Value) {
    if let Some(iscsi) = present(volume, "iscsi") {
        set(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = present(volume, "rbd") {
        set(rbd, "pool", "rbd");
        set(rbd, "user", "admin");
        set(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = present(volume, "azureDisk") {
        set(disk, "cachingMode", "ReadWrite");
        set(disk, "kind", "Shared");
        set(disk, "fsType", "ext4");
        set(disk, "readOnly", false);
    }
    if let Some(scale) = present(volume, "scaleIO") {
        set(scale, "storageMode", "ThinProvisioned");
        set(scale, "fsType", "xfs");
    }
}

fn projection(projection: &mut Value) {
    if let Some(token) = present(projection, "serviceAccountToken") {
        set(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = present(projection, "downwardAPI") {
        field_references(downward);
    }
}

fn field_references(source: &mut Value) {
    for item in items(source, "items") {
        if let Some(reference) = present(item, "fieldRef") {
            set(reference, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_the_newest_image_are_always_pulled() {
        for image in ["busybox", "busybox:latest", "a.b:5000/c/d", "localhost/x_y__z-1", "quay.io/a--b:latest"] {
            assert!(is_latest(image), "{image}");
        }
        let identifier = "a".repeat(64);
        let long = "a".repeat(254);
        for image in [
            "",
            " ",
            "Bad_Value!",
            "x:1",
            "x:1@sha256:0",
            "x@sha256:0",
            "a.b:5000/c:1",
            "a//b",
            "_a",
            "a_",
            "a...b",
            &identifier,
            &long,
        ] {
            assert!(!is_latest(image), "{image}");
        }
    }
}
