//! Keys, plugged into the controllers that sign: the cluster's own beside the server, or those of files.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use auth::pki::{Authority, Pki};
use auth::token::{Claims, Private, Reference, ServiceAccountKeys, TokenError};
use clap::Args;
use client::BoxError;
use controllers::{CertificateSigner, TokenSigner, Wish};

/// Tokens in secrets end with the secret; the time in them is there because a token has one.
const SECRET_TOKEN_SECONDS: u64 = 100 * 365 * 24 * 3600;

pub struct ClusterSigner(pub Arc<Pki>);

impl fmt::Debug for ClusterSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSigner")
    }
}

impl CertificateSigner for ClusterSigner {
    fn signs(&self, _: &str) -> bool {
        true
    }

    fn certificate(&self, wish: &Wish<'_>) -> Result<String, BoxError> {
        Ok(self.0.ca.sign_as_requested(wish.request, wish.usages, wish.lifetime)?)
    }
}

impl TokenSigner for ClusterSigner {
    fn secret_token(&self, namespace: &str, account: (&str, &str), secret: (&str, &str)) -> Result<String, BoxError> {
        Ok(secret_token(&self.0.service_accounts, namespace, account, secret)?)
    }
}

fn secret_token(
    key: &ServiceAccountKeys,
    namespace: &str,
    account: (&str, &str),
    secret: (&str, &str),
) -> Result<String, TokenError> {
    let reference = |(name, uid): (&str, &str)| Reference { name: name.into(), uid: uid.into() };
    let private = Private {
        namespace: namespace.into(),
        serviceaccount: reference(account),
        secret: Some(reference(secret)),
        ..Private::default()
    };
    key.sign(&Claims::new(private, key.issuance().audiences.clone(), SECRET_TOKEN_SECONDS))
}

/// Flags have the names of kube-controller-manager's.
#[derive(Args)]
pub struct KeyFiles {
    /// The authority that signs certificates for all signers of Kubernetes [default: none are signed]
    #[arg(long, value_name = "FILE")]
    cluster_signing_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    cluster_signing_key_file: Option<PathBuf>,
    /// The authority for kubernetes.io/kube-apiserver-client alone
    #[arg(long, value_name = "FILE")]
    cluster_signing_kube_apiserver_client_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    cluster_signing_kube_apiserver_client_key_file: Option<PathBuf>,
    /// The authority for kubernetes.io/kube-apiserver-client-kubelet alone
    #[arg(long, value_name = "FILE")]
    cluster_signing_kubelet_client_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    cluster_signing_kubelet_client_key_file: Option<PathBuf>,
    /// The authority for kubernetes.io/kubelet-serving alone
    #[arg(long, value_name = "FILE")]
    cluster_signing_kubelet_serving_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    cluster_signing_kubelet_serving_key_file: Option<PathBuf>,
    /// The authority for kubernetes.io/legacy-unknown alone
    #[arg(long, value_name = "FILE")]
    cluster_signing_legacy_unknown_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    cluster_signing_legacy_unknown_key_file: Option<PathBuf>,
    /// What signs tokens in secrets [default: secrets get none]
    #[arg(long, value_name = "FILE")]
    service_account_private_key_file: Option<PathBuf>,
}

impl KeyFiles {
    /// Keys by signer. As soon as one signer has its own, the common one counts for none.
    pub fn certificate_signer(&self) -> anyhow::Result<Option<Arc<dyn CertificateSigner>>> {
        let own = self.by_signer();
        let common = self.cluster_signing_cert_file.as_ref().zip(self.cluster_signing_key_file.as_ref());
        let any_own = own.iter().any(|(_, cert, key)| cert.is_some() || key.is_some());
        anyhow::ensure!(
            !any_own || common.is_none(),
            "cannot specify default and per controller certs at the same time"
        );
        let mut files = Vec::new();
        for (signer, cert, key) in own {
            let (cert, key) = match (cert, key, common) {
                (Some(cert), Some(key), _) => (cert, key),
                (None, None, Some(common)) => common,
                (None, None, None) => continue,
                _ => anyhow::bail!("failed to start {signer} certificate controller: it needs a certificate and a key"),
            };
            let pair = AuthorityFiles { signer, cert: cert.clone(), key: key.clone() };
            pair.read().with_context(|| format!("failed to start {signer} certificate controller"))?;
            files.push(pair);
        }
        Ok((!files.is_empty()).then(|| Arc::new(FileSigner(files)) as Arc<dyn CertificateSigner>))
    }

    fn by_signer(&self) -> [(&'static str, Option<&PathBuf>, Option<&PathBuf>); 4] {
        [
            (
                "kubernetes.io/kube-apiserver-client",
                self.cluster_signing_kube_apiserver_client_cert_file.as_ref(),
                self.cluster_signing_kube_apiserver_client_key_file.as_ref(),
            ),
            (
                "kubernetes.io/kube-apiserver-client-kubelet",
                self.cluster_signing_kubelet_client_cert_file.as_ref(),
                self.cluster_signing_kubelet_client_key_file.as_ref(),
            ),
            (
                "kubernetes.io/kubelet-serving",
                self.cluster_signing_kubelet_serving_cert_file.as_ref(),
                self.cluster_signing_kubelet_serving_key_file.as_ref(),
            ),
            (
                "kubernetes.io/legacy-unknown",
                self.cluster_signing_legacy_unknown_cert_file.as_ref(),
                self.cluster_signing_legacy_unknown_key_file.as_ref(),
            ),
        ]
    }

    pub fn signs_tokens(&self) -> bool {
        self.service_account_private_key_file.is_some()
    }

    pub fn token_signer(&self) -> anyhow::Result<Option<Arc<dyn TokenSigner>>> {
        let Some(path) = &self.service_account_private_key_file else { return Ok(None) };
        let reading = || format!("read the private key of service accounts {}", path.display());
        let pem = std::fs::read_to_string(path).with_context(reading)?;
        let key = ServiceAccountKeys::from_pem(&pem).with_context(reading)?;
        Ok(Some(Arc::new(FileTokenSigner(key))))
    }
}

/// Authorities of files, read for each signature: they may be replaced while the program runs.
#[derive(Debug)]
struct FileSigner(Vec<AuthorityFiles>);

#[derive(Debug)]
struct AuthorityFiles {
    signer: &'static str,
    cert: PathBuf,
    key: PathBuf,
}

impl AuthorityFiles {
    fn read(&self) -> Result<Authority, auth::pki::PkiError> {
        Authority::read(&self.cert, &self.key)
    }
}

impl FileSigner {
    fn of(&self, signer: &str) -> Option<&AuthorityFiles> {
        self.0.iter().find(|files| files.signer == signer)
    }
}

impl CertificateSigner for FileSigner {
    fn signs(&self, signer: &str) -> bool {
        self.of(signer).is_some()
    }

    fn certificate(&self, wish: &Wish<'_>) -> Result<String, BoxError> {
        let files = self.of(wish.signer).ok_or("there is no key for this signer")?;
        Ok(files.read()?.sign_as_requested(wish.request, wish.usages, wish.lifetime)?)
    }
}

struct FileTokenSigner(ServiceAccountKeys);

impl fmt::Debug for FileTokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileTokenSigner")
    }
}

impl TokenSigner for FileTokenSigner {
    fn secret_token(&self, namespace: &str, account: (&str, &str), secret: (&str, &str)) -> Result<String, BoxError> {
        Ok(secret_token(&self.0, namespace, account, secret)?)
    }
}
