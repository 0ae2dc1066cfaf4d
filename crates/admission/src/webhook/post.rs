//! One question to a webhook of any kind: admission, or the conversion of custom objects.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use store::Store;

use super::caller::{Exchange, WebhookCaller};
use super::endpoint::{Destination, Endpoint};

/// A future that may be part of something shared, such as the stream of a watch. Only its owner polls it.
struct Shareable<F>(Mutex<F>);

impl<F: Future + Unpin> Future for Shareable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(self.0.get_mut()).poll(context)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct PostError {
    pub why: String,
    /// What the webhook answered; 503 where it did not.
    pub code: u16,
}

const UNAVAILABLE: u16 = 503;

/// Posts a question and gives back the body of a successful answer, or why there is none.
pub async fn post(
    caller: &dyn WebhookCaller,
    store: &Store,
    endpoint: &Endpoint,
    timeout: Duration,
    question: String,
) -> Result<Vec<u8>, PostError> {
    let url = url(&endpoint.url, timeout);
    let told = |why: String| PostError { why: format!("Post {url:?}: {why}"), code: UNAVAILABLE };
    let destination = match &endpoint.service {
        Some(service) => Some(service.resolve(store).map_err(told)?),
        None => None,
    };
    let exchange = Exchange {
        url: url.clone(),
        destination: destination.unwrap_or_else(|| Destination::Addresses(Vec::new())),
        ca_bundle: endpoint.ca_bundle.clone(),
        body: question.into(),
    };
    let calling = tokio::time::timeout(timeout, Shareable(Mutex::new(caller.call(exchange)))).await;
    let response = match calling {
        Ok(response) => response.map_err(|error| told(error.to_string()))?,
        Err(_) => return Err(told("context deadline exceeded".into())),
    };
    match response.code {
        200..=299 => Ok(response.body),
        code => Err(PostError { why: refusal(code, &response.body), code }),
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
