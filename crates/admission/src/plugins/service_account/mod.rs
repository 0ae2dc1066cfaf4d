//! Gives every pod a service account, and mounts its token.

mod secrets;

use std::sync::Arc;
use std::time::Duration;

use apimachinery::{Status, names, object};
use async_trait::async_trait;
use serde_json::{Value, json};
use store::{Key, Object, Prefix};

use crate::{Operation, Plugin, Request};

pub struct ServiceAccount;

const DEFAULT: &str = "default";
/// How long a pod waits for its namespace's default account: about as long as upstream's ten tries.
const DEFAULT_WAIT_MAX: Duration = Duration::from_millis(1500);
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Seconds. Upstream's odd number: it marks tokens that the API server may extend for old clients.
const TOKEN_LIFETIME: u64 = 3607;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let namespace = request.namespace;
        let Some(pod) = request.new_pod() else { return Ok(()) };
        if is_mirror(pod) {
            return check_new(request);
        }
        let name = choose_account(pod);
        let stored = account(request, namespace, &name).await.ok_or_else(|| missing(request, &name))?;
        let account = stored.value();
        if let Some(pod) = request.new_pod() {
            use_account(pod, &account);
        }
        check_new(request)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if request.is(Operation::Create, "", "pods") {
            return check_new(request);
        }
        let debugs = request.is_resource("", "pods") && request.subresource == "ephemeralcontainers";
        if debugs && request.operation == Operation::Update { check_ephemeral(request) } else { Ok(()) }
    }
}

fn check_new(request: &Request<'_>) -> Result<(), Status> {
    let Some(pod) = request.object.as_deref() else { return Ok(()) };
    if is_mirror(pod) {
        return check_mirror(pod).map_err(|why| request.forbidden(why));
    }
    let account = stored_account(request, pod)?;
    let checked = if secrets::are_limited(&account) { secrets::check_pod(pod, &account) } else { Ok(()) };
    checked.map_err(|why| request.forbidden(why))
}

