use std::os::unix::fs::PermissionsExt;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

#[test]
fn keys_survive_a_restart_and_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path()).unwrap();
    let names = Names::from_texts(["kubernetes", "10.96.0.1"]);
    let served = first.server(&names).unwrap();
    let again = Pki::open(dir.path()).unwrap();
    assert_eq!(first.ca_pem(), again.ca_pem());
    assert_eq!(served, again.server(&names).unwrap());
    assert_ne!(served, again.server(&Names::from_texts(["kubernetes", "10.96.0.1", "192.0.2.1"])).unwrap());
    for key in ["ca.key", "sa.key", "apiserver.key"] {
        let mode = std::fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn only_certificates_of_the_authority_are_trusted_and_only_for_clients() {
    let (pki, stranger) = (Pki::ephemeral().unwrap(), Pki::ephemeral().unwrap());
    let trust = ClientTrust::new(&pki.ca).unwrap();
    assert!(trust.verify(&chain(&pki.admin().unwrap().cert_pem)).is_ok());
    assert!(trust.verify(&chain(&stranger.admin().unwrap().cert_pem)).is_err());
    assert!(trust.verify(&chain(&pki.server(&Names::default()).unwrap().cert_pem)).is_err());
}

#[test]
fn a_signed_request_has_the_authorized_name_whatever_it_asked_for() {
    let pki = Pki::ephemeral().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(Vec::new()).unwrap();
    wish.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    let signed = pki.ca.sign_request(&request, &Profile::KubeletClient { node: "n1".into() }).unwrap();
    let user = crate::authn::user_of_certificate(&chain(&signed)[0]).unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("system:node:n1", vec!["system:nodes".to_string()]));
    assert!(ClientTrust::new(&pki.ca).unwrap().verify(&chain(&signed)).is_ok());
}

#[test]
fn a_request_is_signed_as_it_is_but_not_one_that_cannot_be_repeated() {
    let pki = Pki::ephemeral().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["n1.example.com".to_string()]).unwrap();
    wish.distinguished_name = leaf::distinguished_name("alice", Some("team-a"));
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    let usages = ["client auth".to_string(), "digital signature".to_string()];
    let hour = Duration::from_secs(3600);
    let signed = pki.ca.sign_as_requested(&request, &usages, hour).unwrap();
    let user = crate::authn::user_of_certificate(&chain(&signed)[0]).unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("alice", vec!["team-a".to_string()]));
    assert!(ClientTrust::new(&pki.ca).unwrap().verify(&chain(&signed)).is_ok());
    assert!(pki.ca.sign_as_requested("no request", &usages, hour).is_err());
}
