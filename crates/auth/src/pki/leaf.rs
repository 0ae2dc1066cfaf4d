//! Certificates of servers and clients.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, PkiError, YEAR};

/// A certificate with its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub cert_pem: String,
    pub key_pem: String,
}

/// The names that a server answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// Sorts texts into addresses and DNS names.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Names {
        let mut names = Names::default();
        for text in texts {
            match text.parse() {
                Ok(address) => names.addresses.insert(address),
                Err(_) => names.dns.insert(text.to_string()),
            };
        }
        names
    }
}

/// What a certificate is for.
#[derive(Clone, Debug)]
pub enum Profile {
    Client {
        common_name: String,
        organization: Option<String>,
    },
    Server {
        common_name: &'static str,
        names: Names,
    },
    /// A kubelet's client certificate.
    KubeletClient {
        node: String,
    },
    /// What a kubelet serves with.
    KubeletServing {
        node: String,
        names: Names,
    },
}

impl Profile {
    fn subject(&self) -> (String, Option<&str>) {
        match self {
            Profile::Client { common_name, organization } => (common_name.clone(), organization.as_deref()),
            Profile::Server { common_name, .. } => (common_name.to_string(), None),
            Profile::KubeletClient { node } | Profile::KubeletServing { node, .. } => {
                (format!("{}{node}", crate::names::NODE_USER_PREFIX), Some(crate::names::NODES))
            }
        }
    }

    fn names(&self) -> Option<&Names> {
        match self {
            Profile::Server { names, .. } | Profile::KubeletServing { names, .. } => Some(names),
            Profile::Client { .. } | Profile::KubeletClient { .. } => None,
        }
    }
}

pub(super) fn params(profile: &Profile) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    let (common_name, organization) = profile.subject();
    params.distinguished_name = distinguished_name(&common_name, organization);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![match profile.names() {
        Some(_) => ExtendedKeyUsagePurpose::ServerAuth,
        None => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    if let Some(names) = profile.names() {
        params.subject_alt_names = alternative_names(names)?;
    }
    set_validity(&mut params, YEAR);
    Ok(params)
}

fn alternative_names(names: &Names) -> Result<Vec<SanType>, PkiError> {
    let mut all = Vec::new();
    for name in &names.dns {
        let malformed = |_| PkiError::Refused { reason: "a DNS name is not ASCII" };
        all.push(SanType::DnsName(name.as_str().try_into().map_err(malformed)?));
    }
    all.extend(names.addresses.iter().copied().map(SanType::IpAddress));
    Ok(all)
}

pub(super) fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// From an hour ago, so that clocks may differ a little.
pub(super) fn set_validity(params: &mut CertificateParams, duration: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(Duration::from_secs(3600));
    params.not_after = epoch + now + duration;
}

pub(super) fn new_key() -> Result<String, PkiError> {
    let key = KeyPair::generate().map_err(|source| PkiError::Certificate { name: "key".into(), source })?;
    Ok(key.serialize_pem())
}

pub(super) fn public_pem(key_pem: &str) -> Result<String, PkiError> {
    let key = KeyPair::from_pem(key_pem);
    Ok(key.map_err(|source| PkiError::Certificate { name: "key".into(), source })?.public_key_pem())
}

/// When a certificate ends, in seconds since 1970.
pub fn end_of(certificate: &rustls_pki_types::CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// Whether a kept certificate still serves: issued by this authority, for these names, with time left.
pub(super) fn is_fit(cert_pem: &str, ca: &Authority, profile: &Profile, margin: Duration) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()) else { return false };
    let Ok(cert) = pem.parse_x509() else { return false };
    let Ok((_, ca)) = X509Certificate::from_der(ca.der()) else { return false };
    let left = cert.validity().time_to_expiration().map(|left| left.unsigned_abs());
    left.is_some_and(|left| left > margin)
        && cert.verify_signature(Some(ca.public_key())).is_ok()
        && profile.names().is_none_or(|names| *names == names_of(&cert))
}

fn names_of(cert: &X509Certificate<'_>) -> Names {
    let extension = cert.subject_alternative_name().ok().flatten();
    let mut names = Names::default();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(dns) => {
                names.dns.insert(dns.to_string());
            }
            GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
