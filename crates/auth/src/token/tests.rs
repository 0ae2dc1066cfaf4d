use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256};

use super::*;

fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn keys(pair: &KeyPair) -> ServiceAccountKeys {
    ServiceAccountKeys::from_pem(&pair.serialize_pem()).unwrap()
}

fn claims() -> Claims {
    let serviceaccount = Reference { name: "sa".into(), uid: "u".into() };
    let private = Private { namespace: "ns".into(), serviceaccount, ..Private::default() };
    Claims::new(private, vec!["a".into()], 600)
}

fn issued_by(issuers: &[&str]) -> Issuance {
    Issuance { issuers: issuers.iter().map(|issuer| issuer.to_string()).collect(), ..Issuance::default() }
}

#[test]
fn every_kind_of_key_signs_what_it_verifies() {
    for (algorithm, name, kty) in [
        (&PKCS_RSA_SHA256, "RS256", "RSA"),
        (&PKCS_ECDSA_P256_SHA256, "ES256", "EC"),
        (&PKCS_ECDSA_P384_SHA384, "ES384", "EC"),
        (&PKCS_ECDSA_P521_SHA512, "ES512", "EC"),
    ] {
        let keys = keys(&pair(algorithm));
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token).unwrap().iss, ISSUER, "{name}");
        assert_eq!(keys.algorithms(), [name]);
        let set = keys.key_set();
        assert_eq!((&set["keys"][0]["alg"], &set["keys"][0]["kty"]), (&json!(name), &json!(kty)));
    }
}

#[test]
fn an_rsa_key_is_published_with_the_usual_exponent() {
    let set = keys(&pair(&PKCS_RSA_SHA256)).key_set();
    assert_eq!(set["keys"][0]["e"], "AQAB");
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(set["keys"][0]["n"].as_str().unwrap()).unwrap();
    assert_eq!(modulus.len(), 256);
}

#[test]
fn a_key_that_is_rotated_out_and_its_issuer_are_still_accepted() {
    let (old, new) = (pair(&PKCS_ECDSA_P256_SHA256), pair(&PKCS_RSA_SHA256));
    let sign_with = |pair: &KeyPair, issuers: &[&str], public: Vec<PublicKey>| {
        ServiceAccountKeys::new(SigningKey::from_pem(&pair.serialize_pem()).unwrap(), public, issued_by(issuers))
    };
    let earlier = sign_with(&old, &["https://old"], Vec::new()).sign(&claims()).unwrap();
    let both = PublicKey::all_from_pem(&(new.public_key_pem() + &old.public_key_pem())).unwrap();
    let now = sign_with(&new, &["https://new", "https://old"], both.clone());
    assert_eq!(now.verify(&earlier).unwrap().iss, "https://old");
    assert_eq!(now.verify(&now.sign(&claims()).unwrap()).unwrap().iss, "https://new");
    assert_eq!(now.algorithms(), ["ES256", "RS256"]);
    let later = sign_with(&new, &["https://new"], both.clone());
    assert!(matches!(later.verify(&earlier), Err(TokenError::Issuer)));
    let last = sign_with(&new, &["https://new", "https://old"], both[..1].to_vec());
    assert!(matches!(last.verify(&earlier), Err(TokenError::Signature)));
}

#[test]
fn a_changed_token_is_refused() {
    let keys = keys(&pair(&PKCS_RSA_SHA256));
    let token = keys.sign(&claims()).unwrap();
    let other = Claims { sub: "system:serviceaccount:kube-system:root".into(), ..claims() };
    let (head, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    let forged = format!("{head}.{}.{signature}", encoded(&other).unwrap());
    assert!(matches!(keys.verify(&forged), Err(TokenError::Signature)));
    assert!(matches!(keys.verify("a"), Err(TokenError::Malformed)));
}

#[test]
fn a_certificate_gives_its_public_key() {
    let pair = pair(&PKCS_ECDSA_P384_SHA384);
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem();
    let of_certificate = PublicKey::all_from_pem(&certificate).unwrap();
    assert_eq!(of_certificate, PublicKey::all_from_pem(&pair.public_key_pem()).unwrap());
    assert_eq!(of_certificate, PublicKey::all_from_pem(&pair.serialize_pem()).unwrap());
}

#[test]
fn a_file_without_a_key_is_refused() {
    assert!(matches!(PublicKey::all_from_pem("nothing"), Err(TokenError::NoPublicKey)));
    let public = pair(&PKCS_ECDSA_P256_SHA256).public_key_pem();
    assert!(matches!(SigningKey::from_pem(&public), Err(TokenError::NoPrivateKey)));
}
