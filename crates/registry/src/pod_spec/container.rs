//! Validation of containers.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{is_dns1123_label, is_port_name, range_error};
use serde_json::Value;

use super::volume::Volumes;
use super::{Options, env, mount, probe, resources, security};
use crate::at::At;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// What the containers of a spec share.
struct Pod<'a> {
    spec: &'a At<'a>,
    volumes: &'a Volumes,
    claims: Vec<&'a str>,
}

/// All containers of a spec; `volumes` are those that mounts may name.
pub fn validate_all(spec: &At<'_>, volumes: &Volumes, errors: &mut ErrorList) {
    let claims = spec.at("resourceClaims").items();
    let claims = claims.iter().map(|claim| claim.at("name").text()).filter(|name| !name.is_empty()).collect();
    let pod = Pod { spec, volumes, claims };
    let mut taken = HashSet::new();
    pod.containers(&mut taken, errors);
    pod.init_containers(&mut taken, errors);
    pod.ephemeral(&mut taken, errors);
}

/// Images that pods, not templates, refuse.
pub fn padded_images(spec: &At<'_>, errors: &mut ErrorList) {
    for list in ["containers", "initContainers"] {
        spec.at(list).items().iter().for_each(|container| padded_image(container, errors));
    }
}

fn padded_image(container: &At<'_>, errors: &mut ErrorList) {
    let image = container.at("image");
    if image.text() != image.text().trim() {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
}

impl<'a> Pod<'a> {
    fn containers(&self, taken: &mut HashSet<&'a str>, errors: &mut ErrorList) {
        let containers = self.spec.at("containers");
        if !containers.required(errors, "") {
            return;
        }
        for container in containers.items() {
            self.common(&container, errors);
            let name = container.at("name");
            if !taken.insert(name.text()) {
                errors.duplicate(&name.path, name.text());
            }
            self.lifecycle_and_probes(&container, errors);
            restart_policy(&container, &RESTART_POLICIES, errors);
        }
        host_ports(&containers.items(), errors);
    }

    fn init_containers(&self, taken: &mut HashSet<&'a str>, errors: &mut ErrorList) {
        let containers = self.spec.at("initContainers");
        for container in containers.items() {
            self.common(&container, errors);
            restart_policy(&container, &RESTART_POLICIES, errors);
            let name = container.at("name");
            if taken.contains(name.text()) {
                errors.duplicate(&name.path, name.text());
            } else if !name.empty() {
                taken.insert(name.text());
            }
            // Upstream judges each of these alone, and names it the first.
            host_ports(&[At { value: container.value, path: containers.path.index(0) }], errors);
            self.only_of_sidecars(&container, errors);
        }
    }

    fn common(&self, container: &At<'_>, errors: &mut ErrorList) {
        let name = container.at("name");
        if name.required(errors, "") {
            name.follows(errors, is_dns1123_label);
        }
        container.at("image").required(errors, "");
        container.at("terminationMessagePolicy").required_one_of(errors, &["File", "FallbackToLogsOnError"]);
        ports(&container.at("ports"), errors);
        env::env(&container.at("env"), errors);
        env::env_from(&container.at("envFrom"), errors);
        mount::mounts(container, self.volumes, errors);
        mount::devices(container, self.volumes, errors);
        container.at("imagePullPolicy").required_one_of(errors, &["Always", "IfNotPresent", "Never"]);
        resources::validate(&container.at("resources"), errors);
        resources::claims(&container.to("resources.claims"), &self.claims, errors);
        let never = self.spec.at("restartPolicy").text() == "Never";
        resize_policies(&container.at("resizePolicy"), never, errors);
        let own_users = self.spec.at("hostUsers").value == false;
        security::validate_container(&container.at("securityContext"), own_users, errors);
    }

    fn only_of_sidecars(&self, container: &At<'_>, errors: &mut ErrorList) {
        if container.at("restartPolicy").text() == "Always" {
            return self.lifecycle_and_probes(container, errors);
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

    fn lifecycle_and_probes(&self, container: &At<'_>, errors: &mut ErrorList) {
        let grace = self.spec.at("terminationGracePeriodSeconds").int();
        for name in ["postStart", "preStop"] {
            let handler = container.at("lifecycle").at(name);
            if handler.present() {
                probe::handler(&handler, true, grace, errors);
            }
        }
        probe::validate(&container.at("livenessProbe"), true, errors);
        let readiness = container.at("readinessProbe");
        probe::validate(&readiness, false, errors);
        if readiness.at("terminationGracePeriodSeconds").present() {
            readiness.at("terminationGracePeriodSeconds").invalid(errors, "must not be set for readinessProbes");
        }
        probe::validate(&container.at("startupProbe"), true, errors);
    }

    /// Containers for debugging: no part of what the pod is for, so most fields are forbidden.
    fn ephemeral(&self, taken: &mut HashSet<&'a str>, errors: &mut ErrorList) {
        let others = taken.clone();
        for container in self.spec.at("ephemeralContainers").items() {
            self.common(&container, errors);
            padded_image(&container, errors);
            let (name, target) = (container.at("name"), container.at("targetContainerName"));
            if !taken.insert(name.text()) {
                errors.duplicate(&name.path, name.text());
            }
            if !target.empty() && !others.contains(target.text()) {
                errors.push(FieldError::not_found(&target.path, target.text()));
            }
            only_for_debugging(&container, errors);
        }
    }
}

fn only_for_debugging(container: &At<'_>, errors: &mut ErrorList) {
    const FORBIDDEN: [&str; 9] = [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ];
    const DETAIL: &str = "cannot be set for an Ephemeral Container";
    let given = FORBIDDEN.iter().map(|name| container.at(name)).filter(|field| !field.empty());
    given.for_each(|at| errors.forbidden(&at.path, DETAIL));
    for mount in container.at("volumeMounts").items() {
        let fields = ["subPath", "subPathExpr"].map(|name| mount.at(name));
        fields.iter().filter(|field| !field.empty()).for_each(|at| errors.forbidden(&at.path, DETAIL));
    }
}

/// When a container is started again, by its own rules.
fn restart_policy(container: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    let (policy, rules) = (container.at("restartPolicy"), container.at("restartPolicyRules"));
    policy.one_of(errors, supported);
    if !rules.empty() && !policy.present() {
        errors.required(&policy.path, "must specify restartPolicy when restart rules are used");
    }
    if rules.items().len() > RESTART_RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, rules.items().len(), RESTART_RULES_MAX));
    }
    for rule in rules.items() {
        rule.at("action").required_one_of(errors, &["Restart", "RestartAllContainers"]);
        let codes = rule.at("exitCodes");
        if !codes.present() {
            errors.required(&codes.path, "must be specified");
            continue;
        }
        codes.at("operator").required_one_of(errors, &["In", "NotIn"]);
        let values = codes.at("values");
        if values.items().len() > EXIT_CODES_MAX {
            errors.push(FieldError::too_many(&values.path, values.items().len(), EXIT_CODES_MAX));
        }
    }
}

