//! How a node joins: a token in k3s' form that pins the cluster's authority and carries a password.
//!
//! The node fetches `/cacerts` without trust, compares its digest with the token's, and from then on trusts that
//! authority alone. It posts a [`JoinRequest`] with basic authentication (`node:<password>`) and gets a
//! [`JoinResponse`]. The node's own secret keeps another machine from taking its name later.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where the endpoints are.
pub const CA_PATH: &str = "/cacerts";
pub const JOIN_PATH: &str = "/v1-coracle/node-certificates";

/// `K10<sha256 of the authority's PEM>::server:<password>`; the pin may be absent (`<password>` alone).
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub ca_digest: Option<String>,
    pub user: String,
    pub password: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoinTokenError {
    #[error("the token is empty")]
    Empty,
    #[error("the token begins with K10 but has no \"::\" after the digest")]
    Shape,
    #[error("the token's digest has {0} characters instead of 64")]
    Digest(usize),
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<JoinToken, JoinTokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(JoinTokenError::Empty);
        }
        let Some(rest) = text.strip_prefix("K10") else {
            return Ok(JoinToken { ca_digest: None, user: "server".into(), password: text.into() });
        };
        let (digest, credentials) = rest.split_once("::").ok_or(JoinTokenError::Shape)?;
        if digest.len() != 64 {
            return Err(JoinTokenError::Digest(digest.len()));
        }
        let (user, password) = credentials.split_once(':').unwrap_or(("server", credentials));
        Ok(JoinToken { ca_digest: Some(digest.into()), user: user.into(), password: password.into() })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ca_digest {
            Some(digest) => write!(f, "K10{digest}::{}:{}", self.user, self.password),
            None => f.write_str(&self.password),
        }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("ca_digest", &self.ca_digest).finish_non_exhaustive()
    }
}

impl JoinToken {
    pub fn new(ca_digest: String, password: &str) -> JoinToken {
        JoinToken { ca_digest: Some(ca_digest), user: "server".into(), password: password.into() }
    }

    /// Whether an authority fetched without trust is the one that the token names.
    pub fn pins(&self, ca_pem: &str) -> bool {
        let digest: String = Sha256::digest(ca_pem.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        self.ca_digest.as_ref().is_none_or(|pinned| *pinned == digest)
    }
}

/// Compares secrets in a time that does not depend on where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

/// What a node posts to [`JOIN_PATH`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    pub node_name: String,
    /// A secret that the node made itself and keeps: the name is its own from the first join on.
    pub node_password: String,
    pub node_addresses: Vec<IpAddr>,
    /// PKCS#10, PEM.
    pub client_request: String,
    pub serving_request: String,
}

/// The signed certificates, PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinResponse {
    pub client_certificate: String,
    pub serving_certificate: String,
    pub ca_certificate: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written() {
        let text = format!("K10{}::server:secret", "a".repeat(64));
        let token: JoinToken = text.parse().unwrap();
        assert_eq!((token.user.as_str(), token.password.as_str()), ("server", "secret"));
        assert_eq!(token.to_string(), text);
        assert_eq!(JoinTokenError::Shape, "K10abc".parse::<JoinToken>().unwrap_err());
        assert_eq!(JoinTokenError::Digest(3), "K10abc::server:x".parse::<JoinToken>().unwrap_err());
    }

    #[test]
    fn a_token_pins_one_authority() {
        let pki = crate::pki::Pki::ephemeral().unwrap();
        let token = JoinToken::new(pki.ca.digest(), "secret");
        assert!(token.pins(pki.ca_pem()));
        assert!(!token.pins(crate::pki::Pki::ephemeral().unwrap().ca_pem()));
    }
}
