//! Who may have devices: admin access needs a label on the namespace, and parts of a claim's status need permissions of
//! their own.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::{object, validation};
use auth::{Attributes, UserInfo};
use serde_json::Value;
use store::Key;

use crate::change::{Change, Part};
use crate::stages::authorize;

const GROUP: &str = "resource.k8s.io";
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";
/// Of a token that is bound to a node.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What is wrong with the access that a new claim, or template of claims, asks for.
pub fn check_new(change: &Change<'_>, new: &Value) -> ErrorList {
    let requests = match (change.resource.group, change.resource.name) {
        (GROUP, "resourceclaims") => "/spec/devices/requests",
        (GROUP, "resourceclaimtemplates") => "/spec/spec/devices/requests",
        _ => return ErrorList::new(),
    };
    let asks = items(new, requests).iter().position(|request| request["exactly"]["adminAccess"] == true);
    // Templates are told the same path.
    let path = Path::new("spec").child("devices").child("requests");
    asks.map_or_else(ErrorList::new, |index| admin(change, &path.index(index).child("adminAccess")))
}

/// What is wrong with who writes the status of a claim.
pub fn check_status(change: &Change<'_>, new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    if (change.resource.group, change.resource.name, change.part) != (GROUP, "resourceclaims", Part::Status) {
        return errors;
    }
    let granted = |claim: &Value| {
        let results = items(claim, "/status/allocation/devices/results");
        results.iter().position(|result| result["adminAccess"] == true)
    };
    if let (None, Some(index)) = (granted(old), granted(new)) {
        let path = ["allocation", "devices", "results"].iter().fold(Path::new("status"), |path, name| path.child(name));
        errors.append(admin(change, &path.index(index).child("adminAccess")));
    }
    binding(change, new, old, &mut errors);
    devices(change, new, old, &mut errors);
    errors
}

fn admin(change: &Change<'_>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let stored = change.server.store.get(&Key::new("", "namespaces", "", change.namespace));
    match stored.map(|stored| object::label(&stored.value(), ADMIN_LABEL) == Some("true")) {
        Some(true) => {}
        Some(false) => errors.forbidden(
            path,
            format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"),
        ),
        None => {
            let missing = format!("namespaces {:?} not found", change.namespace);
            errors.push(FieldError::internal(
                path,
                format!("could not retrieve namespace to verify admin access: {missing}"),
            ));
        }
    }
    errors
}

fn attributes<'a>(change: &'a Change<'_>, verb: &'a str) -> Attributes<'a> {
    Attributes::resource(&change.call.user, verb, GROUP, "resourceclaims")
}

/// Who allocates and reserves binds the claim.
fn binding(change: &Change<'_>, new: &Value, old: &Value, errors: &mut ErrorList) {
    if ["allocation", "reservedFor"].iter().all(|field| new["status"][*field] == old["status"][*field]) {
        return;
    }
    let verb = change.call.info.verb;
    if let Err(status) = authorize::check(change.server, &attributes(change, verb).subresource("binding")) {
        let why = status.message;
        errors.forbidden(
            &Path::new("status"),
            format!(
                "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", \
                 verb={verb:?} permission: {why}"
            ),
        );
    }
}

/// Each driver says how its own devices are, on its own node or on all.
fn devices(change: &Change<'_>, new: &Value, old: &Value, errors: &mut ErrorList) {
    let verb = change.call.info.verb;
    let mut verbs = vec![format!("arbitrary-node:{verb}")];
    if is_on_node(&change.call.user, allocated_node(new)) {
        verbs.insert(0, format!("associated-node:{verb}"));
    }
    for driver in changed_drivers(new, old) {
        let ask = |verb| {
            let asked = attributes(change, verb).subresource("driver").in_namespace(change.namespace).named(driver);
            authorize::check(change.server, &asked)
        };
        let answers: Vec<_> = verbs.iter().map(|verb| ask(verb)).collect();
        let Some(Err(first)) = answers.first().filter(|_| answers.iter().all(Result::is_err)) else { continue };
        let (verbs, why) = (verbs.join(" "), &first.message);
        errors.forbidden(
            &Path::new("status").child("devices"),
            format!("changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{verbs}]\" permission: {why}"),
        );
    }
}

fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let (new, old) = (items(new, "/status/devices"), items(old, "/status/devices"));
    let key = |device: &Value| ["driver", "pool", "device", "shareID"].map(|field| device[field].clone());
    let lacks = |others: &[Value], device: &Value| !others.iter().any(|other| key(other) == key(device));
    let changed = new.iter().filter(|device| !old.contains(device));
    let gone = old.iter().filter(|device| lacks(new, device));
    changed.chain(gone).map(|device| device["driver"].as_str().unwrap_or_default()).collect()
}

/// The node of an allocation that is for one node alone.
fn allocated_node(claim: &Value) -> &str {
    let [term] = items(claim, "/status/allocation/nodeSelector/nodeSelectorTerms") else { return "" };
    let ([], [field]) = (items(term, "/matchExpressions"), items(term, "/matchFields")) else { return "" };
    match items(field, "/values") {
        [node] if field["key"] == "metadata.name" && field["operator"] == "In" => node.as_str().unwrap_or_default(),
        _ => "",
    }
}

/// Whether a service account speaks from the node.
fn is_on_node(user: &UserInfo, node: &str) -> bool {
    let is_account = user.name.strip_prefix("system:serviceaccount:").is_some_and(|rest| rest.split(':').count() == 2);
    let own = user.extra.get(NODE_NAME).map(Vec::as_slice).unwrap_or_default();
    !node.is_empty() && is_account && own == [node] && validation::is_dns1123_subdomain(node).is_empty()
}
