//! Keys of certificates: whether a private key belongs to one, and whether a request is signed with its own.
//!
//! The texts are those of upstream's library.

use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, VerificationAlgorithm};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::der::{DerObject, parse_der};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::pem::{self, Block};

const ED25519: &str = "1.3.101.112";
const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const MISMATCH: &str = "tls: private key does not match public key";
const UNPARSED: &str = "tls: failed to parse private key";

/// What is wrong with a certificate and the key that is said to be its own.
pub fn pair_problem(certificate: &str, key: &str) -> Option<String> {
    let (certificates, keys) = (pem::blocks(certificate), pem::blocks(key));
    let Some(leaf) = certificates.iter().find(|block| block.label == "CERTIFICATE") else {
        return Some(no_certificate(&certificates));
    };
    let Some(key) = keys.iter().find(|block| is_key(block.label)) else { return Some(no_key(&keys)) };
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf.bytes) else {
        return Some("x509: malformed certificate".into());
    };
    match Private::parse(&key.bytes) {
        None => Some(UNPARSED.into()),
        Some(key) => key.mismatch(leaf.public_key()).map(str::to_owned),
    }
}

fn is_key(label: &str) -> bool {
    label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY")
}

fn labels(blocks: &[Block<'_>]) -> String {
    let labels: Vec<&str> = blocks.iter().map(|block| block.label).collect();
    format!("[{}]", labels.join(" "))
}

fn no_certificate(skipped: &[Block<'_>]) -> String {
    match skipped {
        [] => "tls: failed to find any PEM data in certificate input".into(),
        [one] if one.label.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, \
             but did find a private key; PEM inputs may have been switched"
                .into()
        }
        _ => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the \
             following types: {}",
            labels(skipped)
        ),
    }
}

fn no_key(skipped: &[Block<'_>]) -> String {
    match skipped {
        [] => "tls: failed to find any PEM data in key input".into(),
        [one] if one.label == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".into()
        }
        _ => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of \
             the following types: {}",
            labels(skipped)
        ),
    }
}

/// What a private key says of its public one.
#[derive(Debug, PartialEq)]
enum Private {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The point, where the curve is one that can be computed here.
    Ec(Option<Vec<u8>>),
    Ed25519(Vec<u8>),
}

impl Private {
    fn parse(der: &[u8]) -> Option<Private> {
        Self::rsa(der).or_else(|| Self::wrapped(der)).or_else(|| Self::ec(der))
    }

    /// PKCS #1.
    fn rsa(der: &[u8]) -> Option<Private> {
        match fields(der)?.as_slice() {
            [_, modulus, exponent, _, _, _, ..] => {
                Some(Private::Rsa { modulus: unsigned(modulus)?, exponent: unsigned(exponent)? })
            }
            _ => None,
        }
    }

    /// PKCS #8.
    fn wrapped(der: &[u8]) -> Option<Private> {
        let fields = fields(der)?;
        let [_, algorithm, key, ..] = fields.as_slice() else { return None };
        let algorithm = algorithm.as_sequence().ok()?.first()?.as_oid().ok()?.to_id_string();
        match algorithm.as_str() {
            RSA => Self::rsa(key.as_slice().ok()?),
            EC => Some(Private::Ec(point(der))),
            ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
                Some(Private::Ed25519(pair.public_key().as_ref().to_vec()))
            }
            _ => None,
        }
    }

    /// SEC 1.
    fn ec(der: &[u8]) -> Option<Private> {
        match fields(der)?.as_slice() {
            [version, key, ..] if version.as_u32() == Ok(1) && key.as_slice().is_ok() => Some(Private::Ec(point(der))),
            _ => None,
        }
    }

    fn mismatch(&self, public: &SubjectPublicKeyInfo<'_>) -> Option<&'static str> {
        let bits: &[u8] = &public.subject_public_key.data;
        let same = match (self, public.parsed().ok()?) {
            (Private::Rsa { modulus, exponent }, PublicKey::RSA(key)) => {
                *modulus == trimmed(key.modulus) && *exponent == trimmed(key.exponent)
            }
            (Private::Ec(point), PublicKey::EC(_)) => point.as_ref().is_none_or(|point| point == bits),
            (Private::Ed25519(own), _) if public.algorithm.algorithm.to_id_string() == ED25519 => own == bits,
            _ => return Some("tls: private key type does not match public key type"),
        };
        (!same).then_some(MISMATCH)
    }
}

fn fields(der: &[u8]) -> Option<Vec<DerObject<'_>>> {
    let (rest, object) = parse_der(der).ok()?;
    match object.content {
        BerObjectContent::Sequence(fields) if rest.is_empty() => Some(fields),
        _ => None,
    }
}

fn unsigned(field: &DerObject<'_>) -> Option<Vec<u8>> {
    match field.content {
        BerObjectContent::Integer(bytes) => Some(trimmed(bytes)),
        _ => None,
    }
}

fn trimmed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().skip_while(|byte| **byte == 0).copied().collect()
}

fn point(der: &[u8]) -> Option<Vec<u8>> {
    let curves: [&'static EcdsaSigningAlgorithm; 3] = [
        &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    let pair = curves.iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())?;
    Some(pair.public_key().as_ref().to_vec())
}

