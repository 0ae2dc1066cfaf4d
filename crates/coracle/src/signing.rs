//! The cluster's keys, plugged into the controllers that sign.

use std::fmt;
use std::sync::Arc;

use auth::pki::Pki;
use auth::token::{Claims, ISSUER, Private, Reference};
use client::BoxError;
use controllers::{Signer, Wish};

/// Tokens in secrets end with the secret; the time in them is there because a token has one.
const SECRET_TOKEN_SECONDS: u64 = 100 * 365 * 24 * 3600;

pub struct ClusterSigner(pub Arc<Pki>);

impl fmt::Debug for ClusterSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSigner")
    }
}

impl Signer for ClusterSigner {
    fn certificate(&self, wish: &Wish<'_>) -> Result<String, BoxError> {
        Ok(self.0.ca.sign_as_requested(wish.request, wish.usages, wish.lifetime)?)
    }

    fn secret_token(&self, namespace: &str, account: (&str, &str), secret: (&str, &str)) -> Result<String, BoxError> {
        let reference = |(name, uid): (&str, &str)| Reference { name: name.into(), uid: uid.into() };
        let private = Private {
            namespace: namespace.into(),
            serviceaccount: reference(account),
            secret: Some(reference(secret)),
            ..Private::default()
        };
        let claims = Claims::new(private, vec![ISSUER.to_owned()], SECRET_TOKEN_SECONDS);
        Ok(self.0.service_accounts.sign(&claims)?)
    }
}
