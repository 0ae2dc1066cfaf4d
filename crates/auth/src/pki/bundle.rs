//! Several certificates in one text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks may differ by so much.
const SLACK_SECONDS: i64 = 300;
const LINE: usize = 64;

/// All certificates of some bundles, each once, without those that have expired. What cannot be read is left out.
pub fn combined(bundles: &[&str], now: i64) -> String {
    let mut all: Vec<CertificateDer<'_>> = Vec::new();
    for bundle in bundles {
        for cert in CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten() {
            if !all.contains(&cert) && is_alive(&cert, now) {
                all.push(cert);
            }
        }
    }
    all.iter().map(encode).collect()
}

fn is_alive(cert: &CertificateDer<'_>, now: i64) -> bool {
    let parsed = X509Certificate::from_der(cert);
    parsed.is_ok_and(|(_, cert)| cert.validity().not_after.timestamp() > now - SLACK_SECONDS)
}

fn encode(cert: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(cert);
    let lines = text.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line));
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;

    #[test]
    fn each_certificate_is_there_once_until_it_expires() {
        let (one, two) = (Pki::ephemeral().unwrap(), Pki::ephemeral().unwrap());
        let both = [one.ca_pem(), two.ca_pem()].concat();
        assert_eq!(combined(&[one.ca_pem(), &both, "no certificate"], 0), both);
        assert_eq!(combined(&[&both], i64::MAX), "");
    }
}
