//! Tokens that a kubelet asks for: bound to a pod on it, for an audience that the pod names.

use apimachinery::{Status, object};
use auth::Attributes;
use serde_json::Value;

use super::{stored, text};
use crate::{Operation, Request};

pub fn judge(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Create || request.subresource != "token" {
        return Ok(());
    }
    let Some(asked) = request.object.as_deref() else { return Ok(()) };
    let bound = |key: &str| text(asked, &format!("/spec/boundObjectRef/{key}"));
    let (name, uid) = (bound("name"), bound("uid"));
    if (bound("apiVersion"), bound("kind")) != ("v1", "Pod") || name.is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(request.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = stored(request, "pod", "pods", request.namespace, name)?;
    if uid != object::uid(&pod) {
        return Err(request.forbidden(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        )));
    }
    if text(&pod, "/spec/nodeName") != node {
        return Err(request.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    audience(request, asked, &pod)
}

fn audience(request: &Request<'_>, asked: &Value, pod: &Value) -> Result<(), Status> {
    let audiences = asked.pointer("/spec/audiences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let audience = match audiences {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(request.forbidden("node may only request 0 or 1 audiences")),
    };
    let named = names(request, pod, audience);
    if named.map_err(|why| request.forbidden(format!("error validating audience {audience:?}: {why}")))? {
        return Ok(());
    }
    // Roles can allow an audience to all nodes, for the credential providers of images.
    let verb = "request-serviceaccounts-token-audience";
    let account = Attributes::resource(request.user, verb, "", audience).named(request.name);
    if request.services.authorizer.authorize(&account.in_namespace(request.namespace)).allowed() {
        return Ok(());
    }
    let user = &request.user.name;
    Err(request.forbidden(format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
    )))
}

/// Whether a volume of the pod has a token for the audience, or its driver asks for one. Objects that are missing
/// count only when nothing else names the audience.
fn names(request: &Request<'_>, pod: &Value, audience: &str) -> Result<bool, String> {
    let mut missing = Vec::new();
    for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
        if projects(volume, audience) {
            return Ok(true);
        }
        match driver(request, pod, volume).and_then(|driver| asks(request, &driver, audience)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(why) => missing.push(why),
        }
    }
    match missing.as_slice() {
        [] => Ok(false),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

fn projects(volume: &Value, audience: &str) -> bool {
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
    let mut tokens = sources.filter_map(|source| source.get("serviceAccountToken").filter(|token| !token.is_null()));
    tokens.any(|token| text(token, "/audience") == audience)
}

/// The CSI driver of a volume; empty when it has none.
fn driver(request: &Request<'_>, pod: &Value, volume: &Value) -> Result<String, String> {
    let of_claim = |claim: &str| claimed_driver(request, object::namespace(pod), claim);
    if volume.pointer("/ephemeral/volumeClaimTemplate").is_some_and(|template| !template.is_null()) {
        return of_claim(&format!("{}-{}", object::name(pod), text(volume, "/name")));
    }
    match text(volume, "/persistentVolumeClaim/claimName") {
        "" => Ok(text(volume, "/csi/driver").to_string()),
        claim => of_claim(claim),
    }
}

fn claimed_driver(request: &Request<'_>, namespace: &str, claim: &str) -> Result<String, String> {
    let find = |kind: &str, resource: &str, namespace: &str, name: &str| {
        stored(request, kind, resource, namespace, name).map_err(|_| format!("{kind} {name:?} not found"))
    };
    let claim = find("persistentvolumeclaim", "persistentvolumeclaims", namespace, claim)?;
    let volume = find("persistentvolume", "persistentvolumes", "", text(&claim, "/spec/volumeName"))?;
    Ok(text(&volume, "/spec/csi/driver").to_string())
}

fn asks(request: &Request<'_>, driver: &str, audience: &str) -> Result<bool, String> {
    if driver.is_empty() {
        return Ok(false);
    }
    let found = request.get("storage.k8s.io", "csidrivers", "", driver).map(|driver| driver.value());
    let found = found.ok_or_else(|| format!("csidriver.storage.k8s.io {driver:?} not found"))?;
    let mut requests = found.pointer("/spec/tokenRequests").and_then(Value::as_array).into_iter().flatten();
    Ok(requests.any(|request| text(request, "/audience") == audience))
}
