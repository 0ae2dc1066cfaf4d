//! The certificate authorities that this machine trusts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{Failure, fail};

/// All of them in PEM.
pub fn pem() -> Result<Vec<u8>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return fail!("the cluster names no certificate authority, and this machine trusts none");
    }
    let mut text = String::new();
    for certificate in found.certs {
        let body = STANDARD.encode(certificate.as_ref());
        text.push_str(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
    }
    Ok(text.into_bytes())
}
