//! Service account tokens for projected volumes: asked for, kept, and replaced before they end.

use std::collections::HashMap;

use api::authenticationv1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use api::corev1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use client::Api;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::context::Context;
use crate::pods::model::{spec, uid};

/// A token is replaced after 80 % of its life, or after a day.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

#[derive(Default)]
pub struct Tokens(Mutex<HashMap<Key, Kept>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pod: String,
    audience: Option<String>,
    seconds: Option<i64>,
}

#[derive(Clone)]
struct Kept {
    token: String,
    expires_at: Timestamp,
    replace_at: Timestamp,
}

impl Tokens {
    /// When the first token of a pod is to be replaced.
    pub fn replace_at(&self, pod_uid: &str) -> Option<Timestamp> {
        let kept = self.0.lock();
        kept.iter().filter(|(key, _)| key.pod == pod_uid).map(|(_, kept)| kept.replace_at).min()
    }

    pub fn forget(&self, pod_uid: &str) {
        self.0.lock().retain(|key, _| key.pod != pod_uid);
    }
}

pub async fn get(context: &Context, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<String, String> {
    let key = Key { pod: uid(pod).to_owned(), audience: source.audience.clone(), seconds: source.expiration_seconds };
    let now = context.clock.now();
    let kept = context.tokens.0.lock().get(&key).cloned();
    if let Some(kept) = kept.as_ref().filter(|kept| now < kept.replace_at) {
        return Ok(kept.token.clone());
    }
    match request(context, pod, source).await {
        Ok((token, expires_at)) => {
            let kept = Kept { token: token.clone(), expires_at, replace_at: replace_at(now, expires_at) };
            context.tokens.0.lock().insert(key, kept);
            Ok(token)
        }
        // The old one still holds; the next refresh tries again.
        Err(error) => match kept.filter(|kept| now < kept.expires_at) {
            Some(kept) => Ok(kept.token),
            None => Err(format!("failed to fetch token: {error}")),
        },
    }
}

fn replace_at(now: Timestamp, expires_at: Timestamp) -> Timestamp {
    let life = expires_at.duration_since(now);
    now + (life * 4 / 5).min(AGE_MAX)
}

async fn request(
    context: &Context,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
) -> Result<(String, Timestamp), client::Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let account = spec(pod).service_account_name.as_deref().unwrap_or("default");
    let audience = source.audience.clone().filter(|audience| !audience.is_empty());
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: audience.map(|audience| vec![audience]),
            expiration_seconds: Some(source.expiration_seconds.unwrap_or(3600)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(&context.client, namespace);
    let answer: TokenRequest = accounts.create_subresource(account, "token", &body).await?;
    let status = answer.status.unwrap_or_default();
    let expires_at = status.expiration_timestamp.map_or_else(|| context.clock.now(), |time| time.0);
    Ok((status.token.unwrap_or_default(), expires_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_ends() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        assert_eq!(replace_at(at(0), at(1000)), at(800));
        assert_eq!(replace_at(at(0), at(1_000_000)), at(86_400));
    }
}
