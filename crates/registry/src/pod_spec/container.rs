//! Validation of containers.

use std::collections::HashSet;

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_label, is_env_var_name, is_port_name, range_error};
use serde_json::Value;

use super::{Options, probe, resources, security};
use crate::at::{At, duplicates};

/// All containers of a spec; `volumes` are the names that mounts may name.
pub fn validate_all(spec: &At<'_>, volumes: &HashSet<String>, options: Options, errors: &mut ErrorList) {
    let host_network = spec.at("hostNetwork").is_true();
    let (containers, init) = (spec.at("containers"), spec.at("initContainers"));
    containers.required(errors, "");
    for container in containers.items() {
        validate(&container, volumes, host_network, errors);
        lifecycle_and_probes(&container, errors);
        regular_policy(&container, errors);
    }
    for container in init.items() {
        validate(&container, volumes, host_network, errors);
        init_container(&container, errors);
    }
    duplicates(errors, containers.items().iter().map(|container| container.at("name")));
    init_names(&containers, &init, errors);
    host_ports(&containers, errors);
    if options.pod {
        for container in spec.at("ephemeralContainers").items() {
            validate(&container, volumes, host_network, errors);
        }
    }
}

fn init_names(containers: &At<'_>, init: &At<'_>, errors: &mut ErrorList) {
    let mut taken: Vec<&str> = containers.items().iter().map(|container| container.at("name").text()).collect();
    for container in init.items() {
        let name = container.at("name");
        if taken.contains(&name.text()) && !name.empty() {
            errors.duplicate(&name.path, name.text());
        }
        taken.push(name.text());
    }
}

fn validate(container: &At<'_>, volumes: &HashSet<String>, host_network: bool, errors: &mut ErrorList) {
    let (name, image) = (container.at("name"), container.at("image"));
    if name.required(errors, "") {
        name.follows(errors, is_dns1123_label);
    }
    if image.required(errors, "") && image.text() != image.text().trim() {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
    container.at("terminationMessagePolicy").required_one_of(errors, &["File", "FallbackToLogsOnError"]);
    container.at("imagePullPolicy").required_one_of(errors, &["Always", "IfNotPresent", "Never"]);
    ports(&container.at("ports"), host_network, errors);
    env(&container.at("env"), errors);
    env_from(&container.at("envFrom"), errors);
    mounts(&container.at("volumeMounts"), volumes, errors);
    devices(&container.at("volumeDevices"), volumes, errors);
    resources::validate(&container.at("resources"), errors);
    resize_policies(&container.at("resizePolicy"), errors);
    security::validate_container(&container.at("securityContext"), errors);
}

fn regular_policy(container: &At<'_>, errors: &mut ErrorList) {
    container.at("restartPolicy").one_of(errors, &["Always", "OnFailure", "Never"]);
}

fn init_container(container: &At<'_>, errors: &mut ErrorList) {
    let policy = container.at("restartPolicy");
    policy.one_of(errors, &["Always", "OnFailure", "Never"]);
    if policy.text() == "Always" {
        lifecycle_and_probes(container, errors);
        return;
    }
    for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.at(name).present() {
            errors.forbidden(
                &container.path.child(name),
                "may not be set for init containers without restartPolicy=Always",
            );
        }
    }
}

fn lifecycle_and_probes(container: &At<'_>, errors: &mut ErrorList) {
    for name in ["postStart", "preStop"] {
        let handler = container.at("lifecycle").at(name);
        if handler.present() {
            probe::handler(&handler, true, errors);
        }
    }
    probe::validate(&container.at("livenessProbe"), true, errors);
    probe::validate(&container.at("startupProbe"), true, errors);
    let readiness = container.at("readinessProbe");
    probe::validate(&readiness, false, errors);
    if readiness.at("terminationGracePeriodSeconds").present() {
        readiness.at("terminationGracePeriodSeconds").invalid(errors, "must not be set for readinessProbes");
    }
}

fn ports(ports: &At<'_>, host_network: bool, errors: &mut ErrorList) {
    for port in ports.items() {
        let (name, number, host) = (port.at("name"), port.at("containerPort"), port.at("hostPort"));
        if !name.empty() {
            name.follows(errors, is_port_name);
        }
        match number.int().unwrap_or_default() {
            0 => errors.required(&number.path, ""),
            _ => number.in_range(errors, 1, 65535),
        }
        if host.int().is_some_and(|host| host != 0) {
            host.in_range(errors, 1, 65535);
            if host_network && host.value != number.value {
                host.invalid(errors, "must match `containerPort` when `hostNetwork` is true");
            }
        }
        port.at("protocol").required_one_of(errors, &["SCTP", "TCP", "UDP"]);
    }
    duplicates(errors, ports.items().iter().map(|port| port.at("name")));
}

fn host_ports(containers: &At<'_>, errors: &mut ErrorList) {
    let mut taken = HashSet::new();
    for port in containers.items().iter().flat_map(|container| container.at("ports").items()) {
        let host = port.at("hostPort");
        let Some(number) = host.int().filter(|number| *number != 0) else { continue };
        let claim = format!("{}/{}/{number}", port.at("protocol").text(), port.at("hostIP").text());
        if !taken.insert(claim) {
            errors.duplicate(&host.path, number.to_string());
        }
    }
}

