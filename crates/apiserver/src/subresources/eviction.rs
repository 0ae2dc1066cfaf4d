//! Eviction: a deletion that disruption budgets can refuse.

use std::sync::Arc;

use admission::Operation;
use apimachinery::status::Cause;
use apimachinery::{GroupResource, Status, labels, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde::Deserialize;
use serde_json::{Value, json};
use store::Key;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::{self, ResourceExt};
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode::{self, served};
use crate::options::{DeleteOptions, WriteOptions};
use crate::ownership::Ownership;
use crate::server::Inner;
use crate::subresources::conditions;
use crate::verbs::create::settle_namespace;
use crate::verbs::delete;

/// Upstream's limit of evictions that wait for the controller to notice them.
const DISRUPTED_PODS_MAX: usize = 2000;

/// How often a pod that no budget counts may change while it is evicted.
const TRIES_MAX: usize = 20;

const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::kind("policy", "v1", "Eviction").or_version("policy/v1beta1");
    let mut eviction = decode::object(call, &body, &expected, options.field_validation)?;
    settle_namespace(call, resource, &mut eviction)?;
    let change = Change::of(server, call, resource, Part::Other("eviction"), &options);
    change.mutate(Operation::Create, &mut eviction, None).await?;
    if object::name(&eviction) != change.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    share_dry_run(call, &mut eviction)?;
    change.admit(Operation::Create, &mut eviction, None).await?;
    let wanted = eviction.get("deleteOptions").filter(|given| !given.is_null());
    let wanted = wanted.cloned().unwrap_or_else(|| json!({"dryRun": asked_dry_run(call)}));
    let wanted = DeleteOptions::deserialize(wanted).map_err(|error| Status::bad_request(error.to_string()))?;
    let eviction = Eviction { change: &change, wanted };
    let status = eviction.run().await?;
    Ok(encode::value_response(call, StatusCode::CREATED, &status.to_value()))
}

fn asked_dry_run(call: &Call) -> Vec<Value> {
    call.query.all("dryRun").map(Value::from).collect()
}

/// The request's dry run is also the deletion's; they may not differ.
fn share_dry_run(call: &Call, eviction: &mut Value) -> Result<(), Status> {
    let asked = asked_dry_run(call);
    let Some(options) = eviction.get_mut("deleteOptions").and_then(Value::as_object_mut) else { return Ok(()) };
    let own = options.get("dryRun").and_then(Value::as_array).cloned().unwrap_or_default();
    if own.is_empty() && !asked.is_empty() {
        options.insert("dryRun".into(), asked.into());
    } else if !asked.is_empty() && own != asked {
        let (asked, own) = (go_list(&asked), go_list(&own));
        let why = format!("Non-matching dry-run options in request and content: {asked} and {own}");
        return Err(Status::failure(500, "", why));
    }
    Ok(())
}

/// As Go prints a list of strings.
fn go_list(texts: &[Value]) -> String {
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    format!("[{}]", texts.join(" "))
}

/// Pods that have ended, have not begun, or are already going are not counted by budgets.
fn is_exempt(pod: &Value) -> bool {
    is_ending(pod) || phase(pod) == "Pending"
}

fn is_ending(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed") || object::deletion_timestamp(pod).is_some()
}

fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// What a budget says about a pod that it counts.
enum Grant {
    /// No budget counts it, or one has paid for it.
    Free,
    /// It is not healthy; the budget of this name lets it go as long as it stays so.
    Unhealthy(String),
}

/// One eviction, admitted.
struct Eviction<'a> {
    change: &'a Change<'a>,
    wanted: DeleteOptions,
}

