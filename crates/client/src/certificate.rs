//! A client's certificate that is replaced while the client works.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::BoxError;

/// The certificate that new connections show. After a replacement no request is sent on a connection that showed another.
#[derive(Debug)]
pub struct ClientCertificate(ArcSwap<CertifiedKey>);

impl ClientCertificate {
    pub fn new(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<Self>, BoxError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(cert_pem, key_pem)?))))
    }

    pub fn replace(&self, cert_pem: &[u8], key_pem: &[u8]) -> Result<(), BoxError> {
        self.0.store(Arc::new(certified(cert_pem, key_pem)?));
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, BoxError> {
    let chain = CertificateDer::pem_slice_iter(cert_pem).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem)?;
    Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)
}
