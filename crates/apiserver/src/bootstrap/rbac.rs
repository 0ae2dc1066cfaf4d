//! Reconciles the bootstrap roles and bindings: what an administrator added stays, what is missing comes back.

use std::convert::Infallible;

use apimachinery::{Status, object};
use auth::rbac::bootstrap::{Bootstrap, objects};
use auth::rbac::{GROUP, Kind, rules_of};
use serde_json::Value;
use store::{Key, Step};

use crate::catalog;
use crate::server::Inner;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

pub async fn run(server: &Inner) -> Result<(), Status> {
    let writes = objects().into_iter().map(|bootstrap| reconcile(server, bootstrap));
    futures::future::try_join_all(writes).await.map(drop)
}

async fn reconcile(server: &Inner, bootstrap: Bootstrap) -> Result<(), Status> {
    let key = Key::new(GROUP, bootstrap.kind.resource(), &bootstrap.namespace, &bootstrap.name);
    let Some(current) = server.store.get(&key) else {
        let Bootstrap { kind, namespace, name, object } = bootstrap;
        return super::ensure(server, GROUP, kind.resource(), &namespace, &name, object).await;
    };
    let Some(wanted) = merged(bootstrap.kind, current.value(), &bootstrap.object) else { return Ok(()) };
    let Some(resource) = catalog::of_storage(GROUP, bootstrap.kind.resource()) else { return Ok(()) };
    let step = |_: Option<&_>| Ok::<_, Infallible>(Step::Put(crate::change::draft(resource, &wanted)));
    server.store.guaranteed_update(&key, step).await.map(drop).map_err(Status::internal)
}

/// The stored object with what it lacks, or nothing when it lacks nothing or is not to be touched.
fn merged(kind: Kind, stored: Value, wanted: &Value) -> Option<Value> {
    if object::annotation(&stored, AUTOUPDATE) == Some("false") {
        return None;
    }
    let mut new = stored.clone();
    match kind {
        Kind::Role | Kind::ClusterRole if wanted.get("aggregationRule").is_none() => add_rules(&mut new, wanted),
        Kind::Role | Kind::ClusterRole => {}
        Kind::RoleBinding | Kind::ClusterRoleBinding => add_items(&mut new, wanted, "subjects"),
    }
    (new != stored).then_some(new)
}

/// Adds the rules whose parts no stored rule covers.
fn add_rules(new: &mut Value, wanted: &Value) {
    let held = rules_of(new);
    let covered =
        |rule: &auth::rbac::Rule| rule.breakdown().iter().all(|piece| held.iter().any(|own| own.covers(piece)));
    let lacking: Vec<Value> = rules_of(wanted)
        .iter()
        .filter(|rule| !covered(rule))
        .filter_map(|rule| serde_json::to_value(rule).ok())
        .collect();
    push_all(new, "rules", lacking);
}

fn add_items(new: &mut Value, wanted: &Value, list: &str) {
    let present = new.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = wanted.get(list).and_then(Value::as_array).into_iter().flatten();
    let lacking: Vec<Value> = wanted.filter(|item| !present.contains(item)).cloned().collect();
    push_all(new, list, lacking);
}

fn push_all(new: &mut Value, list: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    match new.get_mut(list).and_then(Value::as_array_mut) {
        Some(own) => own.extend(items),
        None => new[list] = Value::Array(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn additions_stay_and_losses_come_back() {
        let wanted = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let extended = json!({"rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "nodes"]}]});
        assert_eq!(merged(Kind::ClusterRole, extended, &wanted), None);
        let robbed = json!({"rules": []});
        assert_eq!(merged(Kind::ClusterRole, robbed, &wanted).unwrap()["rules"], wanted["rules"]);
        let left_alone = json!({"rules": [], "metadata": {"annotations": {AUTOUPDATE: "false"}}});
        assert_eq!(merged(Kind::ClusterRole, left_alone, &wanted), None);
    }
}