fn ports(ports: &At<'_>, errors: &mut ErrorList) {
    let mut names = HashSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.at("name"), port.at("containerPort"), port.at("hostPort"));
        let wrong = if name.empty() { Vec::new() } else { is_port_name(name.text()) };
        if wrong.is_empty() && !name.empty() && !names.insert(name.text()) {
            errors.duplicate(&name.path, name.text());
        }
        errors.invalid_all(&name.path, name.text(), wrong);
        match number.int().unwrap_or_default() {
            0 => errors.required(&number.path, ""),
            _ => number.in_range(errors, 1, 65535),
        }
        if host.int().is_some_and(|host| host != 0) {
            host.in_range(errors, 1, 65535);
        }
        port.at("protocol").required_one_of(errors, &["SCTP", "TCP", "UDP"]);
    }
}

/// On the host's network a port is the host's. A template may leave it out: the pod gets it.
pub fn host_network(spec: &At<'_>, options: Options<'_>, errors: &mut ErrorList) {
    if !spec.at("hostNetwork").is_true() {
        return;
    }
    for port in spec.at("containers").items().iter().flat_map(|container| container.at("ports").items()) {
        let host = port.at("hostPort");
        let number = host.int().unwrap_or_default();
        if (options.pod || number != 0) && Some(number) != port.at("containerPort").int() {
            errors.invalid(&host.path, number, "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn host_ports(containers: &[At<'_>], errors: &mut ErrorList) {
    let mut taken = HashSet::new();
    for port in containers.iter().flat_map(|container| container.at("ports").items()) {
        let host = port.at("hostPort");
        let Some(number) = host.int().filter(|number| *number != 0) else { continue };
        let claim = format!("{}/{}/{number}", port.at("protocol").text(), port.at("hostIP").text());
        if !taken.insert(claim.clone()) {
            errors.duplicate(&host.path, claim);
        }
    }
}

fn resize_policies(policies: &At<'_>, never: bool, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.at("resourceName").text(), policy.at("restartPolicy").text());
        if !seen.insert(resource) {
            errors.duplicate(&policy.path, resource);
        }
        for (value, supported) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            match value {
                "" => errors.required(&policies.path, ""),
                _ if supported.contains(&value) => {}
                _ => errors.not_supported(&policies.path, value, &supported),
            }
        }
        if never && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(&policies.path, restart, detail);
        }
    }
}

/// A port by number or name, as probes have it.
pub fn port_reference(port: &At<'_>, errors: &mut ErrorList) {
    match port.value {
        Value::String(name) => errors.invalid_all(&port.path, name, is_port_name(name)),
        _ => {
            let number = port.int().unwrap_or_default();
            if !(1..=65535).contains(&number) {
                errors.invalid(&port.path, number, range_error(1, 65535));
            }
        }
    }
}
