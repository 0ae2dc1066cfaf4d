//! Service-account tokens: signed statements about a service account, bound to a pod, node or secret and to audiences.

mod key;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use key::{PublicKey, SignatureAlgorithm, SigningKey};

use crate::remembered::Remembered;

/// `iss` of tokens, and the API server's own audience, where nothing else was said.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("data does not contain a valid RSA or ECDSA private key")]
    NoPrivateKey,
    #[error("data does not contain any valid RSA or ECDSA public keys")]
    NoPublicKey,
    #[error("the key does not sign")]
    Sign,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("no key of this server has signed the token")]
    Signature,
    #[error("read or write the claims of the token")]
    Claims(#[source] serde_json::Error),
    #[error("sign or verify the token")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
}

/// An object that a token names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// From here on the token is used beyond the lifetime that its holder asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: u64,
    pub iat: u64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub private: Private,
    pub nbf: u64,
    pub sub: String,
}

impl Claims {
    /// Claims that begin now and last `seconds`; who signs them puts its name in.
    pub fn new(private: Private, audiences: Vec<String>, seconds: u64) -> Claims {
        let now = now();
        Claims {
            aud: audiences,
            exp: now + seconds,
            iat: now,
            iss: String::new(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!(
                "{}{}:{}",
                crate::names::SERVICE_ACCOUNT_USER_PREFIX,
                private.namespace,
                private.serviceaccount.name
            ),
            private,
            nbf: now,
        }
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What tokens say of their issuer, and whom they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// The first signs, all are accepted.
    pub issuers: Vec<String>,
    /// What a token must be for to be taken by the API.
    pub audiences: Vec<String>,
    /// Where the public keys are [none: below the issuer].
    pub jwks_uri: Option<String>,
    /// Whether a pod's token is taken for a year, with a warning, after its time is over.
    pub extend_expiration: bool,
}

impl Default for Issuance {
    fn default() -> Self {
        let own = vec![ISSUER.to_owned()];
        Issuance { issuers: own.clone(), audiences: own, jwks_uri: None, extend_expiration: true }
    }
}

impl Issuance {
    pub fn issuer(&self) -> &str {
        self.issuers.first().map_or(ISSUER, String::as_str)
    }

    /// Where others find the public keys.
    pub fn jwks_uri(&self) -> String {
        self.jwks_uri.clone().unwrap_or_else(|| format!("{}/openid/v1/jwks", self.issuer().trim_end_matches('/')))
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    kid: String,
}

/// The key that signs tokens, and all that verify them.
pub struct ServiceAccountKeys {
    signing: SigningKey,
    public: Vec<PublicKey>,
    issuance: Issuance,
    verified: Remembered<Claims>,
}

impl ServiceAccountKeys {
    /// One key that signs and verifies.
    pub fn from_pem(pem: &str) -> Result<ServiceAccountKeys, TokenError> {
        let signing = SigningKey::from_pem(pem)?;
        let public = vec![signing.public().clone()];
        Ok(ServiceAccountKeys::new(signing, public, Issuance::default()))
    }

    pub fn new(signing: SigningKey, public: Vec<PublicKey>, issuance: Issuance) -> ServiceAccountKeys {
        ServiceAccountKeys { signing, public, issuance, verified: Remembered::default() }
    }

    pub fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// Signs claims in the issuer's name.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let claims = Claims { iss: self.issuance.issuer().to_owned(), ..claims.clone() };
        self.sign_claims(&claims)
    }

    /// Claims of any form, for tests of other issuers.
    #[cfg(test)]
    pub fn sign_any(&self, claims: &Value) -> String {
        self.sign_claims(claims).expect("the key signs")
    }

    fn sign_claims(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let public = self.signing.public();
        let header = Header { alg: public.algorithm().name().to_owned(), kid: public.id().to_owned() };
        let message = format!("{}.{}", encoded(&header)?, encoded(claims)?);
        let signature = self.signing.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Verifies signature, issuer and times; audiences and bindings are the authenticator's.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        let claims = self.verified.get_or_verify([token.as_bytes()], || self.verify_signature(token))?;
        let now = now();
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf > now + 60 {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    fn verify_signature(&self, token: &str) -> Result<Claims, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decoded(header)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        if !self.keys_for(&header).any(|key| key.verifies(message.as_bytes(), &signature)) {
            return Err(TokenError::Signature);
        }
        let claims: Claims = decoded(claims)?;
        self.issuance.issuers.contains(&claims.iss).then_some(claims).ok_or(TokenError::Issuer)
    }

    /// The key that the token names, or every key when it names none; never one of another algorithm.
    fn keys_for(&self, header: &Header) -> impl Iterator<Item = &PublicKey> {
        let named = |key: &PublicKey| header.kid.is_empty() || key.id() == header.kid;
        self.public.iter().filter(move |key| key.algorithm().name() == header.alg && named(key))
    }

    /// Names of the algorithms of all public keys.
    pub fn algorithms(&self) -> Vec<&'static str> {
        let names: BTreeSet<&str> = self.public.iter().map(|key| key.algorithm().name()).collect();
        names.into_iter().collect()
    }

    /// The public keys as a JSON web key set (`/openid/v1/jwks`).
    pub fn key_set(&self) -> Value {
        json!({"keys": self.public.iter().map(PublicKey::web_key).collect::<Vec<_>>()})
    }
}

fn encoded(part: &impl Serialize) -> Result<String, TokenError> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).map_err(TokenError::Claims)?))
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(TokenError::Claims)
}
