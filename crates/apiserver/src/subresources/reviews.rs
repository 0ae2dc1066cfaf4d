//! Kinds that are questions: their creation is answered and nothing is stored.

mod selectors;

use admission::Operation;
use apimachinery::field::{ErrorList, Path};
use apimachinery::{GroupKind, Status, object};
use auth::{Attributes, Decision, UserInfo};
use registry::strategy::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::change::{Change, Part};
use crate::options::WriteOptions;
use crate::server::Inner;

/// The answer, if the resource is a question. Webhooks are asked about questions as about everything else.
pub async fn run(
    server: &Inner,
    call: &Call,
    resource: &Resource,
    asked: &mut Value,
    options: &WriteOptions,
) -> Result<Option<Value>, Status> {
    if !is_question(resource) {
        return Ok(None);
    }
    let change = Change::of(server, call, resource, Part::Main, options);
    change.mutate(Operation::Create, asked, None).await?;
    check(call, resource, asked)?;
    change.admit(Operation::Create, asked, None).await?;
    answer(server, call, resource, asked).map(Some)
}

fn is_question(resource: &Resource) -> bool {
    matches!(resource.group, "authentication.k8s.io" | "authorization.k8s.io")
}

fn check(call: &Call, resource: &Resource, asked: &Value) -> Result<(), Status> {
    match resource.name {
        "localsubjectaccessreviews" => check_local(call, resource, asked),
        "subjectaccessreviews" => refuse(resource, &access_errors(asked, true, false)),
        "selfsubjectaccessreviews" => refuse(resource, &access_errors(asked, false, false)),
        "tokenreviews" if token_of(asked).is_empty() => {
            Err(Status::bad_request("token is required for TokenReview in authentication"))
        }
        _ => Ok(()),
    }
}

fn answer(server: &Inner, call: &Call, resource: &Resource, asked: &mut Value) -> Result<Value, Status> {
    match resource.name {
        "subjectaccessreviews" | "localsubjectaccessreviews" => subject_access(server, call, resource, asked, true),
        "selfsubjectaccessreviews" => subject_access(server, call, resource, asked, false),
        "selfsubjectrulesreviews" => self_rules(server, call, asked),
        "tokenreviews" => token(server, call, resource, asked),
        "selfsubjectreviews" => Ok(who_am_i(call, asked)),
        _ => Err(Status::path_not_found()),
    }
}

fn token_of(asked: &Value) -> &str {
    asked.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default()
}

/// Records who asked, as upstream does even for questions.
fn manage(server: &Inner, call: &Call, resource: &Resource, asked: &mut Value) -> Result<(), Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    Change::of(server, call, resource, Part::Main, &options).manage_built_in(None, asked);
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
}

fn check_local(call: &Call, resource: &Resource, asked: &Value) -> Result<(), Status> {
    let mut errors = access_errors(asked, true, true);
    let attributes = asked.pointer("/spec/resourceAttributes").filter(|given| !given.is_null());
    let namespace = attributes.map(|given| given["namespace"].as_str().unwrap_or_default());
    if let Some(namespace) = namespace.filter(|namespace| *namespace != call.info.namespace) {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        errors.invalid(&path, namespace, "must match metadata.namespace");
    }
    if let Some(given) = asked.pointer("/spec/nonResourceAttributes").filter(|given| !given.is_null()) {
        let path = Path::new("spec").child("nonResourceAttributes");
        errors.invalid(&path, given.clone(), "disallowed on this kind of request");
    }
    refuse(resource, &errors)
}

fn refuse(resource: &Resource, errors: &ErrorList) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(invalid(resource, errors)) }
}

fn invalid(resource: &Resource, errors: &ErrorList) -> Status {
    // Upstream's refusal of a question names no kind.
    Status::invalid(&GroupKind::new(resource.group, ""), "", errors)
}

fn subject_access(
    server: &Inner,
    call: &Call,
    resource: &Resource,
    asked: &mut Value,
    named: bool,
) -> Result<Value, Status> {
    manage(server, call, resource, asked)?;
    let spec = asked.get("spec").cloned().unwrap_or_default();
    let user = if named { subject(&spec) } else { call.user.clone() };
    let (decision, unread) = decide(server, &user, &spec);
    let mut status = json!({"allowed": decision.allowed()});
    if !decision.reason().is_empty() {
        status["reason"] = decision.reason().into();
    }
    if !unread.is_empty() {
        status["evaluationError"] = unread.into();
    }
    asked["status"] = status;
    object::metadata_mut(asked).remove("creationTimestamp");
    Ok(asked.clone())
}

