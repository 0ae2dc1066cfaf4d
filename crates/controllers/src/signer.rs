//! The cluster's keys, as controllers see them: the roof plugs in who holds them.

use std::fmt::Debug;
use std::time::Duration;

use client::BoxError;

/// What a certificate may be used for.
pub type Usage = String;

/// A certificate that may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// `kubernetes.io/…`: the signer that is to give it.
    pub signer: &'a str,
    /// PKCS#10 in PEM: key, subject and names are taken from it.
    pub request: &'a str,
    pub usages: &'a [Usage],
    pub lifetime: Duration,
}

/// Signs certificates.
pub trait CertificateSigner: Debug + Send + Sync {
    /// Whether there is a key for the signer of this name.
    fn signs(&self, signer: &str) -> bool;

    /// A certificate in PEM. The caller has seen to it that it may be given.
    fn certificate(&self, wish: &Wish<'_>) -> Result<String, BoxError>;
}

/// Signs tokens of service accounts.
pub trait TokenSigner: Debug + Send + Sync {
    /// A token of a service account, good as long as the secret that it stands in.
    fn secret_token(&self, namespace: &str, account: (&str, &str), secret: (&str, &str)) -> Result<String, BoxError>;
}