impl Eviction<'_> {
    async fn run(&self) -> Result<Status, Status> {
        let Some(pod) = self.delete_if_exempt().await? else { return Ok(success()) };
        let budgets = self.budgets_of(&pod);
        let grant = match budgets.as_slice() {
            [] => Grant::Free,
            [one] => self.charge(&pod, one).await?,
            // Upstream answers that it made this failure.
            _ => {
                let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                           support.";
                return Ok(Status::failure(500, "", why));
            }
        };
        match grant {
            Grant::Free => self.delete(self.wanted.clone()).await?,
            Grant::Unhealthy(budget) => self.delete_unhealthy(&pod, &budget).await?,
        }
        Ok(success())
    }

    /// Deletes a pod that no budget counts. Else the answer is the pod.
    async fn delete_if_exempt(&self) -> Result<Option<Value>, Status> {
        let mut tries = 0;
        loop {
            tries += 1;
            let pod = self.pod()?;
            if !is_exempt(&pod) {
                return Ok(Some(pod));
            }
            let own = self.wanted.has_version();
            let options = if is_ending(&pod) || own { self.wanted.clone() } else { self.at_version(&pod) };
            match self.delete(options).await {
                // It may have begun to run in the meantime.
                Err(status) if status.is_conflict() && !own && tries < TRIES_MAX => {}
                outcome => return outcome.map(|()| None),
            }
        }
    }

    fn pod(&self) -> Result<Value, Status> {
        let key = self.change.resource.key(self.change.namespace, self.change.name);
        let stored = self.change.server.store.get(&key).ok_or_else(|| self.change.not_found())?;
        Ok(served(self.change.resource, &stored))
    }

    fn at_version(&self, pod: &Value) -> DeleteOptions {
        self.wanted.clone().at_version(object::resource_version(pod))
    }

    /// A pod that became healthy since it was judged stays; the client is to ask again.
    async fn delete_unhealthy(&self, pod: &Value, budget: &str) -> Result<(), Status> {
        match self.delete(self.at_version(pod)).await {
            Err(status) if status.is_conflict() && !self.wanted.has_version() => Err(being_processed(budget)),
            outcome => outcome,
        }
    }

    /// Says in the pod why it goes, then deletes it.
    async fn delete(&self, mut options: DeleteOptions) -> Result<(), Status> {
        let part = Part::Consequence("status");
        let dry_run = self.change.dry_run || options.dry_run();
        let change = Change { part, dry_run, ownership: Ownership::Settled, ..self.change.another() };
        if !dry_run {
            let updated = change.update(true, |pod| marked(&change, pod, &options)).await?;
            if options.has_version() {
                options = options.at_version(object::resource_version(&updated.item.value(change.resource)));
            }
        }
        delete::delete(&Change { part: Part::Consequence(""), ..change }, &options).await.map(drop)
    }

    /// The names of the budgets that count the pod.
    fn budgets_of(&self, pod: &Value) -> Vec<String> {
        let prefix = Key::prefix("policy", "poddisruptionbudgets", Some(self.change.namespace));
        let snapshot = self.change.server.store.snapshot();
        let selects = |budget: &Value| {
            labels::Selector::from_label_selector(budget.pointer("/spec/selector"))
                .is_ok_and(|selector| selector.matches_object(pod))
        };
        let chosen = snapshot.range(&prefix, None).filter(|(_, budget)| selects(&budget.value()));
        chosen.map(|(_, budget)| budget.header.name.to_string()).collect()
    }

    /// Takes one disruption from the budget, unless the pod is not healthy and the budget lets such pods go.
    async fn charge(&self, pod: &Value, budget: &str) -> Result<Grant, Status> {
        let resource = catalog::built_in("policy", "v1", "poddisruptionbudgets").expect("the kind is built in");
        let change = Change {
            resource,
            name: budget,
            part: Part::Consequence("status"),
            dry_run: self.change.dry_run || self.wanted.dry_run(),
            manager: "kube-apiserver".into(),
            ..self.change.another()
        };
        let mut unhealthy = None;
        if !is_ready(pod) {
            let stored = self.change.server.store.get(&resource.key(change.namespace, budget));
            unhealthy = stored.filter(|stored| lets_unhealthy_go(&served(resource, stored)));
        }
        if unhealthy.is_some() {
            return Ok(Grant::Unhealthy(budget.into()));
        }
        let (pod, now) = (self.change.name, self.change.call.now_text());
        change.update(true, |budget| spent(budget, pod, &now)).await?;
        Ok(Grant::Free)
    }
}

fn success() -> Status {
    Status { status: "Success".into(), code: 201, ..Status::default() }
}

/// The pod with the condition of its eviction, if it is still the one that was meant.
fn marked(change: &Change<'_>, pod: &Value, options: &DeleteOptions) -> Result<Value, Status> {
    let wanted = options.preconditions.as_ref();
    let differs = |what: &str, asked: Option<&String>, stored: &str, why: &str| match asked {
        Some(asked) if !asked.is_empty() && asked != stored => {
            let why = format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record ({stored}). \
                 The object might have been {why}"
            );
            // Upstream names the kind here.
            Err(Status::conflict(&GroupResource::new("", "Pod"), change.name, why))
        }
        _ => Ok(()),
    };
    differs("UID", wanted.and_then(|w| w.uid.as_ref()), object::uid(pod), "deleted and then recreated")?;
    let version = wanted.and_then(|w| w.resource_version.as_ref());
    differs("ResourceVersion", version, object::resource_version(pod), "modified")?;
    let mut new = pod.clone();
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    });
    conditions::set(&mut new, condition, &change.call.now_text());
    Ok(new)
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

/// The budget after the disruption by `pod`.
fn spent(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = object::name(budget);
    if number(budget, "observedGeneration") < object::generation(budget) {
        return Err(being_processed(name));
    }
    let allowed = number(budget, "disruptionsAllowed");
    // Upstream names the resource so here.
    let forbidden = |why: &str| Status::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), name, why);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if disrupted > DISRUPTED_PODS_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(forbidden(why));
    }
    if allowed == 0 {
        return Err(refusal(&denial(budget), 0));
    }
    let mut budget = budget.clone();
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    if allowed == 1 {
        let observed = number(&budget, "observedGeneration");
        let condition = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": observed,
        });
        conditions::set(&mut budget, condition, now);
    }
    budget["status"]["disruptedPods"][pod] = now.into();
    Ok(budget)
}

/// Why the budget allows nothing.
fn denial(budget: &Value) -> String {
    let name = object::name(budget);
    let conditions = budget.pointer("/status/conditions").and_then(Value::as_array);
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let failed = conditions.into_iter().flatten().find(|one| one["type"] == "DisruptionAllowed");
    let failed = failed.filter(|one| one["status"] == "False" && !text(one, "message").is_empty());
    let failed = failed.map(|one| (text(one, "reason"), text(one, "message")));
    let (needs, has) = (number(budget, "desiredHealthy"), number(budget, "currentHealthy"));
    match failed {
        Some((reason, why)) if reason == "SyncFailed" => {
            format!("{name} does not allow evicting pods currently because it failed sync: {why}")
        }
        _ if has <= needs => format!("{name} needs {needs} healthy pods and has {has} currently"),
        Some((reason, why)) => format!("{name} does not allow evicting pods currently ({reason}): {why}"),
        None => format!("{name} does not allow evicting pods currently"),
    }
}

fn being_processed(budget: &str) -> Status {
    refusal(&format!("{budget} is still being processed by the server."), 10)
}

fn refusal(why: &str, retry_after: u16) -> Status {
    let mut status = Status::too_many_requests(REFUSAL, retry_after);
    status.details.get_or_insert_default().causes = vec![Cause {
        reason: "DisruptionBudget".into(),
        message: format!("The disruption budget {why}"),
        field: String::new(),
    }];
    status
}
