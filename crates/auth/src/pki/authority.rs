//! A certificate authority.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::leaf::{self, Credentials, Profile};
use super::{PkiError, YEAR, files};

/// A self-signed certificate and the key that signs others.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn open(dir: Option<&Path>, file: &str, common_name: &str) -> Result<Authority, PkiError> {
        let kept = dir.map(|dir| files::load_pair(dir, file)).transpose()?.flatten();
        let pair = match kept {
            Some(pair) => pair,
            None => {
                let pair = make(common_name).map_err(|source| certificate(file, source))?;
                if let Some(dir) = dir {
                    files::store_pair(dir, file, &pair)?;
                }
                pair
            }
        };
        Authority::from_pair(file, pair)
    }

    /// Reads an authority that somebody else made: its certificate and its key, both PEM.
    pub fn read(cert: &Path, key: &Path) -> Result<Authority, PkiError> {
        let pair = Credentials { cert_pem: files::read(cert)?, key_pem: files::read(key)? };
        Authority::from_pair(&cert.display().to_string(), pair)
    }

    fn from_pair(name: &str, pair: Credentials) -> Result<Authority, PkiError> {
        let key = KeyPair::from_pem(&pair.key_pem).map_err(|source| certificate(name, source))?;
        let issuer = Issuer::from_ca_cert_pem(&pair.cert_pem, key).map_err(|source| certificate(name, source))?;
        let malformed = |_| PkiError::Malformed { name: name.to_string() };
        let der = CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).map_err(malformed)?;
        Ok(Authority { pem: pair.cert_pem, der, issuer })
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// What a join token pins: the digest of the PEM file.
    pub fn digest(&self) -> String {
        Sha256::digest(self.pem.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A new key with a certificate for it.
    pub fn issue(&self, profile: &Profile) -> Result<Credentials, PkiError> {
        let key = KeyPair::generate().map_err(|source| certificate("leaf", source))?;
        let params = leaf::params(profile)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(|source| certificate("leaf", source))?;
        Ok(Credentials { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// A certificate for the key of a request. Only the key is taken from it: names come from the profile, which the
    /// caller has authorized.
    pub fn sign_request(&self, request_pem: &str, profile: &Profile) -> Result<String, PkiError> {
        let refused = |_| PkiError::Refused { reason: "it is not a valid PKCS#10 request in PEM" };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(refused)?;
        request.params = leaf::params(profile)?;
        let cert = request.signed_by(&self.issuer).map_err(|source| certificate("request", source))?;
        Ok(cert.pem())
    }
}

fn make(common_name: &str) -> Result<Credentials, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = leaf::distinguished_name(common_name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
    leaf::set_validity(&mut params, 10 * YEAR);
    Ok(Credentials { cert_pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
}

fn certificate(name: &str, source: rcgen::Error) -> PkiError {
    PkiError::Certificate { name: name.to_string(), source }
}
