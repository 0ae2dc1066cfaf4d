//! Service-account tokens: signed statements about a service account, bound to a pod, node or secret and to audiences.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::remembered::Remembered;

/// `iss` of every token, and the API server's own audience.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the signing key is malformed")]
    Key(#[source] rcgen::Error),
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
    /// Claims that begin now and last `seconds`.
    pub fn new(private: Private, audiences: Vec<String>, seconds: u64) -> Claims {
        let now = now();
        Claims {
            aud: audiences,
            exp: now + seconds,
            iat: now,
            iss: ISSUER.to_string(),
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

/// The key that signs and verifies tokens (ES256).
pub struct ServiceAccountKey {
    id: String,
    public: Vec<u8>,
    encoding: EncodingKey,
    decoding: DecodingKey,
    verified: Remembered<Claims>,
}

impl ServiceAccountKey {
    pub fn from_pem(pem: &str) -> Result<ServiceAccountKey, TokenError> {
        let pair = KeyPair::from_pem(pem).map_err(TokenError::Key)?;
        let id = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info()));
        Ok(ServiceAccountKey {
            id,
            public: pair.public_key_raw().to_vec(),
            encoding: EncodingKey::from_ec_pem(pem.as_bytes())?,
            decoding: DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes())?,
            verified: Remembered::default(),
        })
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = Header { kid: Some(self.id.clone()), typ: None, ..Header::new(Algorithm::ES256) };
        Ok(jsonwebtoken::encode(&header, claims, &self.encoding)?)
    }

    /// Claims of any form, for tests of other issuers.
    #[cfg(test)]
    pub fn sign_any(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding).expect("the key signs")
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
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_aud = false;
        validation.validate_exp = false;
        validation.set_issuer(&[ISSUER]);
        Ok(jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)?.claims)
    }

    /// The public key as a JSON web key set (`/openid/v1/jwks`).
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let coordinate = |from: usize| self.public.get(from..from + 32).unwrap_or_default();
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": BASE64_URL_SAFE_NO_PAD.encode(coordinate(1)),
            "y": BASE64_URL_SAFE_NO_PAD.encode(coordinate(33)),
        }]})
    }
}
