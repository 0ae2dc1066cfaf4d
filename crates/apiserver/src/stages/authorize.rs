//! May the caller: every request is asked about once, and writes of RBAC objects a second time.

use apimachinery::{GroupResource, Status, object};
use auth::rbac::{self, Kind, rules_of};
use auth::{Attributes, Decision, Selectors};
use serde_json::Value;

use crate::call::Call;
use crate::change::Change;
use crate::server::Inner;

pub fn run(server: &Inner, call: &Call) -> Result<(), Status> {
    with_attributes(call, call.info.verb, |asked| {
        let decision = server.authorizer.authorize(asked);
        call.annotate("authorization.k8s.io/decision", if decision.allowed() { "allow" } else { "forbid" });
        call.annotate("authorization.k8s.io/reason", decision.reason());
        settle(asked, &decision)
    })
}

/// Asks of the request under another verb.
pub fn check_verb(server: &Inner, call: &Call, verb: &str) -> Result<(), Status> {
    with_attributes(call, verb, |asked| check(server, asked))
}

fn with_attributes<T>(call: &Call, verb: &str, ask: impl FnOnce(&Attributes<'_>) -> T) -> T {
    let selectors = selectors(call);
    let info = &call.info;
    ask(&selectors.limit(Attributes {
        verb,
        namespace: if info.resource == "namespaces" { &info.name } else { &info.namespace },
        subresource: &info.subresource,
        name: &info.name,
        path: (!info.is_resource).then_some(info.path.as_str()),
        ..Attributes::resource(&call.user, verb, &info.group, &info.resource)
    }))
}

/// Refuses with upstream's 403 unless the authorizers allow.
pub fn check(server: &Inner, asked: &Attributes<'_>) -> Result<(), Status> {
    settle(asked, &server.authorizer.authorize(asked))
}

fn settle(asked: &Attributes<'_>, decision: &Decision) -> Result<(), Status> {
    if decision.allowed() {
        return Ok(());
    }
    let why = match decision.reason() {
        "" => asked.forbidden_message(),
        reason => format!("{}: {reason}", asked.forbidden_message()),
    };
    Err(Status::forbidden(&GroupResource::new(asked.group, asked.resource), asked.name, why))
}

/// Only requests for many objects have selectors.
fn selectors(call: &Call) -> Selectors {
    if !matches!(call.info.verb, "list" | "watch" | "deletecollection") {
        return Selectors::default();
    }
    Selectors::parse(call.query.text("fieldSelector"), call.query.text("labelSelector"))
}

/// Nobody grants by a role or binding what he does not hold himself, unless he may `escalate` or `bind`.
pub fn check_rbac_write(change: &Change<'_>, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if change.resource.group != rbac::GROUP {
        return Ok(());
    }
    let unchanged = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    let checked = match Kind::of_resource(change.resource.name) {
        Some(Kind::Role | Kind::ClusterRole) if unchanged("rules") && unchanged("aggregationRule") => return Ok(()),
        Some(Kind::RoleBinding | Kind::ClusterRoleBinding) if unchanged("roleRef") && unchanged("subjects") => {
            return Ok(());
        }
        Some(Kind::Role | Kind::ClusterRole) => role(change, new),
        Some(Kind::RoleBinding | Kind::ClusterRoleBinding) => binding(change, new),
        None => return Ok(()),
    };
    let resource = GroupResource::new(rbac::GROUP, change.resource.name);
    checked.map_err(|why| Status::forbidden(&resource, object::name(new), why))
}

fn role(change: &Change<'_>, new: &Value) -> Result<(), rbac::Escalation> {
    let (user, namespace) = (&change.call.user, change.namespace);
    let ask = Attributes::resource(user, "escalate", rbac::GROUP, change.resource.name);
    let authorizer = &change.server.authorizer;
    if authorizer.authorize(&ask.in_namespace(namespace).named(object::name(new))).allowed() {
        return Ok(());
    }
    let mut rules = rules_of(new);
    if new.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        rules.push(everything());
    }
    authorizer.rbac.confirm_no_escalation(user, namespace, &rules)
}

/// An aggregated role may come to hold anything.
fn everything() -> rbac::Rule {
    let star = || vec!["*".to_string()];
    rbac::Rule { verbs: star(), api_groups: star(), resources: star(), ..rbac::Rule::default() }
}

fn binding(change: &Change<'_>, new: &Value) -> Result<(), rbac::Escalation> {
    let (user, namespace) = (&change.call.user, change.namespace);
    let role_ref = new.get("roleRef").unwrap_or(&Value::Null);
    let text = |key: &str| role_ref.get(key).and_then(Value::as_str).unwrap_or_default();
    let resource = if text("kind") == "Role" { "roles" } else { "clusterroles" };
    let ask = Attributes::resource(user, "bind", rbac::GROUP, resource);
    let authorizer = &change.server.authorizer;
    if authorizer.authorize(&ask.in_namespace(namespace).named(text("name"))).allowed() {
        return Ok(());
    }
    let rules = authorizer.rbac.rules_of_ref(namespace, role_ref)?;
    authorizer.rbac.confirm_no_escalation(user, namespace, &rules)
}