/// Why the signature of a request is not that of its own key.
pub fn signature_problem(request: &X509CertificationRequest<'_>) -> Option<&'static str> {
    let key = &request.certification_request_info.subject_pki;
    let Some((algorithm, failure)) = algorithm(&request.signature_algorithm, key) else {
        return Some("x509: cannot verify signature: algorithm unimplemented");
    };
    let key = signature::UnparsedPublicKey::new(algorithm, &key.subject_public_key.data);
    let verified = key.verify(request.certification_request_info.raw, &request.signature_value.data);
    verified.is_err().then_some(failure)
}

type Verifier = &'static dyn VerificationAlgorithm;

fn algorithm(of: &AlgorithmIdentifier<'_>, key: &SubjectPublicKeyInfo<'_>) -> Option<(Verifier, &'static str)> {
    const RSA_FAILURE: &str = "crypto/rsa: verification error";
    const EC_FAILURE: &str = "x509: ECDSA verification failure";
    let rsa = |verifier: Verifier| Some((verifier, RSA_FAILURE));
    let hash = match of.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" => return rsa(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
        "1.2.840.113549.1.1.11" => return rsa(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        "1.2.840.113549.1.1.12" => return rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "1.2.840.113549.1.1.13" => return rsa(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        "1.2.840.113549.1.1.10" => return rsa(pss(of)?),
        ED25519 => return Some((&signature::ED25519, "x509: Ed25519 verification failure")),
        "1.2.840.10045.4.3.2" => 256,
        "1.2.840.10045.4.3.3" => 384,
        "1.2.840.10045.4.3.4" => 512,
        _ => return None,
    };
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
    Some((ecdsa(&curve, hash)?, EC_FAILURE))
}

fn pss(of: &AlgorithmIdentifier<'_>) -> Option<Verifier> {
    let parameters = x509_parser::signature_algorithm::RsaSsaPssParams::try_from(of.parameters.as_ref()?).ok()?;
    Some(match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => &signature::RSA_PSS_2048_8192_SHA256,
        "2.16.840.1.101.3.4.2.2" => &signature::RSA_PSS_2048_8192_SHA384,
        "2.16.840.1.101.3.4.2.3" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn ecdsa(curve: &str, hash: u16) -> Option<Verifier> {
    Some(match (curve, hash) {
        ("1.2.840.10045.3.1.7", 256) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.3.1.7", 384) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.3.1.7", 512) => &signature::ECDSA_P256_SHA512_ASN1,
        ("1.3.132.0.34", 256) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.3.132.0.34", 384) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.3.132.0.34", 512) => &signature::ECDSA_P384_SHA512_ASN1,
        ("1.3.132.0.35", 256) => &signature::ECDSA_P521_SHA256_ASN1,
        ("1.3.132.0.35", 384) => &signature::ECDSA_P521_SHA384_ASN1,
        ("1.3.132.0.35", 512) => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_key_belongs_to_its_certificate() {
        let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        let pairs: Vec<(String, String)> = kinds.into_iter().map(pair).collect();
        for (certificate, key) in &pairs {
            assert_eq!(pair_problem(certificate, key), None);
        }
        let (certificate, key) = &pairs[0];
        let (_, other) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        for (certificate, key, wanted) in [
            (certificate.as_str(), other.as_str(), MISMATCH),
            (certificate, &pairs[2].1, "tls: private key type does not match public key type"),
            ("", key, "tls: failed to find any PEM data in certificate input"),
            (certificate, "none", "tls: failed to find any PEM data in key input"),
            (certificate, certificate, "tls: found a certificate rather than a key in the PEM for the private key"),
            (certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", UNPARSED),
            (
                key,
                key,
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs \
                 may have been switched",
            ),
        ] {
            assert_eq!(pair_problem(certificate, key).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn rsa_keys_are_compared_by_what_they_hold() {
        let generate = || {
            let size = rcgen::RsaKeySize::_2048;
            let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
            let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
            let request = params.serialize_request(&key).unwrap();
            assert_eq!(signature_problem(&X509CertificationRequest::from_der(request.der()).unwrap().1), None);
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = generate();
        assert_eq!(pair_problem(&certificate, &key), None);
        assert_eq!(pair_problem(&certificate, &generate().1).as_deref(), Some(MISMATCH));
        let (_, other) = pair(&rcgen::PKCS_ED25519);
        let wanted = Some("tls: private key type does not match public key type");
        assert_eq!(pair_problem(&certificate, &other).as_deref(), wanted);
    }

    #[test]
    fn a_request_is_signed_with_its_own_key() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let request = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().serialize_request(&key).unwrap();
            let mut der = request.der().to_vec();
            let problem = |der: &[u8]| signature_problem(&X509CertificationRequest::from_der(der).unwrap().1);
            assert_eq!(problem(&der), None);
            // The last byte belongs to the signature.
            *der.last_mut().unwrap() ^= 1;
            let wrong = problem(&der).unwrap();
            assert!(wrong.ends_with("verification failure"), "{wrong}");
        }
    }
}
