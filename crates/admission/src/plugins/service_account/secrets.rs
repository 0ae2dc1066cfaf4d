//! Which secrets a pod refers to, and which of them its service account lets it mount.

use std::collections::BTreeSet;

use apimachinery::object;
use serde_json::Value;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Containers and how messages call them.
const CONTAINERS: &[(&str, &str)] = &[("initContainers", "init container"), ("containers", "container")];
const EPHEMERAL: &[(&str, &str)] = &[("ephemeralContainers", "ephemeral container")];
/// Where kinds of volumes name their secret.
const VOLUME_SECRETS: &[&str] = &[
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/flexVolume/secretRef/name",
    "/rbd/secretRef/name",
    "/secret/secretName",
    "/scaleIO/secretRef/name",
    "/iscsi/secretRef/name",
    "/storageos/secretRef/name",
    "/csi/nodePublishSecretRef/name",
];

/// Whether the account lets its pods have its own secrets only.
pub fn are_limited(account: &Value) -> bool {
    let asked = object::annotation(account, ENFORCE).unwrap_or_default();
    ["1", "t", "T", "true", "TRUE", "True"].contains(&asked)
}

/// Refuses a pod that refers to a secret its account does not list.
pub fn check_pod(pod: &Value, account: &Value) -> Result<(), String> {
    let (own, name) = (names(&account["secrets"]), object::name(account));
    for volume in items(&pod["spec"]["volumes"]).filter(|volume| volume["secret"].is_object()) {
        let secret = text(volume, "/secret/secretName");
        if !own.contains(secret) {
            return Err(refusal(&format!("volume with secret.secretName={secret:?}"), name));
        }
    }
    check_containers(pod, CONTAINERS, account)?;
    check_pull_secrets(pod, account)
}

/// The same for containers that are added while the pod runs.
pub fn check_ephemeral(pod: &Value, account: &Value) -> Result<(), String> {
    check_containers(pod, EPHEMERAL, account)
}

fn check_containers(pod: &Value, lists: &[(&str, &str)], account: &Value) -> Result<(), String> {
    let (own, name) = (names(&account["secrets"]), object::name(account));
    for (list, called) in lists {
        for container in items(&pod["spec"][*list]) {
            let other = references(container).into_iter().find(|(_, secret)| !own.contains(secret));
            if let Some((place, secret)) = other {
                let container = text(container, "/name");
                return Err(refusal(
                    &format!("{called} {container} with {place} referencing secret.secretName={secret:?}"),
                    name,
                ));
            }
        }
    }
    Ok(())
}

fn check_pull_secrets(pod: &Value, account: &Value) -> Result<(), String> {
    let (own, account) = (names(&account["imagePullSecrets"]), object::name(account));
    for (index, reference) in items(&pod["spec"]["imagePullSecrets"]).enumerate() {
        let name = text(reference, "/name");
        if !own.contains(name) {
            return Err(format!(
                "imagePullSecrets[{index}].name={name:?} is not allowed because service account {account} does not reference that \
                 imagePullSecret"
            ));
        }
    }
    Ok(())
}

fn refusal(what: &str, account: &str) -> String {
    format!("{what} is not allowed because service account {account} does not reference that secret")
}

/// A container's secrets, each with the place that names it.
fn references(container: &Value) -> Vec<(String, &str)> {
    let variables =
        items(&container["env"]).filter(|env| env.pointer("/valueFrom/secretKeyRef").is_some_and(Value::is_object));
    let variables =
        variables.map(|env| (format!("envVar {}", text(env, "/name")), text(env, "/valueFrom/secretKeyRef/name")));
    let sources = items(&container["envFrom"]).filter(|source| source["secretRef"].is_object());
    variables.chain(sources.map(|source| ("envFrom".to_owned(), text(source, "/secretRef/name")))).collect()
}

/// Whether the pod refers to any secret at all.
pub fn are_named(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let pull = items(&spec["imagePullSecrets"]).map(|reference| text(reference, "/name"));
    let containers = CONTAINERS.iter().chain(EPHEMERAL).flat_map(|(list, _)| items(&spec[*list]));
    let containers = containers.flat_map(references).map(|(_, secret)| secret);
    let volumes = items(&spec["volumes"]).flat_map(of_volume);
    pull.chain(containers).chain(volumes).any(|secret| !secret.is_empty())
}

fn of_volume(volume: &Value) -> impl Iterator<Item = &str> {
    let projected = items(&volume["projected"]["sources"]).map(|source| text(source, "/secret/name"));
    VOLUME_SECRETS.iter().map(|place| text(volume, place)).chain(projected)
}

fn names(references: &Value) -> BTreeSet<&str> {
    items(references).map(|reference| text(reference, "/name")).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(spec: &Value) -> String {
        let account =
            json!({"metadata": {"name": "sa"}, "secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "pull"}]});
        let pod = json!({"spec": spec});
        check_pod(&pod, &account).and_then(|()| check_ephemeral(&pod, &account)).err().unwrap_or_default()
    }

    #[test]
    fn only_secrets_of_the_account_may_be_referred_to() {
        let end = "is not allowed because service account sa does not reference that";
        let variable = |secret: &str| json!({"name": "E", "valueFrom": {"secretKeyRef": {"name": secret}}});
        let cases = [
            (
                json!({"volumes": [{"secret": {"secretName": "mine"}}], "imagePullSecrets": [{"name": "pull"}]}),
                String::new(),
            ),
            (
                json!({"volumes": [{"secret": {"secretName": "x"}}]}),
                format!("volume with secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"initContainers": [{"name": "i", "env": [variable("mine"), variable("x")]}]}),
                format!("init container i with envVar E referencing secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}]}),
                format!("container c with envFrom referencing secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"ephemeralContainers": [{"name": "e", "env": [variable("x")]}]}),
                format!("ephemeral container e with envVar E referencing secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]}),
                format!("imagePullSecrets[1].name=\"x\" {end} imagePullSecret"),
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(told(&spec), expected);
        }
    }

    #[test]
    fn a_secret_is_found_wherever_a_pod_names_it() {
        let volume = |volume: Value| are_named(&json!({"spec": {"volumes": [volume]}}));
        assert!(volume(json!({"projected": {"sources": [{"secret": {"name": "s"}}]}})));
        assert!(volume(json!({"csi": {"nodePublishSecretRef": {"name": "s"}}})));
        assert!(!volume(json!({"emptyDir": {}})));
        assert!(are_named(&json!({"spec": {"imagePullSecrets": [{"name": "s"}]}})));
        assert!(are_named(&json!({"spec": {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}})));
        assert!(!are_named(&json!({"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "s"}}]}]}})));
    }
}
