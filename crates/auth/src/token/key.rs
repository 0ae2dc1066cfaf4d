//! Keys of service-account tokens: RSA and the curves P-256, P-384 and P-521, private ones to sign and public ones to verify.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey as Parsed, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::TokenError;

/// Shorter moduli neither sign nor verify.
const RSA_BITS_MIN: usize = 2048;
/// As many as the library verifies with.
const RSA_BITS_MAX: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    Rs256,
    Es256,
    Es384,
    Es512,
}

impl SignatureAlgorithm {
    const CURVES: [SignatureAlgorithm; 3] = [Self::Es256, Self::Es384, Self::Es512];

    /// As JSON Web Signatures call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    fn curve(self) -> Option<(&'static str, &'static EcdsaSigningAlgorithm)> {
        match self {
            Self::Rs256 => None,
            Self::Es256 => Some(("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)),
            Self::Es384 => Some(("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)),
            Self::Es512 => Some(("P-521", &ECDSA_P521_SHA512_FIXED_SIGNING)),
        }
    }

    fn of_curve(oid: &str) -> Option<SignatureAlgorithm> {
        match oid {
            "1.2.840.10045.3.1.7" => Some(Self::Es256),
            "1.3.132.0.34" => Some(Self::Es384),
            "1.3.132.0.35" => Some(Self::Es512),
            _ => None,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

fn sections(pem: &str) -> impl Iterator<Item = (SectionKind, Vec<u8>)> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok)
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    algorithm: SignatureAlgorithm,
    /// A point, or modulus and exponent as PKCS #1 has them.
    raw: Vec<u8>,
}

impl PublicKey {
    /// All keys of a file: public ones, those of certificates, and the public halves of private ones.
    pub fn all_from_pem(pem: &str) -> Result<Vec<PublicKey>, TokenError> {
        let keys: Vec<PublicKey> = sections(pem).filter_map(|(kind, der)| PublicKey::of_section(kind, &der)).collect();
        if keys.is_empty() {
            return Err(TokenError::NoPublicKey);
        }
        Ok(keys)
    }

    fn of_section(kind: SectionKind, der: &[u8]) -> Option<PublicKey> {
        match kind {
            SectionKind::PublicKey => PublicKey::from_info(&SubjectPublicKeyInfo::from_der(der).ok()?.1),
            SectionKind::Certificate => PublicKey::from_info(X509Certificate::from_der(der).ok()?.1.public_key()),
            _ => SigningKey::of_section(kind, der).map(|key| key.public),
        }
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
        let algorithm = match info.parsed().ok()? {
            Parsed::RSA(key) => (RSA_BITS_MIN..=RSA_BITS_MAX)
                .contains(&(without_zeros(key.modulus).len() * 8))
                .then_some(SignatureAlgorithm::Rs256)?,
            Parsed::EC(_) => {
                let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
                SignatureAlgorithm::of_curve(&curve.to_id_string())?
            }
            _ => return None,
        };
        Some(PublicKey {
            id: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(info.raw)),
            algorithm,
            raw: info.subject_public_key.data.to_vec(),
        })
    }

    /// The digest of the key in its PKIX form.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.raw).verify(message, signature).is_ok()
    }

    /// As an entry of a JSON web key set.
    pub(super) fn web_key(&self) -> Value {
        let mut key = json!({"use": "sig", "kid": self.id, "alg": self.algorithm.name()});
        for (name, value) in self.web_key_numbers() {
            key[name] = value.into();
        }
        key
    }

    fn web_key_numbers(&self) -> Vec<(&'static str, String)> {
        let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let Some((curve, _)) = self.algorithm.curve() else {
            let Ok((_, key)) = RSAPublicKey::from_der(&self.raw) else { return Vec::new() };
            let (modulus, exponent) = (without_zeros(key.modulus), without_zeros(key.exponent));
            return vec![("kty", "RSA".into()), ("n", number(modulus)), ("e", number(exponent))];
        };
        // An uncompressed point: 0x04, x, y.
        let (x, y) = self.raw[1..].split_at((self.raw.len() - 1) / 2);
        vec![("kty", "EC".into()), ("crv", curve.into()), ("x", number(x)), ("y", number(y))]
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Pair {
    fn of_section(kind: SectionKind, der: &[u8]) -> Option<Pair> {
        match kind {
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(der).ok().map(Pair::Rsa),
            SectionKind::EcPrivateKey => Pair::on_a_curve(der),
            SectionKind::PrivateKey => {
                RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa).or_else(|| Pair::on_a_curve(der))
            }
            _ => None,
        }
    }

    fn on_a_curve(der: &[u8]) -> Option<Pair> {
        let mut curves = SignatureAlgorithm::CURVES.iter().filter_map(|algorithm| algorithm.curve());
        curves.find_map(|(_, curve)| EcdsaKeyPair::from_private_key_der(curve, der).ok()).map(Pair::Ec)
    }

    fn public_info(&self) -> Option<PublicKeyX509Der<'static>> {
        match self {
            Pair::Rsa(pair) => pair.public_key().as_der().ok(),
            Pair::Ec(pair) => pair.public_key().as_der().ok(),
        }
    }
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

impl SigningKey {
    /// The first private key of a file.
    pub fn from_pem(pem: &str) -> Result<SigningKey, TokenError> {
        let mut keys = sections(pem).filter_map(|(kind, der)| SigningKey::of_section(kind, &der));
        keys.next().ok_or(TokenError::NoPrivateKey)
    }

    fn of_section(kind: SectionKind, der: &[u8]) -> Option<SigningKey> {
        let pair = Pair::of_section(kind, der)?;
        let info = pair.public_info()?;
        let public = PublicKey::from_info(&SubjectPublicKeyInfo::from_der(info.as_ref()).ok()?.1)?;
        Some(SigningKey { pair, public })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| TokenError::Sign)
            }
            Pair::Ec(pair) => {
                let signed = pair.sign(&random, message);
                signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| TokenError::Sign)
            }
        }
    }
}
