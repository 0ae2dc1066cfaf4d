//! One exchange with one webhook.

use std::time::Duration;

use super::caller::Exchange;
use super::endpoint::Destination;
use super::errors::{CallError, denial};
use super::hook::Hook;
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
    let url = url(&hook.endpoint.url, hook.timeout);
    let told = |why: String| format!("failed to call webhook: Post {url:?}: {why}");
    let destination = match &hook.endpoint.service {
        Some(service) => Some(service.resolve(request.store).map_err(told)?),
        None => None,
    };
    let exchange = Exchange {
        url: url.clone(),
        destination: destination.unwrap_or_else(|| Destination::Addresses(Vec::new())),
        ca_bundle: hook.endpoint.ca_bundle.clone(),
        body: question.into(),
    };
    let calling = tokio::time::timeout(hook.timeout, request.services.caller.call(exchange)).await;
    let response = match calling {
        Ok(response) => response.map_err(|error| told(error.to_string()))?,
        Err(_) => return Err(told("context deadline exceeded".into())),
    };
    match response.code {
        200..=299 => Ok(response.body),
        code => Err(format!("failed to call webhook: {}", refusal(code, &response.body))),
    }
}

fn url(base: &str, timeout: Duration) -> String {
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}timeout={}s", timeout.as_secs())
}

/// What upstream's client makes of a response that is no success.
fn refusal(code: u16, body: &[u8]) -> String {
    match code {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 => String::from_utf8_lossy(body).into_owned(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into()
        }
        500.. => {
            let text = serde_json::to_string(String::from_utf8_lossy(body).trim()).expect("a string is JSON");
            format!("an error on the server ({text}) has prevented the request from succeeding")
        }
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
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
