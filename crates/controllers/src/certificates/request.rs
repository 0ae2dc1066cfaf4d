//! What a request says, and which signers may give what it asks for.

use api::certificatesv1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";
/// Those that sign here. Others are left to whoever they belong to.
pub(super) const SIGNERS: [&str; 4] = [API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY];

/// The subject and the names of a PKCS#10 request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: usize,
    pub addresses: usize,
    pub emails: usize,
    pub uris: usize,
}

/// `None`: it cannot be read.
pub(super) fn read(request: &CertificateSigningRequest) -> Option<Request> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(&request.spec.request.0).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let subject = &parsed.certification_request_info.subject;
    let mut found = Request {
        common_name: subject
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .last()
            .unwrap_or_default()
            .to_owned(),
        organizations: subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect(),
        ..Request::default()
    };
    for extension in parsed.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        names.general_names.iter().for_each(|name| found.count(name));
    }
    Some(found)
}

impl Request {
    fn count(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(_) => self.dns += 1,
            GeneralName::IPAddress(_) => self.addresses += 1,
            GeneralName::RFC822Name(_) => self.emails += 1,
            GeneralName::URI(_) => self.uris += 1,
            _ => {}
        }
    }

    /// Why a signer does not give this.
    pub fn objection(&self, signer: &str, usages: &[String]) -> Option<String> {
        match signer {
            API_CLIENT => client_usages(usages),
            KUBELET_CLIENT => self.kubelet_client_objection(usages),
            KUBELET_SERVING => self.kubelet_serving_objection(usages),
            _ => None,
        }
    }

    fn kubelet_client_objection(&self, usages: &[String]) -> Option<String> {
        let rules = [
            (self.organizations == ["system:nodes"], "subject organization is not system:nodes"),
            (self.dns == 0, "DNS subjectAltNames are not allowed"),
            (self.emails == 0, "Email subjectAltNames are not allowed"),
            (self.addresses == 0, "IP subjectAltNames are not allowed"),
            (self.uris == 0, "URI subjectAltNames are not allowed"),
            (self.common_name.starts_with("system:node:"), "subject common name does not begin with system:node: "),
        ];
        first_broken(&rules).or_else(|| kubelet_usages(usages, "client auth"))
    }

    fn kubelet_serving_objection(&self, usages: &[String]) -> Option<String> {
        let rules = [
            (self.organizations == ["system:nodes"], "subject organization is not system:nodes"),
            (self.dns + self.addresses > 0, "DNS or IP subjectAltName is required"),
            (self.emails == 0, "Email subjectAltNames are not allowed"),
            (self.uris == 0, "URI subjectAltNames are not allowed"),
        ];
        let name =
            [(self.common_name.starts_with("system:node:"), "subject common name does not begin with system:node: ")];
        first_broken(&rules).or_else(|| kubelet_usages(usages, "server auth")).or_else(|| first_broken(&name))
    }
}

fn first_broken(rules: &[(bool, &str)]) -> Option<String> {
    rules.iter().find(|(holds, _)| !holds).map(|(_, why)| (*why).to_owned())
}

fn kubelet_usages(usages: &[String], auth: &str) -> Option<String> {
    let has = |usage: &str| usages.iter().any(|known| known == usage);
    let known = usages.iter().all(|usage| ["digital signature", "key encipherment", auth].contains(&usage.as_str()));
    if known && has("digital signature") && has(auth) {
        return None;
    }
    let mut wanted = [auth, "digital signature", "key encipherment"];
    wanted.sort_unstable();
    Some(format!("usages did not match [{}]", wanted.join(" ")))
}

fn client_usages(usages: &[String]) -> Option<String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Some(format!("invalid usage for client certificate: {other}"));
    }
    let has = usages.iter().any(|usage| usage == "client auth");
    (!has).then(|| "missing required usage for client certificate: client auth".to_owned())
}
