//! The loop that every certificate has.

use std::time::Duration;

use client::BoxError;
use jiff::Timestamp;
use rt::Backoff;

use super::validity;

const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_mins(5);
/// Clocks of machines that sleep stand still: the time is looked at again now and then.
const LOOK: Duration = Duration::from_hours(1);

/// Replaces a certificate when its time comes, for ever. `next` gets another, gives it to those who use it, and returns it;
/// nothing is kept where there is none yet.
pub async fn renew(
    what: &'static str,
    mut cert_pem: Option<String>,
    mut next: impl AsyncFnMut() -> Result<String, BoxError>,
) {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, 2.0);
    loop {
        until_due(cert_pem.as_deref()).await;
        match next().await {
            Ok(renewed) => {
                tracing::info!(what, "a certificate was renewed");
                cert_pem = Some(renewed);
                backoff.reset();
            }
            Err(error) => {
                tracing::warn!(what, error = &*error as &dyn std::error::Error, "no new certificate");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn until_due(cert_pem: Option<&str>) {
    let Some(life) = cert_pem.and_then(validity) else { return };
    let due = life.renewal(rand::random());
    while let Ok(left) = Duration::try_from(due.duration_since(Timestamp::now())) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