fn access_errors(asked: &Value, named: bool, namespaced: bool) -> ErrorList {
    let spec = Path::new("spec");
    let mut errors = ErrorList::new();
    let given = |field: &str| asked.pointer(&format!("/spec/{field}")).filter(|value| !value.is_null());
    match (given("resourceAttributes"), given("nonResourceAttributes")) {
        (Some(_), Some(path)) => errors.invalid(
            &spec.child("nonResourceAttributes"),
            path.clone(),
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &spec.child("resourceAttributes"),
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    let user = asked.pointer("/spec/user").and_then(Value::as_str).unwrap_or_default();
    let groups = asked.pointer("/spec/groups").and_then(Value::as_array).is_some_and(|groups| !groups.is_empty());
    if named && user.is_empty() && !groups {
        errors.invalid(&spec.child("user"), "", "at least one of user or group must be specified");
    }
    if let Some(attributes) = given("resourceAttributes") {
        errors.append(selectors::validate(attributes, &spec.child("resourceAttributes")));
    }
    if let Some(metadata) = unwanted_metadata(asked, namespaced) {
        let but = if namespaced { "must be empty except for namespace" } else { "must be empty" };
        errors.invalid(&Path::new("metadata"), metadata, but);
    }
    errors
}

/// A question has no identity.
fn unwanted_metadata(asked: &Value, namespaced: bool) -> Option<Value> {
    let metadata = asked.get("metadata")?.as_object()?;
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let known = |key: &str| key == "managedFields" || (namespaced && key == "namespace");
    let unwanted = metadata.iter().any(|(key, value)| !known(key) && !empty(value));
    unwanted.then(|| Value::Object(metadata.clone()))
}

fn subject(spec: &Value) -> UserInfo {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let strings = |value: Option<&Value>| -> Vec<String> {
        value.and_then(|value| Vec::<String>::deserialize(value).ok()).unwrap_or_default()
    };
    let extra = spec.get("extra").and_then(|extra| Deserialize::deserialize(extra).ok()).unwrap_or_default();
    UserInfo { name: text("user"), uid: text("uid"), groups: strings(spec.get("groups")), extra }
}

/// The decision, and which selectors were not understood.
fn decide(server: &Inner, user: &UserInfo, spec: &Value) -> (Decision, String) {
    if let Some(attributes) = spec.get("nonResourceAttributes").filter(|attributes| !attributes.is_null()) {
        let text = |key: &str| attributes.get(key).and_then(Value::as_str).unwrap_or_default();
        return (server.authorizer.authorize(&Attributes::path(user, text("verb"), text("path"))), String::new());
    }
    let given = spec.get("resourceAttributes").cloned().unwrap_or_default();
    let selected = selectors::read(&given);
    let asked = ResourceAttributes::deserialize(given).unwrap_or_default();
    let decision = server.authorizer.authorize(&Attributes {
        namespace: &asked.namespace,
        subresource: &asked.subresource,
        name: &asked.name,
        fields: &selected.fields,
        labels: &selected.labels,
        ..Attributes::resource(user, &asked.verb, &asked.group, &asked.resource)
    });
    (decision, selected.unread)
}

fn self_rules(server: &Inner, call: &Call, asked: &mut Value) -> Result<Value, Status> {
    let namespace = asked.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let auth::Grants { rules, incomplete, error } = server.authorizer.grants(&call.user, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &rules {
        if !rule.resources.is_empty() {
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(shown);
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    asked["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete});
    if let Some(error) = error {
        asked["status"]["evaluationError"] = error.into();
    }
    object::metadata_mut(asked).remove("creationTimestamp");
    Ok(asked.clone())
}

fn token(server: &Inner, call: &Call, resource: &Resource, asked: &mut Value) -> Result<Value, Status> {
    let token = token_of(asked).to_string();
    manage(server, call, resource, asked)?;
    let given = asked.pointer("/spec/audiences").and_then(|list| Vec::<String>::deserialize(list).ok());
    let audiences = given.filter(|list| !list.is_empty()).unwrap_or_else(|| server.authenticator.audiences().to_vec());
    asked["status"] = match server.authenticator.token(&token, &audiences) {
        Ok(verified) => json!({"authenticated": true, "user": verified.user, "audiences": verified.audiences}),
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    };
    object::metadata_mut(asked).remove("creationTimestamp");
    Ok(asked.clone())
}

fn who_am_i(call: &Call, asked: &Value) -> Value {
    // Nothing of what was sent comes back.
    let mut review = json!({"apiVersion": asked["apiVersion"], "kind": asked["kind"]});
    object::set_creation_timestamp(&mut review, &call.now_text());
    review["status"] = json!({"userInfo": call.user});
    review
}
