//! When a certificate is to be renewed, and what became of a request. Pure.

use std::net::IpAddr;

use api::certificatesv1::CertificateSigningRequest;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Wanted;

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub begin: Timestamp,
    pub end: Timestamp,
}

/// Of the first certificate of a chain.
pub fn validity(cert_pem: &str) -> Option<Validity> {
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some(Validity { begin: at(certificate.validity().not_before)?, end: at(certificate.validity().not_after)? })
}

/// Whether a certificate is of this node, and for all its names and addresses.
pub(super) fn covers(cert_pem: &str, wanted: &Wanted) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(cert_pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let subject = format!("system:node:{}", wanted.node_name);
    let is_own = certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(subject.as_str()));
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let listed = alternatives.map_or(&[][..], |found| found.value.general_names.as_slice());
    let is_listed = |name: &GeneralName<'_>| listed.contains(name);
    let bytes = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    is_own
        && wanted.names.iter().all(|name| is_listed(&GeneralName::DNSName(name)))
        && wanted.addresses.iter().all(|address| is_listed(&GeneralName::IPAddress(&bytes(address))))
}

impl Validity {
    /// When seven to nine tenths of its life are over; `share` is from 0 to 1, so that not all nodes ask at once.
    pub(super) fn renewal(&self, share: f64) -> Timestamp {
        let life = self.end.duration_since(self.begin);
        self.begin + life.mul_f64(0.7 + 0.2 * share)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    Issued(String),
    /// And why.
    Refused(String),
}

pub(super) fn verdict(request: &CertificateSigningRequest) -> Verdict {
    let Some(status) = &request.status else { return Verdict::Undecided };
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let refusal = conditions.iter().find(|one| ["Denied", "Failed"].contains(&one.type_.as_str()));
    if let Some(condition) = refusal {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        return Verdict::Refused(format!("{}: {}", text(&condition.reason), text(&condition.message)));
    }
    match &status.certificate {
        Some(certificate) if !certificate.0.is_empty() => {
            Verdict::Issued(String::from_utf8_lossy(&certificate.0).into_owned())
        }
        _ => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value) -> Verdict {
        let request = json!({"metadata": {"name": "r"}, "spec": {"request": "", "signerName": "s"}, "status": status});
        verdict(&serde_json::from_value(request).expect("a request"))
    }

    #[test]
    fn a_request_is_undecided_issued_or_refused() {
        assert_eq!(of(json!({})), Verdict::Undecided);
        let condition = |kind: &str| json!([{"type": kind, "status": "True", "reason": "R", "message": "m"}]);
        assert_eq!(of(json!({"conditions": condition("Approved")})), Verdict::Undecided);
        assert_eq!(
            of(json!({"conditions": condition("Approved"), "certificate": "cGVt"})),
            Verdict::Issued("pem".into())
        );
        for kind in ["Denied", "Failed"] {
            assert_eq!(of(json!({"conditions": condition(kind)})), Verdict::Refused("R: m".into()));
        }
    }

    #[test]
    fn renewal_lies_between_seven_and_nine_tenths_of_a_life() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let life = Validity { begin: at(1000), end: at(2000) };
        assert_eq!((life.renewal(0.0), life.renewal(1.0)), (at(1700), at(1900)));
    }
}
