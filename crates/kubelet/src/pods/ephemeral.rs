//! Ephemeral containers: put into a pod that runs, started once, never again, and no part of what the pod is for.

use std::borrow::Cow;

use api::corev1::{Container, EphemeralContainer, Pod};

use super::model::{Observed, Role, containers, spec};
use super::status::written_status;

/// Those of a pod, as the containers that they are like.
pub fn ephemeral_containers(pod: &Pod) -> impl Iterator<Item = Container> {
    spec(pod).ephemeral_containers.iter().flatten().map(like_container)
}

/// Any container of the pod.
pub fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    let lasting = containers(pod).into_iter().find(|(_, container)| container.name == name);
    let ephemeral = || ephemeral_containers(pod).find(|container| container.name == name);
    lasting
        .map(|(role, container)| (role, Cow::Borrowed(container)))
        .or_else(|| ephemeral().map(|container| (Role::Ephemeral, Cow::Owned(container))))
}

/// The container whose processes this one shall see.
pub fn target<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let spec = spec(pod);
    // Where the pod's containers see each other's processes, or the node's, there is nothing to join.
    if spec.host_pid == Some(true) || spec.share_process_namespace == Some(true) {
        return None;
    }
    let own = spec.ephemeral_containers.iter().flatten().find(|container| container.name == name)?;
    own.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// It ran here, though only the API remembers it.
pub fn ran_before(pod: &Pod, observed: &Observed, name: &str) -> bool {
    let written = || written_status(pod, name).is_some_and(|status| status.container_id.is_some());
    observed.container(name).current.is_none() && written()
}

fn like_container(one: &EphemeralContainer) -> Container {
    let one = one.clone();
    Container {
        args: one.args,
        command: one.command,
        env: one.env,
        env_from: one.env_from,
        image: one.image,
        image_pull_policy: one.image_pull_policy,
        lifecycle: one.lifecycle,
        liveness_probe: one.liveness_probe,
        name: one.name,
        ports: one.ports,
        readiness_probe: one.readiness_probe,
        resize_policy: one.resize_policy,
        resources: one.resources,
        restart_policy: one.restart_policy,
        restart_policy_rules: one.restart_policy_rules,
        security_context: one.security_context,
        startup_probe: one.startup_probe,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        tty: one.tty,
        volume_devices: one.volume_devices,
        volume_mounts: one.volume_mounts,
        working_dir: one.working_dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(more: serde_json::Value) -> Pod {
        let mut spec = json!({
            "containers": [{ "name": "main" }],
            "ephemeralContainers": [{ "name": "look", "targetContainerName": "main" }, { "name": "apart" }],
        });
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
    }

    #[test]
    fn a_container_is_found_among_all_kinds() {
        let pod = pod(json!({}));
        let role = |name: &str| find_container(&pod, name).map(|(role, container)| (role, container.name.clone()));
        assert_eq!(role("main"), Some((Role::Main, "main".to_owned())));
        assert_eq!(role("look"), Some((Role::Ephemeral, "look".to_owned())));
        assert_eq!(role("none"), None);
    }

    #[test]
    fn a_target_is_joined_unless_all_processes_are_seen_anyway() {
        assert_eq!(target(&pod(json!({})), "look"), Some("main"));
        assert_eq!(target(&pod(json!({})), "apart"), None);
        assert_eq!(target(&pod(json!({ "hostPID": true })), "look"), None);
        assert_eq!(target(&pod(json!({ "shareProcessNamespace": true })), "look"), None);
    }
}
