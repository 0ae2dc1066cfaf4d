//! `serviceaccounts/token`: a signed token for a service account, bound as asked.

use std::sync::Arc;

use admission::Operation;
use apimachinery::field::{ErrorList, Path};
use apimachinery::managed_fields::{self, Manager};
use apimachinery::{GroupKind, GroupResource, Status, object};
use auth::token::{Claims, Private, Reference};
use http::{Response, StatusCode};
use jiff::SignedDuration;
use registry::strategy::Resource;
use serde_json::{Value, json};
use store::Key;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode;
use crate::options::WriteOptions;
use crate::server::Inner;

const DEFAULT_SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
/// Pods ask for this odd lifetime; old clients that never read the token again are given a year instead.
const EXTENDED_WHEN: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::kind("authentication.k8s.io", "v1", "TokenRequest");
    let mut request = decode::object(call, &body, &expected, options.field_validation)?;
    let change = Change::of(server, call, resource, Part::Other("token"), &options);
    let account = server.store.get(&resource.key(change.namespace, change.name)).ok_or_else(|| change.not_found())?;
    default(&mut request);
    validate(&request)?;
    manage(&change, &mut request);
    change.mutate(Operation::Create, &mut request, None).await?;
    complete(server, &mut request);
    change.admit(Operation::Create, &mut request, None).await?;
    let account = Reference { name: change.name.to_string(), uid: account.header.uid.to_string() };
    let private = Private { namespace: change.namespace.into(), serviceaccount: account, ..Private::default() };
    let private = bind(&change, &request, private)?;
    issue(server, &change, &mut request, private)?;
    Ok(encode::value_response(call, StatusCode::CREATED, &request))
}

fn default(request: &mut Value) {
    let spec = object::child_mut(request, "spec");
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec.insert("expirationSeconds".into(), DEFAULT_SECONDS.into());
    }
}

/// What the server adds to the request: it is nobody's field.
fn complete(server: &Inner, request: &mut Value) {
    let spec = object::child_mut(request, "spec");
    if spec.get("audiences").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("audiences".into(), json!(server.pki.service_accounts.issuance().audiences));
    }
    spec.entry("boundObjectRef").or_insert(Value::Null);
}

/// Records who asked, as upstream does even for what is not stored.
fn manage(change: &Change<'_>, request: &mut Value) {
    let Some(definition) = api::schema::definition("io.k8s.api.authentication.v1.TokenRequest") else { return };
    let (api_version, subresource) = ("authentication.k8s.io/v1", "token");
    let manager = Manager { name: &change.manager, api_version, subresource };
    managed_fields::update(None, request, definition.node(), &manager, &["status"], &change.call.now_text());
}

fn seconds(request: &Value) -> i64 {
    request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS)
}

fn validate(request: &Value) -> Result<(), Status> {
    let path = Path::new("spec").child("expirationSeconds");
    let mut errors = ErrorList::new();
    let seconds = seconds(request);
    if seconds < SECONDS_MIN {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > SECONDS_MAX {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupKind::new("authentication.k8s.io", "TokenRequest"), "", &errors))
}

/// Looks up the object that the token is to be bound to.
fn bind(change: &Change<'_>, request: &Value, mut private: Private) -> Result<Private, Status> {
    let Some(bound) = request.pointer("/spec/boundObjectRef").filter(|bound| !bound.is_null()) else {
        return Ok(private);
    };
    let text = |key: &str| bound.get(key).and_then(Value::as_str).unwrap_or_default();
    let (resource, namespace) = match (text("apiVersion"), text("kind")) {
        ("" | "v1", "Pod") => ("pods", change.namespace),
        ("" | "v1", "Secret") => ("secrets", change.namespace),
        ("" | "v1", "Node") => ("nodes", ""),
        (version, kind) => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to object of type {version}, Kind={kind}",
                change.name
            )));
        }
    };
    let name = text("name");
    let found = change.server.store.get(&Key::new("", resource, namespace, name));
    let found = found.ok_or_else(|| Status::not_found(&GroupResource::new("", resource), name))?;
    let uid = found.header.uid.to_string();
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
             deleted and then recreated",
            text("uid")
        );
        return Err(Status::conflict(&GroupResource::new("", text("kind")), name, why));
    }
    let reference = Reference { name: name.into(), uid };
    match resource {
        "pods" => {
            private.node = node_of(change, &found.value());
            private.pod = Some(reference);
        }
        "secrets" => private.secret = Some(reference),
        _ => private.node = Some(reference),
    }
    Ok(private)
}

/// The node on which the pod runs, if it has one.
fn node_of(change: &Change<'_>, pod: &Value) -> Option<Reference> {
    let name = pod.pointer("/spec/nodeName")?.as_str().filter(|name| !name.is_empty())?;
    let node = change.server.store.get(&Key::new("", "nodes", "", name));
    let uid = node.map(|node| node.header.uid.to_string()).unwrap_or_default();
    Some(Reference { name: name.into(), uid })
}

fn issue(server: &Inner, change: &Change<'_>, request: &mut Value, mut private: Private) -> Result<(), Status> {
    let asked = seconds(request);
    let audiences = request.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_string).collect();
    let issuance = server.pki.service_accounts.issuance();
    let ours = audiences.iter().all(|audience| issuance.audiences.contains(audience));
    let extended = issuance.extend_expiration && asked == EXTENDED_WHEN && private.pod.is_some() && ours;
    let now = change.call.now;
    let lifetime = if extended { EXTENDED_SECONDS } else { asked };
    if extended {
        private.warnafter = u64::try_from(now.as_second() + asked).ok();
    }
    let claims = Claims::new(private, audiences, u64::try_from(lifetime).unwrap_or_default());
    let token = server.pki.service_accounts.sign(&claims).map_err(Status::internal)?;
    let account_uid = claims.private.serviceaccount.uid.clone();
    let expires = apimachinery::time::after(now, SignedDuration::from_secs(asked));
    request["status"] = json!({"token": token, "expirationTimestamp": apimachinery::time::format(expires)});
    object::set_name(request, change.name);
    object::set_namespace(request, change.namespace);
    object::set_uid(request, &account_uid);
    object::set_creation_timestamp(request, &change.call.now_text());
    Ok(())
}
