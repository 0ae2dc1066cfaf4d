//! Who may approve and sign certificate requests of a signer, and which subjects a client certificate may have.

use apimachinery::Status;
use async_trait::async_trait;
use auth::Attributes;
use base64::Engine as _;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::{Operation, Plugin, Request};

pub struct CertificateApproval;
pub struct CertificateSigning;
pub struct CertificateSubjectRestriction;

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(old) = updated(request, "approval") else { return Ok(()) };
        let signer = signer(old);
        if may(request, "approve", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(old) = updated(request, "status") else { return Ok(()) };
        let signed = |field: &str| {
            let new = request.object.as_deref().and_then(|new| new.pointer(field));
            new != old.pointer(field)
        };
        let signer = signer(old);
        if !(signed("/status/certificate") || signed("/status/conditions")) || may(request, "sign", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(new) = request.object.as_deref().filter(|_| request.is(Operation::Create, GROUP, RESOURCE)) else {
            return Ok(());
        };
        if signer(new) != CLIENT_SIGNER {
            return Ok(());
        }
        let text = new.pointer("/spec/request").and_then(Value::as_str).unwrap_or_default();
        let organizations =
            organizations(text).map_err(|why| request.forbidden(format!("could not parse CSR: {why}")))?;
        if organizations.iter().any(|name| name == MASTERS) {
            return Err(request.forbidden(format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")));
        }
        Ok(())
    }
}

/// The old object of an update of this subresource.
fn updated<'a>(request: &Request<'a>, subresource: &str) -> Option<&'a Value> {
    let concerns = request.operation == Operation::Update
        && request.subresource == subresource
        && request.is_resource(GROUP, RESOURCE);
    request.old.filter(|_| concerns)
}

fn signer(csr: &Value) -> &str {
    csr.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or_default()
}

/// Asked for the signer, and then for all of its domain.
fn may(request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        let asked = Attributes::resource(request.user, verb, GROUP, "signers").named(name);
        request.services.authorizer.authorize(&asked).allowed()
    })
}

/// The organizations of a request's subject, which become groups.
fn organizations(request: &str) -> Result<Vec<String>, String> {
    of_subject(request, |subject| texts(subject.iter_organization()))
}

/// The common name of a request's subject, which becomes the user; the last one if there are several.
pub(super) fn common_name(request: &str) -> Result<String, String> {
    of_subject(request, |subject| texts(subject.iter_common_name()).pop().unwrap_or_default())
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
}

fn of_subject<T>(request: &str, read: impl FnOnce(&X509Name<'_>) -> T) -> Result<T, String> {
    let pem = base64::engine::general_purpose::STANDARD.decode(request).map_err(|error| error.to_string())?;
    let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    if !matches!(kind, SectionKind::Csr) {
        return Err("PEM block type must be CERTIFICATE REQUEST".into());
    }
    let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
    Ok(read(&parsed.certification_request_info.subject))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_groups_of_a_request_are_its_organizations() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::OrganizationName, MASTERS);
        let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(csr);
        assert_eq!(common_name(&text).unwrap(), "alice");
        assert_eq!(organizations(&text).unwrap(), [MASTERS]);
        assert!(organizations("eA==").is_err());
    }
}
