//! The cluster's keys and certificates, on disk under kubeadm's names.
//!
//! `ca`, `front-proxy-ca` and `sa` are made once and never replaced; leaf certificates are made anew when they come
//! near their end or their names change. Start at [`Pki::open`].

mod authority;
pub mod bundle;
mod files;
mod leaf;
mod requested;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use authority::Authority;
pub use leaf::{Credentials, Names, Profile, end_of};
pub use tls::{ClientTrust, ServerIdentity, ServerTrust, client_config, proxy_config, server_config, trusting};

use crate::token::ServiceAccountKeys;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// A leaf is renewed when less than this is left of it.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("access {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("make or read the certificate {name:?}")]
    Certificate {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("the certificate {name:?} cannot be parsed")]
    Malformed { name: String },
    #[error("the certificate request may not be signed: {reason}")]
    Refused { reason: &'static str },
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("read the service account key")]
    Key(#[source] crate::token::TokenError),
}

/// All keys of a control plane.
pub struct Pki {
    dir: Option<PathBuf>,
    pub ca: Authority,
    pub front_proxy: Authority,
    pub service_accounts: ServiceAccountKeys,
}

impl Pki {
    /// Loads the keys from a directory, making what is missing.
    pub fn open(dir: &Path) -> Result<Pki, PkiError> {
        files::make_dir(dir)?;
        let ca = Authority::open(Some(dir), "ca", "kubernetes")?;
        let front_proxy = Authority::open(Some(dir), "front-proxy-ca", "front-proxy-ca")?;
        let key = files::load_or_make(&dir.join("sa.key"), leaf::new_key)?;
        let service_accounts = ServiceAccountKeys::from_pem(&key).map_err(PkiError::Key)?;
        files::write_public(&dir.join("sa.pub"), &leaf::public_pem(&key)?)?;
        Ok(Pki { dir: Some(dir.to_path_buf()), ca, front_proxy, service_accounts })
    }

    /// Keys that live as long as the process: tests and throw-away servers.
    pub fn ephemeral() -> Result<Pki, PkiError> {
        let ca = Authority::open(None, "ca", "kubernetes")?;
        let front_proxy = Authority::open(None, "front-proxy-ca", "front-proxy-ca")?;
        let service_accounts = ServiceAccountKeys::from_pem(&leaf::new_key()?).map_err(PkiError::Key)?;
        Ok(Pki { dir: None, ca, front_proxy, service_accounts })
    }

    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// The API server's own certificate for these names.
    pub fn server(&self, names: &Names) -> Result<Credentials, PkiError> {
        self.leaf("apiserver", &Profile::Server { common_name: "kube-apiserver", names: names.clone() })
    }

    /// A client certificate under a file name: `admin`, `controller-manager`, `apiserver-kubelet-client`, …
    pub fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<Credentials, PkiError> {
        self.leaf(file, &Profile::Client { common_name: user.into(), organization: group.map(Into::into) })
    }

    /// What administrators use.
    pub fn admin(&self) -> Result<Credentials, PkiError> {
        self.client("admin", "system:admin", Some(crate::names::MASTERS))
    }

    /// What the API server shows to kubelets.
    pub fn kubelet_client(&self) -> Result<Credentials, PkiError> {
        self.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some(crate::names::MASTERS))
    }

    fn leaf(&self, file: &str, profile: &Profile) -> Result<Credentials, PkiError> {
        let Some(dir) = &self.dir else { return self.ca.issue(profile) };
        if let Some(kept) = files::load_pair(dir, file)?
            && leaf::is_fit(&kept.cert_pem, &self.ca, profile, RENEW_BEFORE)
        {
            return Ok(kept);
        }
        let made = self.ca.issue(profile)?;
        files::store_pair(dir, file, &made)?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
