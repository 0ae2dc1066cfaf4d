//! One exchange with one webhook.

use std::time::Instant;

use http::StatusCode;

use super::errors::{CallError, denial};
use super::hook::Hook;
use super::post::post;
use super::review::{self, Answer};
use crate::Request;
use crate::matching::Target;
use crate::metrics::Asked;

/// Asks; a denial is an error. What the webhook says besides is passed on.
pub async fn ask(hook: &Hook, request: &Request<'_>, target: &Target, mutating: bool) -> Result<Answer, CallError> {
    hook.check_dry_run(request)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(request, target, &uid).to_string();
    let body = exchange(hook, request, question).await?;
    let unusable = |why| CallError::failed(&hook.name, why, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    let answer = review::answer(&body, &uid, mutating).map_err(unusable)?;
    pass_on(hook, request, &answer);
    if answer.allowed {
        return Ok(answer);
    }
    Err(CallError::Denied(Box::new(denial(&hook.name, answer.result))))
}

async fn exchange(hook: &Hook, request: &Request<'_>, question: String) -> Result<Vec<u8>, CallError> {
    let caller = request.services.caller.as_ref();
    let posted = post(caller, request.store, &hook.endpoint, hook.timeout, question).await;
    posted.map_err(|error| CallError::failed(&hook.name, format!("failed to call webhook: {error}"), error.code))
}

fn pass_on(hook: &Hook, request: &Request<'_>, answer: &Answer) {
    for (key, value) in &answer.audit_annotations {
        request.annotate(&format!("{}/{key}", hook.name), value.as_str());
    }
    answer.warnings.iter().for_each(|text| request.warn(text.as_str()));
}

/// Counts how a webhook was asked.
pub fn count(hook: &Hook, request: &Request<'_>, kind: &'static str, began: Instant, error: Option<&CallError>) {
    let open = hook.ignores_failure && matches!(error, Some(CallError::Failed { .. }));
    let asked = Asked { took: began.elapsed(), error, open };
    request.services.metrics.webhook(&hook.name, kind, request.operation, asked);
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
