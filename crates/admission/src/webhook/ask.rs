//! One exchange with one webhook.

use super::errors::{CallError, denial};
use super::hook::Hook;
use super::post::post;
use super::review::{self, Answer};
use crate::Request;
use crate::matching::Target;

/// Asks; a denial is an error. What the webhook says besides is passed on.
pub async fn ask(hook: &Hook, request: &Request<'_>, target: &Target, mutating: bool) -> Result<Answer, CallError> {
    hook.check_dry_run(request)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(request, target, &uid).to_string();
    let body = exchange(hook, request, question).await.map_err(|why| CallError::failed(&hook.name, why))?;
    let answer = review::answer(&body, &uid, mutating).map_err(|why| CallError::failed(&hook.name, why))?;
    pass_on(hook, request, &answer);
    if answer.allowed {
        return Ok(answer);
    }
    Err(CallError::Denied(Box::new(denial(&hook.name, answer.result))))
}

async fn exchange(hook: &Hook, request: &Request<'_>, question: String) -> Result<Vec<u8>, String> {
    let caller = request.services.caller.as_ref();
    let posted = post(caller, request.store, &hook.endpoint, hook.timeout, question).await;
    posted.map_err(|why| format!("failed to call webhook: {why}"))
}

fn pass_on(hook: &Hook, request: &Request<'_>, answer: &Answer) {
    for (key, value) in &answer.audit_annotations {
        request.annotate(&format!("{}/{key}", hook.name), value.as_str());
    }
    answer.warnings.iter().for_each(|text| request.warn(text.as_str()));
}

/// Whether the request goes on although a call failed: the failure policy says so.
pub fn failing_open(hook: &Hook, error: &CallError) -> bool {
    let open = hook.ignores_failure && matches!(error, CallError::Failed { .. });
    if let (true, CallError::Failed { why, .. }) = (open, error) {
        tracing::warn!(
            webhook = hook.name,
            configuration = hook.configuration,
            error = why,
            "a webhook failed and is ignored"
        );
    }
    open
}
