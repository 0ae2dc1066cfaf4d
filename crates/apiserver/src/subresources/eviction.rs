//! Eviction: a deletion that disruption budgets can refuse.

use std::sync::Arc;

use admission::Operation;
use apimachinery::status::Cause;
use apimachinery::{Status, labels, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Key, Object};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::{self, ResourceExt};
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode::{self, served};
use crate::options::{DeleteOptions, WriteOptions};
use crate::server::Inner;
use crate::verbs::delete;

/// Upstream's limit of evictions that wait for the controller to notice them.
const DISRUPTED_PODS_MAX: usize = 2000;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::kind("policy", "v1", "Eviction").or_version("policy/v1beta1");
    let mut eviction = decode::object(call, &body, &expected, options.field_validation)?;
    let own = object::name(&eviction);
    if !own.is_empty() && own != call.info.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let change = Change::of(server, call, resource, Part::Other("eviction"), &options);
    let pod = server.store.get(&resource.key(change.namespace, change.name)).ok_or_else(|| change.not_found())?;
    change.mutate(Operation::Create, &mut eviction, None).await?;
    change.admit(Operation::Create, &mut eviction, None).await?;
    let value = served(resource, &pod);
    if !is_exempt(&value) {
        charge_budget(&change, &value).await?;
    }
    let wanted = eviction.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
    let delete_options = DeleteOptions::deserialize(wanted).map_err(|error| Status::bad_request(error.to_string()))?;
    let dry_run = change.dry_run || delete_options.dry_run();
    let deletion = Change { part: Part::Main, dry_run, ..change };
    delete::delete(&deletion, &delete_options).await?;
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    Ok(encode::value_response(call, StatusCode::CREATED, &status.to_value()))
}

/// Pods that have ended, have not begun, or are already going are not counted by budgets.
fn is_exempt(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || object::deletion_timestamp(pod).is_some()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

async fn charge_budget(change: &Change<'_>, pod: &Value) -> Result<(), Status> {
    let budgets = budgets_of(change, pod);
    match budgets.as_slice() {
        [] => Ok(()),
        [one] => charge(change, pod, one).await,
        _ => Err(Status::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}

fn budgets_of(change: &Change<'_>, pod: &Value) -> Vec<Arc<Object>> {
    let prefix = Key::prefix("policy", "poddisruptionbudgets", Some(change.namespace));
    let snapshot = change.server.store.snapshot();
    let selects = |budget: &Object| {
        let budget = budget.value();
        labels::Selector::from_label_selector(budget.pointer("/spec/selector")).is_ok_and(|s| s.matches_object(pod))
    };
    snapshot.range(&prefix, None).map(|(_, budget)| budget).filter(|budget| selects(budget)).cloned().collect()
}

/// Takes one disruption from the budget, unless the pod is not healthy and the budget lets such pods go.
async fn charge(change: &Change<'_>, pod: &Value, budget: &Arc<Object>) -> Result<(), Status> {
    let Some(resource) = catalog::built_in("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let key = resource.key(change.namespace, &budget.header.name);
    loop {
        let Some(current) = change.server.store.get(&key) else { return Ok(()) };
        let value = served(resource, &current);
        if !is_ready(pod) && lets_unhealthy_go(&value) {
            return Ok(());
        }
        let mut new = value.clone();
        spend(&mut new, change)?;
        if change.dry_run {
            return Ok(());
        }
        let draft = crate::change::draft(resource, &new);
        match change.server.store.update(key.clone(), current.revision, draft).await {
            Ok(_) => return Ok(()),
            Err(store::WriteError::Conflict { .. }) => {}
            Err(error) => return Err(Status::internal(error)),
        }
    }
}

fn number(budget: &Value, field: &str) -> i64 {
    budget.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0)
}

fn lets_unhealthy_go(budget: &Value) -> bool {
    let policy = budget.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str);
    let healthy =
        number(budget, "currentHealthy") >= number(budget, "desiredHealthy") && number(budget, "desiredHealthy") > 0;
    policy == Some("AlwaysAllow") || healthy
}

fn spend(budget: &mut Value, change: &Change<'_>) -> Result<(), Status> {
    let name = object::name(budget).to_string();
    if number(budget, "observedGeneration") < object::generation(budget) {
        return Err(refusal(&name, "is still being processed by the server.", 10));
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if disrupted > DISRUPTED_PODS_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(&apimachinery::GroupResource::new("policy", "poddisruptionbudgets"), &name, why));
    }
    let allowed = number(budget, "disruptionsAllowed");
    if allowed <= 0 {
        let (needs, has) = (number(budget, "desiredHealthy"), number(budget, "currentHealthy"));
        return Err(refusal(&name, &format!("needs {needs} healthy pods and has {has} currently"), 0));
    }
    let status = object::child_mut(budget, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
    pods[change.name] = change.call.now_text().into();
    Ok(())
}

fn refusal(budget: &str, why: &str, retry_after: u16) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::too_many_requests(message, retry_after);
    status.details.get_or_insert_default().causes = vec![Cause {
        reason: "DisruptionBudget".into(),
        message: format!("The disruption budget {budget} {why}"),
        field: String::new(),
    }];
    status
}
