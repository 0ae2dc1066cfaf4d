//! Certificates as a request wants them: subject and names are the request's, usages and lifetime the signer's.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, PkiError, leaf};

/// Clocks may differ by so much.
const BACKDATE: Duration = Duration::from_mins(5);

impl Authority {
    /// Signs what the request says of itself. Who calls has judged it. `usages` are those of a CertificateSigningRequest.
    pub fn sign_as_requested(
        &self,
        request_pem: &str,
        usages: &[String],
        lifetime: Duration,
    ) -> Result<String, PkiError> {
        refuse_repeated(request_pem)?;
        let refused = |_| PkiError::Refused { reason: "it is not a PKCS#10 request that can be signed as it is" };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(refused)?;
        let params = &mut request.params;
        params.is_ca = IsCa::NoCa;
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        params.use_authority_key_identifier_extension = true;
        leaf::set_validity(params, lifetime);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATE);
        if let Some(end) = self.end() {
            let own = date_time_ymd(1970, 1, 1) + end;
            params.not_after = params.not_after.min(own);
        }
        let sign = request.signed_by(self.issuer());
        Ok(sign.map_err(|source| PkiError::Certificate { name: "request".into(), source })?.pem())
    }

    /// When the authority's own certificate ends, since the epoch.
    fn end(&self) -> Option<Duration> {
        let (_, own) = X509Certificate::from_der(self.der()).ok()?;
        u64::try_from(own.validity().not_after.timestamp()).ok().map(Duration::from_secs)
    }
}

/// A subject of several values of one kind (two organizations) cannot be written back by what signs; leaving one out would
/// make another subject of it.
fn refuse_repeated(request_pem: &str) -> Result<(), PkiError> {
    let malformed = || PkiError::Refused { reason: "it is not a valid PKCS#10 request in PEM" };
    let (_, pem) = x509_parser::pem::parse_x509_pem(request_pem.as_bytes()).map_err(|_| malformed())?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| malformed())?;
    let mut seen = HashSet::new();
    let attributes = request.certification_request_info.subject.iter_attributes();
    for attribute in attributes {
        if !seen.insert(attribute.attr_type().to_id_string()) {
            return Err(PkiError::Refused { reason: "its subject has several values of one kind" });
        }
    }
    Ok(())
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "cert sign" => KeyUsagePurpose::KeyCertSign,
        "crl sign" => KeyUsagePurpose::CrlSign,
        "encipher only" => KeyUsagePurpose::EncipherOnly,
        "decipher only" => KeyUsagePurpose::DecipherOnly,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    let other = |last: u64| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, last]);
    Some(match usage {
        "any" => ExtendedKeyUsagePurpose::Any,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "ipsec end system" => other(5),
        "ipsec tunnel" => other(6),
        "ipsec user" => other(7),
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        "microsoft sgc" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => ExtendedKeyUsagePurpose::Other(vec![2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}
