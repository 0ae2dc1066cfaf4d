//! Who asks, and whether he may: the API server is asked (TokenReview, SubjectAccessReview), and its answers are remembered for
//! a while.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use api::authenticationv1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use api::authorizationv1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use client::{Api, Client, Error};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::attributes::{Attributes, attributes};

/// Upstream's defaults.
const TOKEN_KEPT: Duration = Duration::from_mins(2);
const ALLOWED_KEPT: Duration = Duration::from_mins(5);
const REFUSED_KEPT: Duration = Duration::from_secs(30);
/// Answers remembered at once.
const ANSWERS_MAX: usize = 1000;

const MASTERS: &str = "system:masters";

/// A user of the kubelet's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Whom a connection's certificates stand for, if they are trusted.
pub type Identify = dyn Fn(&[CertificateDer<'static>]) -> Option<Caller> + Send + Sync;

pub struct Access {
    client: Client,
    node_name: String,
    identify: Box<Identify>,
    tokens: Answers<[u8; 32], Caller>,
    reviews: Answers<(Caller, &'static str, &'static str), bool>,
}

/// Why somebody is sent away.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub StatusCode, pub String);

impl Access {
    pub fn new(client: Client, node_name: &str, identify: Box<Identify>) -> Self {
        let (tokens, reviews) = (Answers::default(), Answers::default());
        Self { client, node_name: node_name.to_owned(), identify, tokens, reviews }
    }

    pub async fn check(
        &self,
        certificates: &[CertificateDer<'static>],
        headers: &HeaderMap,
        method: &str,
        path: &str,
    ) -> Result<(), Refusal> {
        let caller = self.authenticate(certificates, headers).await;
        let Some(caller) = caller else { return Err(Refusal(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned())) };
        let attributes = attributes(method, path);
        match self.may(&caller, &attributes).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal(StatusCode::FORBIDDEN, forbidden(&caller, &attributes))),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    user = caller.name,
                    "no word on authorization"
                );
                let why = format!(
                    "Authorization error (user={}, verb={}, resource=nodes, subresource(s)={:?})\n",
                    caller.name, attributes.verb, attributes.subresources
                );
                Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, why))
            }
        }
    }

    async fn authenticate(&self, certificates: &[CertificateDer<'static>], headers: &HeaderMap) -> Option<Caller> {
        if let Some(caller) = (self.identify)(certificates) {
            return Some(caller);
        }
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return None;
        }
        match self.caller_of_token(token.trim()).await {
            Ok(caller) => caller,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no word on a token");
                None
            }
        }
    }

    async fn caller_of_token(&self, token: &str) -> Result<Option<Caller>, Error> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(caller) = self.tokens.get(&digest) {
            return Ok(Some(caller));
        }
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let caller = Api::<TokenReview>::all(&self.client).create(&review).await?.status.and_then(caller);
        if let Some(caller) = &caller {
            self.tokens.put(digest, caller.clone(), TOKEN_KEPT);
        }
        Ok(caller)
    }

    /// Administrators may everything, also while the API server is away.
    async fn may(&self, caller: &Caller, attributes: &Attributes) -> Result<bool, Error> {
        if caller.groups.iter().any(|group| group == MASTERS) {
            return Ok(true);
        }
        for subresource in attributes.subresources {
            if self.review(caller, attributes.verb, subresource).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn review(&self, caller: &Caller, verb: &'static str, subresource: &'static str) -> Result<bool, Error> {
        let asked = (caller.clone(), verb, subresource);
        if let Some(answer) = self.reviews.get(&asked) {
            return Ok(answer);
        }
        let some = |text: &str| Some(text.to_owned());
        let spec = SubjectAccessReviewSpec {
            user: some(&caller.name),
            uid: (!caller.uid.is_empty()).then(|| caller.uid.clone()),
            groups: Some(caller.groups.clone()),
            extra: (!caller.extra.is_empty()).then(|| caller.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                verb: some(verb),
                version: some("v1"),
                resource: some("nodes"),
                subresource: some(subresource),
                name: some(&self.node_name),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = Api::<SubjectAccessReview>::all(&self.client).create(&review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.reviews.put(asked, allowed, if allowed { ALLOWED_KEPT } else { REFUSED_KEPT });
        Ok(allowed)
    }
}

fn forbidden(caller: &Caller, attributes: &Attributes) -> String {
    let Attributes { verb, subresources } = attributes;
    format!(
        "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
        caller.name,
        subresources.join(" ")
    )
}

fn caller(status: TokenReviewStatus) -> Option<Caller> {
    let user = status.user.filter(|_| status.authenticated.unwrap_or_default())?;
    Some(Caller {
        name: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
}

/// Answers, each for its time.
struct Answers<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let answers = self.0.lock();
        answers.get(key).filter(|(_, end)| Instant::now() < *end).map(|(value, _)| value.clone())
    }

    /// Where too many are remembered, those that are over go; if none is, all.
    fn put(&self, key: K, value: V, kept: Duration) {
        let now = Instant::now();
        let mut answers = self.0.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (_, end)| now < *end);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (value, now + kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_remembered_for_their_time_and_not_without_bound() {
        let answers = Answers::<usize, bool>::default();
        answers.put(1, true, ALLOWED_KEPT);
        answers.put(2, false, REFUSED_KEPT);
        tokio::time::advance(REFUSED_KEPT).await;
        assert_eq!((answers.get(&1), answers.get(&2)), (Some(true), None));
        for number in 0..3 * ANSWERS_MAX {
            answers.put(number, true, ALLOWED_KEPT);
        }
        assert!(answers.0.lock().len() <= ANSWERS_MAX);
    }
}
