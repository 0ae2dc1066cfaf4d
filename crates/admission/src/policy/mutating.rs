//! MutatingAdmissionPolicy: each policy sees what those before it changed.

use apimachinery::Status;
use apimachinery::object;
use apimachinery::status::Cause;
use async_trait::async_trait;
use expressions::{Bindings, Budget, Environment, limits};
use registry::cel::Expected;
use serde_json::Value;

use super::index::{Binding, Body, Policy};
use super::input::namespace_of;
use super::select::{Selected, select};
use super::{Asker, Expression, Input, is_out_of_reach, patch};
use crate::match_conditions::Outcome;
use crate::matching::Target;
use crate::webhook::decoded;
use crate::{Plugin, Request};

/// What a mutating policy has besides what all policies have.
pub struct Mutations {
    list: Vec<Mutation>,
    reinvoked_if_needed: bool,
}

enum Mutation {
    Apply(Expression),
    Patch(Expression),
}

impl Body for Mutations {
    const PATCHES: bool = true;

    fn compile(spec: &Value, names: &Environment, _bare: &Environment) -> Self {
        let mutation = |one: &Value| {
            let text = |field: &str| one[field]["expression"].as_str().unwrap_or_default();
            match one["patchType"].as_str() {
                Some("JSONPatch") => {
                    Mutation::Patch(Expression::compile(text("jsonPatch"), names, Expected::JsonPatch))
                }
                _ => Mutation::Apply(Expression::compile(
                    text("applyConfiguration"),
                    names,
                    Expected::ApplyConfiguration,
                )),
            }
        };
        Mutations {
            list: spec["mutations"].as_array().into_iter().flatten().map(mutation).collect(),
            reinvoked_if_needed: spec["reinvocationPolicy"] == "IfNeeded",
        }
    }
}

pub struct MutatingAdmissionPolicy;

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let all = request.services.mutating_policies.list();
        if all.is_empty() || is_out_of_reach(request) {
            return Ok(());
        }
        let selected = select(&all, request);
        let (mut refusals, mut later) = (Vec::new(), Vec::new());
        request.reinvocation.begin_policies(request.object.as_deref());
        for one in &selected {
            match &one.outcome {
                Err(why) => refusals.extend(refusal(one, why, "")),
                Ok((target, params)) => {
                    for params in params {
                        later.extend(consult(one, target, params, request)?);
                    }
                }
            }
        }
        request.reinvocation.end_policies(request.object.as_deref());
        refusals.append(&mut later);
        answer(refusals, request)
    }
}

struct Refusal {
    message: String,
    reason: &'static str,
}

/// None if the failure policy lets it pass.
fn refusal(selected: &Selected<Mutations>, why: &str, reason: &'static str) -> Option<Refusal> {
    let policy = &selected.policy;
    let message = match &selected.binding {
        Some(binding) => format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name),
        None => format!("policy {:?} denied request: {why}", policy.name),
    };
    (!policy.ignores_failure).then_some(Refusal { message, reason })
}

/// The first refusal is the message, all are causes.
fn answer(refusals: Vec<Refusal>, request: &Request<'_>) -> Result<(), Status> {
    let Some(first) = refusals.first() else { return Ok(()) };
    let mut status = request.forbidden("admission request denied by policy");
    status.message = first.message.clone();
    if !first.reason.is_empty() {
        status.reason = first.reason.into();
    }
    let causes = refusals.into_iter().map(|one| Cause { message: one.message, ..Cause::default() });
    status.details.get_or_insert_default().causes.extend(causes);
    Err(status)
}

fn consult(
    selected: &Selected<Mutations>,
    target: &Target,
    params: &Value,
    request: &mut Request<'_>,
) -> Result<Vec<Refusal>, Status> {
    let (policy, Some(binding)) = (&selected.policy, &selected.binding) else { return Ok(Vec::new()) };
    let namespace = namespace_of(request)?;
    let invalid = |why: &str| refusal(selected, why, "Invalid");
    match policy.conditions.evaluate(request, target, params) {
        Outcome::Met => {}
        Outcome::Unmet => return Ok(Vec::new()),
        Outcome::Failed(why) => return Ok(invalid(&why).into_iter().collect()),
    }
    let key = key(policy, binding, params);
    if !request.reinvocation.asks_policy(&key) {
        return Ok(Vec::new());
    }
    let before = request.object.as_deref().cloned();
    let mut refusals = Vec::new();
    for mutation in policy.body.list.iter().filter(|_| before.is_some()) {
        if let Err(why) = mutate(policy, mutation, target, params, &namespace, request) {
            refusals.extend(invalid(&why));
        }
    }
    if request.object.as_deref() != before.as_ref() {
        request.reinvocation.changed_by_policy();
    }
    if policy.body.reinvoked_if_needed {
        request.reinvocation.policy_asked_if_needed(&key);
    }
    Ok(refusals)
}

/// What is reinvoked: a policy through a binding with one parameter.
fn key(policy: &Policy<Mutations>, binding: &Binding, params: &Value) -> String {
    let param = (!params.is_null()).then(|| (object::namespace(params), object::name(params)));
    let (namespace, name) = param.unwrap_or_default();
    format!("{}/{}/{namespace}/{name}", policy.name, binding.name)
}

fn mutate(
    policy: &Policy<Mutations>,
    mutation: &Mutation,
    target: &Target,
    params: &Value,
    namespace: &Value,
    request: &mut Request<'_>,
) -> Result<(), String> {
    let input = Input::new(request, target, namespace.clone());
    let patched = {
        let asker = Asker { authorizer: &request.services.authorizer, user: request.user };
        let bindings = policy.bind(input.bindings(params, &asker));
        patched(mutation, &input.object, &bindings, target, request)?
    };
    let patched = decoded(request, target, patched)?;
    if patched == input.object {
        return Ok(());
    }
    let restored = target.restored(request, patched);
    if let Some(object) = request.object.as_deref_mut() {
        *object = restored;
    }
    Ok(())
}

fn patched(
    mutation: &Mutation,
    object: &Value,
    bindings: &Bindings<'_>,
    target: &Target,
    request: &Request<'_>,
) -> Result<Value, String> {
    let mut budget = Budget::new(limits::RUNTIME_BUDGET);
    let mut evaluate = |expression: &Expression| {
        let value = expression.evaluate(bindings, &mut budget).map_err(|failure| failure.to_string())?;
        value.to_json().map_err(|error| format!("type conversion error: {error}"))
    };
    match mutation {
        Mutation::Patch(expression) => patch::apply_operations(object, &evaluate(expression)?),
        Mutation::Apply(expression) => {
            let configuration = evaluate(expression)?;
            let kind = &target.kind;
            let is_own = request.subresource.is_empty() || request.subresource == "status";
            let form = target.form(request);
            let place = match api::schema::kind(&kind.group, &kind.version, &kind.kind) {
                _ if is_own => Some(form.schema.node()),
                found => found.map(api::schema::Definition::node),
            };
            patch::apply_configuration(object, configuration, place)
        }
    }
}
