//! Webhooks that change objects: asked in turn, each seeing what those before it changed.

use std::time::Instant;

use api::schema;
use apimachinery::{Status, patch, strict};
use async_trait::async_trait;
use serde_json::Value;

use super::ask::{ask, count, failing_open};
use super::errors::CallError;
use super::hook::Hook;
use super::review::Answer;
use crate::matching::{Target, is_exempt};
use crate::{Plugin, Request};

pub struct MutatingAdmissionWebhook;

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let hooks = request.services.mutating.list();
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        request.reinvocation.begin_webhooks(request.object.as_deref());
        for (order, hook) in hooks.iter().enumerate() {
            let Some(target) = hook.concerns(request)? else { continue };
            if request.reinvocation.asks(&hook.uid) {
                consult(hook, order, request, &target).await?;
            }
        }
        request.reinvocation.end_webhooks(request.object.as_deref());
        Ok(())
    }
}

async fn consult(hook: &Hook, order: usize, request: &mut Request<'_>, target: &Target) -> Result<(), Status> {
    let began = Instant::now();
    let changed = match ask(hook, request, target, true).await {
        Ok(answer) => apply(hook, request, target, &answer),
        Err(error) => Err(error),
    };
    count(hook, request, "admit", began, changed.as_ref().err());
    note(hook, order, request, changed == Ok(true));
    if changed == Ok(true) {
        request.reinvocation.changed();
    }
    if hook.reinvoked_if_needed {
        request.reinvocation.asked_if_needed(&hook.uid);
    }
    match changed {
        Err(error) if !failing_open(hook, &error) => Err(error.to_status()),
        Err(_) => {
            let key = format!(
                "failed-open.mutation.webhook.admission.k8s.io/round_{}_index_{order}",
                request.reinvocation.round()
            );
            request.annotate(&key, hook.name.as_str());
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

fn note(hook: &Hook, order: usize, request: &Request<'_>, mutated: bool) {
    let key = format!("mutation.webhook.admission.k8s.io/round_{}_index_{order}", request.reinvocation.round());
    let value = serde_json::json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
    request.annotate(&key, value.to_string());
}

/// Patches the object. Returns whether that changed anything.
fn apply(hook: &Hook, request: &mut Request<'_>, target: &Target, answer: &Answer) -> Result<bool, CallError> {
    if is_empty(&answer.patch)? {
        return Ok(false);
    }
    let Some(object) = request.object.as_deref() else {
        return Err(CallError::Unusable(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    let shown = target.converted(request, object);
    let patched = patch::json::apply(&shown, &answer.patch).map_err(|error| CallError::Unusable(error.to_string()))?;
    let patched = decoded(request, target, patched).map_err(CallError::Unusable)?;
    if patched == shown {
        return Ok(false);
    }
    let restored = target.restored(request, patched);
    if let Some(object) = request.object.as_deref_mut() {
        *object = restored;
    }
    Ok(true)
}

fn is_empty(patch: &[u8]) -> Result<bool, CallError> {
    if patch.is_empty() {
        return Ok(true);
    }
    let parsed: Result<Vec<Value>, _> = serde_json::from_slice(patch);
    parsed.map(|operations| operations.is_empty()).map_err(|error| CallError::Unusable(error.to_string()))
}

/// As if it came from a client: unknown fields are dropped, what is missing is filled in.
pub fn decoded(request: &Request<'_>, target: &Target, mut object: Value) -> Result<Value, String> {
    let (kind, form) = (&target.kind, target.form(request));
    let is_whole = request.subresource.is_empty() || request.subresource == "status";
    if is_whole && form.custom.is_some() {
        form.strategy.decode(&mut object, form.schema.node())?;
    } else if let Some(definition) = schema::kind(&kind.group, &kind.version, &kind.kind) {
        strict::normalize(&mut object, definition.node())?;
    }
    if is_whole {
        form.strategy.default(&mut object);
    }
    Ok(object)
}
