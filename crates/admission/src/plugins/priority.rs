//! Resolves a pod's priority class to a number.

use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct Priority;

const GROUP: &str = "scheduling.k8s.io";

struct Resolved {
    name: String,
    value: i64,
    preemption: String,
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if request.is(Operation::Update, "", "pods") {
            keep_resolved(request);
            return Ok(());
        }
        let Some(pod) = request.new_pod() else { return Ok(()) };
        let class = pod.pointer("/spec/priorityClassName").and_then(Value::as_str).unwrap_or_default().to_string();
        let resolved = if class.is_empty() { default_class(request) } else { named_class(request, &class)? };
        let given = |request: &Request<'_>, field: &str| {
            request.object.as_deref().and_then(|pod| pod.pointer(&format!("/spec/{field}")).cloned())
        };
        let value = resolved.value;
        if let Some(asked) = given(request, "priority").and_then(|v| v.as_i64()).filter(|asked| *asked != value) {
            let why = format!(
                "the integer value of priority ({asked}) must not be provided in pod spec; priority admission \
                 controller computed {value} from the given PriorityClass name"
            );
            return Err(request.forbidden(why));
        }
        let preemption = given(request, "preemptionPolicy").and_then(|p| p.as_str().map(str::to_string));
        if let Some(asked) = preemption.filter(|asked| *asked != resolved.preemption) {
            let why = format!(
                "the string value of PreemptionPolicy ({asked}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                resolved.preemption
            );
            return Err(request.forbidden(why));
        }
        if let Some(pod) = request.new_pod() {
            write(pod, resolved);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_resource(GROUP, "priorityclasses") {
            return Ok(());
        }
        let is_default = |class: &Value| class["globalDefault"] == true;
        let Some(own) = request.object.as_deref().filter(|class| is_default(class)) else { return Ok(()) };
        let Some(other) = marked_class(request) else { return Ok(()) };
        let (own, other) = (object::name(own), object::name(&other));
        if request.operation == Operation::Update && own == other {
            return Ok(());
        }
        let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
        Err(request.forbidden(why))
    }
}

/// An update that leaves out what was resolved at creation does not lose it.
fn keep_resolved(request: &mut Request<'_>) {
    let (Some(pod), Some(old)) = (request.object.as_deref_mut(), request.old) else { return };
    for field in ["priority", "preemptionPolicy"] {
        let before = &old["spec"][field];
        if pod["spec"][field].is_null() && !before.is_null() {
            object::child_mut(pod, "spec").insert(field.into(), before.clone());
        }
    }
}

fn classes(request: &Request<'_>) -> Vec<Value> {
    request.list(GROUP, "priorityclasses", None).iter().map(|class| class.value()).collect()
}

/// The class that is marked as default; the lowest one if several are.
fn marked_class(request: &Request<'_>) -> Option<Value> {
    let marked = classes(request).into_iter().filter(|class| class["globalDefault"] == true);
    marked.min_by_key(|class| class["value"].as_i64().unwrap_or_default())
}

fn default_class(request: &Request<'_>) -> Resolved {
    marked_class(request).map_or_else(
        || Resolved { name: String::new(), value: 0, preemption: "PreemptLowerPriority".into() },
        |class| resolve(&class),
    )
}

fn named_class(request: &Request<'_>, name: &str) -> Result<Resolved, Status> {
    let found = request.get(GROUP, "priorityclasses", "", name);
    let missing = || request.forbidden(format!("no PriorityClass with name {name} was found"));
    Ok(resolve(&found.ok_or_else(missing)?.value()))
}

fn resolve(class: &Value) -> Resolved {
    Resolved {
        name: object::name(class).to_string(),
        value: class["value"].as_i64().unwrap_or_default(),
        preemption: class["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").to_string(),
    }
}

fn write(pod: &mut Value, resolved: Resolved) {
    let spec = &mut pod["spec"];
    if !resolved.name.is_empty() {
        spec["priorityClassName"] = resolved.name.into();
    }
    spec["priority"] = resolved.value.into();
    spec["preemptionPolicy"] = resolved.preemption.into();
}
