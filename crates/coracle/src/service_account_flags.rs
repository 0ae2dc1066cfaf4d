//! Flags of service-account tokens, under kube-apiserver's names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use auth::pki::Pki;
use auth::token::{Issuance, PublicKey, ServiceAccountKeys, SigningKey};
use clap::Args;

#[derive(Args)]
pub struct ServiceAccountFlags {
    /// The private key that signs tokens [default: the cluster's own]
    #[arg(long, value_name = "FILE", requires = "service_account_key_file")]
    service_account_signing_key_file: Option<PathBuf>,
    /// Keys or certificates that verify tokens, several in a file [default: the cluster's own]
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Vec<PathBuf>,
    /// Whom tokens name as their issuer: the first signs, all are accepted
    #[arg(long)]
    service_account_issuer: Vec<String>,
    /// Where others find the keys [default: below the issuer]
    #[arg(long)]
    service_account_jwks_uri: Option<String>,
    /// What tokens must be for to be taken by the API [default: the issuers]
    #[arg(long, value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Whether tokens of pods are taken for a year, with a warning, after their time is over
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    service_account_extend_token_expiration: bool,
}

impl ServiceAccountFlags {
    /// Puts keys and issuers of the flags in place of the cluster's own.
    pub fn configure(&self, pki: &mut Pki, own_key: &Path) -> anyhow::Result<()> {
        let issuance = self.issuance()?;
        let signing_file = self.service_account_signing_key_file.as_deref().unwrap_or(own_key);
        let reading = || format!("failed to parse service-account-signing-key-file {}", signing_file.display());
        let pem = std::fs::read_to_string(signing_file).with_context(reading)?;
        let signing = SigningKey::from_pem(&pem).with_context(reading)?;
        let public = self.public_keys(&signing)?;
        pki.service_accounts = ServiceAccountKeys::new(signing, public, issuance);
        Ok(())
    }

    fn public_keys(&self, signing: &SigningKey) -> anyhow::Result<Vec<PublicKey>> {
        // The cluster's own key verifies what it signs, whatever other keys verify besides.
        let own = self.service_account_signing_key_file.is_none();
        let mut keys: Vec<PublicKey> = own.then(|| signing.public().clone()).into_iter().collect();
        for file in &self.service_account_key_file {
            let reading = || format!("failed to read service-account-key-file {}", file.display());
            let pem = std::fs::read_to_string(file).with_context(reading)?;
            keys.extend(PublicKey::all_from_pem(&pem).with_context(reading)?);
        }
        Ok(keys)
    }

    fn issuance(&self) -> anyhow::Result<Issuance> {
        let mut seen = BTreeSet::new();
        for issuer in &self.service_account_issuer {
            check_issuer(issuer)?;
            ensure!(seen.insert(issuer), "service-account-issuer {issuer:?} is already specified");
        }
        let default = Issuance::default();
        let or = |given: &Vec<String>, other: Vec<String>| if given.is_empty() { other } else { given.clone() };
        let issuers = or(&self.service_account_issuer, default.issuers);
        Ok(Issuance {
            audiences: or(&self.api_audiences, issuers.clone()),
            issuers,
            jwks_uri: self.service_account_jwks_uri.clone(),
            extend_expiration: self.service_account_extend_token_expiration,
        })
    }
}

/// Any text, but what has a colon must be a URL.
fn check_issuer(issuer: &str) -> anyhow::Result<()> {
    ensure!(!issuer.is_empty(), "service-account-issuer should not be an empty string");
    if issuer.contains(':')
        && let Err(error) = issuer.parse::<http::Uri>()
    {
        bail!("service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: ServiceAccountFlags,
    }

    fn issuance(arguments: &[&str]) -> anyhow::Result<Issuance> {
        Command::parse_from([&["server"], arguments].concat()).flags.issuance()
    }

    #[test]
    fn audiences_are_the_issuers_unless_given() {
        let two = ["--service-account-issuer=https://a", "--service-account-issuer=b"];
        assert_eq!(issuance(&two).unwrap().audiences, ["https://a", "b"]);
        assert_eq!(issuance(&[two[0], "--api-audiences=x,y"]).unwrap().audiences, ["x", "y"]);
        assert_eq!(issuance(&[]).unwrap(), Issuance::default());
    }

    #[test]
    fn issuers_that_upstream_refuses_are_refused() {
        let twice = issuance(&["--service-account-issuer=a", "--service-account-issuer=a"]).unwrap_err();
        assert_eq!(twice.to_string(), "service-account-issuer \"a\" is already specified");
        let empty = issuance(&["--service-account-issuer="]).unwrap_err();
        assert_eq!(empty.to_string(), "service-account-issuer should not be an empty string");
    }
}