fn env(env: &At<'_>, errors: &mut ErrorList) {
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
    let sources = from.value.as_object().map_or(0, serde_json::Map::len);
    if sources == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(&from.path, "", detail);
    } else if !entry.at("value").empty() {
        errors.invalid(&from.path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(&from.path, "", "may not have more than one field specified at a time");
    }
    let field = from.at("fieldRef");
    if field.present() {
        field_reference(&field, &ENV_FIELDS, errors);
    }
    let resource = from.at("resourceFieldRef");
    if resource.present() {
        resources::field_reference(&resource, false, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = from.at(name);
        if reference.present() {
            let key = reference.at("key");
            if key.required(errors, "") {
                key.follows(errors, apimachinery::validation::is_config_map_key);
            }
        }
    }
}

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

/// A reference to a field of the pod; `supported` are the plain paths that this place knows.
pub fn field_reference(reference: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    let (version, path) = (reference.at("apiVersion"), reference.at("fieldPath"));
    if !version.required(errors, "") || !path.required(errors, "") {
        return;
    }
    if version.text() != "v1" {
        errors.invalid(
            &path.path,
            path.text(),
            format!("error converting fieldPath: unsupported pod version: {}", version.text()),
        );
        return;
    }
    let subscripted = ["metadata.labels['", "metadata.annotations['"].iter().any(|p| path.text().starts_with(p));
    if !subscripted && !supported.contains(&path.text()) {
        errors.not_supported(&path.path, path.text(), supported);
    }
}

fn env_from(sources: &At<'_>, errors: &mut ErrorList) {
    for source in sources.items() {
        let given = ["configMapRef", "secretRef"].iter().filter(|name| source.at(name).present()).count();
        if !source.at("prefix").empty() {
            source.at("prefix").follows(errors, is_env_var_name);
        }
        match given {
            0 => errors.invalid(&source.path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&source.path, "", "may not have more than one field specified at a time"),
        }
        for name in ["configMapRef", "secretRef"] {
            if source.at(name).present() {
                source.at(name).at("name").required(errors, "");
            }
        }
    }
}

fn mounts(mounts: &At<'_>, volumes: &HashSet<String>, errors: &mut ErrorList) {
    let mut paths = HashSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        if name.required(errors, "") && !volumes.contains(name.text()) {
            errors.push(apimachinery::field::FieldError::not_found(&name.path, name.text()));
        }
        if path.required(errors, "") && !paths.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        sub_path(&mount, mounts, errors);
        mount.at("mountPropagation").one_of(errors, &["Bidirectional", "HostToContainer", "None"]);
        mount.at("recursiveReadOnly").one_of(errors, &["Disabled", "Enabled", "IfPossible"]);
    }
}

/// Upstream names these two fields without the index of the mount.
fn sub_path(mount: &At<'_>, mounts: &At<'_>, errors: &mut ErrorList) {
    for name in ["subPath", "subPathExpr"] {
        let at = mount.at(name);
        let path = mounts.path.child(name);
        if at.text().starts_with('/') {
            errors.invalid(&path, at.text(), "must be a relative path");
        } else if at.text().split('/').any(|part| part == "..") {
            errors.invalid(&path, at.text(), "must not contain '..'");
        }
    }
    if !mount.at("subPath").empty() && !mount.at("subPathExpr").empty() {
        errors.invalid(
            &mounts.path.child("subPathExpr"),
            mount.at("subPathExpr").text(),
            "subPathExpr and subPath are mutually exclusive",
        );
    }
}

fn devices(devices: &At<'_>, volumes: &HashSet<String>, errors: &mut ErrorList) {
    for device in devices.items() {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        if name.required(errors, "") && !volumes.contains(name.text()) {
            errors.push(apimachinery::field::FieldError::not_found(&name.path, name.text()));
        }
        path.required(errors, "");
    }
}

fn resize_policies(policies: &At<'_>, errors: &mut ErrorList) {
    for policy in policies.items() {
        let (resource, restart) = (policy.at("resourceName").text(), policy.at("restartPolicy").text());
        if !["cpu", "memory"].contains(&resource) {
            errors.not_supported(&policies.path, resource, &["cpu", "memory"]);
        }
        if !["NotRequired", "RestartContainer"].contains(&restart) {
            errors.not_supported(&policies.path, restart, &["NotRequired", "RestartContainer"]);
        }
    }
}

/// Containers may be changed in a pod's update, but not added, removed or renamed.
pub fn validate_container_update_names(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    for list in ["containers", "initContainers"] {
        let at = new.at(list);
        let before = old.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        if at.items().len() != before {
            errors.forbidden(&at.path, "pod updates may not add or remove containers");
        }
    }
}

/// A port by number or name, as probes have it.
pub fn port_reference(port: &At<'_>, errors: &mut ErrorList) {
    match port.value {
        Value::String(name) => errors.invalid_all(&port.path, name, is_port_name(name)),
        Value::Number(_) => {
            let number = port.int().unwrap_or_default();
            if !(1..=65535).contains(&number) {
                errors.invalid(&port.path, number, range_error(1, 65535));
            }
        }
        _ => errors.required(&port.path, ""),
    }
}