/// The kubelet writes mirror pods of what it found in files: the API gives them no credentials.
fn check_mirror(pod: &Value) -> Result<(), &'static str> {
    if !account_name(pod).is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    if secrets::are_named(pod) {
        return Err("a mirror pod may not reference secrets");
    }
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let mut sources = volumes.filter_map(|volume| volume.pointer("/projected/sources")?.as_array()).flatten();
    if sources.any(|source| source["serviceAccountToken"].is_object()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// Upstream's refusal of a secret is an error without a status of its own here.
fn check_ephemeral(request: &Request<'_>) -> Result<(), Status> {
    let Some(pod) = request.object.as_deref() else { return Ok(()) };
    let account = stored_account(request, pod)?;
    let checked = if secrets::are_limited(&account) { secrets::check_ephemeral(pod, &account) } else { Ok(()) };
    checked.map_err(|why| Status::failure(500, "", why))
}

fn account_name(pod: &Value) -> &str {
    pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default()
}

/// The account that a pod names by now.
fn stored_account(request: &Request<'_>, pod: &Value) -> Result<Value, Status> {
    let (namespace, name) = (request.namespace, account_name(pod));
    if name.is_empty() {
        let why = format!("no service account specified for pod {namespace}/{}", object::name(pod));
        return Err(request.forbidden(why));
    }
    let found = request.get("", "serviceaccounts", namespace, name);
    Ok(found.ok_or_else(|| missing(request, name))?.value())
}

fn missing(request: &Request<'_>, name: &str) -> Status {
    let namespace = request.namespace;
    request.forbidden(format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"))
}

/// The account. A namespace's default account is waited for: a pod may come right after its namespace.
async fn account(request: &Request<'_>, namespace: &str, name: &str) -> Option<Arc<Object>> {
    let from = request.store.revision();
    let found = request.get("", "serviceaccounts", namespace, name);
    if found.is_some() || name != DEFAULT {
        return found;
    }
    let key = Key::new("", "serviceaccounts", namespace, name);
    let mut watcher = request.store.watch(Prefix::of_key(&key), from).ok()?;
    let event = tokio::time::timeout(DEFAULT_WAIT_MAX, watcher.next()).await.ok()?.ok()?;
    (!event.is_delete()).then(|| event.object().clone())
}

fn is_mirror(pod: &Value) -> bool {
    object::annotation(pod, "kubernetes.io/config.mirror").is_some()
}

fn choose_account(pod: &mut Value) -> String {
    let spec = object::child_mut(pod, "spec");
    let given = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default();
    let name = if given.is_empty() { DEFAULT } else { given }.to_string();
    spec.insert("serviceAccountName".into(), name.clone().into());
    spec.insert("serviceAccount".into(), name.clone().into());
    name
}

fn use_account(pod: &mut Value, account: &Value) {
    let spec = &mut pod["spec"];
    let wanted = spec.get("automountServiceAccountToken").or_else(|| account.get("automountServiceAccountToken"));
    if wanted.and_then(Value::as_bool).unwrap_or(true) {
        mount_token(spec);
    }
    let has_secrets = spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if let (false, Some(secrets)) = (has_secrets, account.get("imagePullSecrets")) {
        spec["imagePullSecrets"] = secrets.clone();
    }
}

fn mount_token(spec: &mut Value) {
    let existing = existing_volume(spec);
    let volume = existing.clone().unwrap_or_else(|| names::generate(VOLUME_PREFIX));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            needed |= mount_in(container, &volume);
        }
    }
    if needed && existing.is_none() {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn existing_volume(spec: &Value) -> Option<String> {
    let volumes = spec.get("volumes")?.as_array()?;
    let named = volumes.iter().filter_map(|volume| volume.get("name")?.as_str());
    named.into_iter().find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_string)
}

/// Returns whether the container got the mount.
fn mount_in(container: &mut Value, volume: &str) -> bool {
    let mounts = container.get("volumeMounts").and_then(Value::as_array);
    let taken = mounts.into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT_PATH);
    if !taken {
        push(container, "volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    }
    !taken
}

fn push(owner: &mut Value, list: &str, item: Value) {
    match owner.get_mut(list).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => owner[list] = json!([item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mounted_once_in_every_container() {
        let mut pod =
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        choose_account(&mut pod);
        use_account(&mut pod, &json!({}));
        let once = pod.clone();
        use_account(&mut pod, &json!({}));
        assert_eq!(pod, once);
        assert_eq!(pod["spec"]["serviceAccountName"], "default");
        assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
        for container in ["/spec/containers/0", "/spec/containers/1", "/spec/initContainers/0"] {
            let mount = &pod.pointer(container).unwrap()["volumeMounts"][0];
            assert_eq!(mount["name"], pod["spec"]["volumes"][0]["name"]);
        }
    }

    #[test]
    fn a_mirror_pod_has_no_credentials() {
        let volume = |source: Value| json!({"spec": {"volumes": [{"projected": {"sources": [source]}}]}});
        let token = volume(json!({"serviceAccountToken": {"path": "token"}}));
        assert_eq!(check_mirror(&token), Err("a mirror pod may not use ServiceAccountToken volume projections"));
        let secret = volume(json!({"secret": {"name": "s"}}));
        assert_eq!(check_mirror(&secret), Err("a mirror pod may not reference secrets"));
        let account = json!({"spec": {"serviceAccountName": "a"}});
        assert_eq!(check_mirror(&account), Err("a mirror pod may not reference service accounts"));
        assert_eq!(check_mirror(&volume(json!({"configMap": {"name": "c"}}))), Ok(()));
    }

    #[test]
    fn the_pod_and_then_the_account_decide_about_the_mount() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "automountServiceAccountToken": false}});
        use_account(&mut pod, &json!({"automountServiceAccountToken": true, "imagePullSecrets": [{"name": "s"}]}));
        assert!(pod["spec"].get("volumes").is_none());
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
        let mut pod = json!({"spec": {"containers": [{"name": "a"}]}});
        use_account(&mut pod, &json!({"automountServiceAccountToken": false}));
        assert!(pod["spec"].get("volumes").is_none());
    }
}
