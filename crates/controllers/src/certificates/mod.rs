//! Approves, signs and clears away CertificateSigningRequests.
//!
//! Reads: CertificateSigningRequests, what their makers may do.  Writes: their approval and status, deletions.
//! Does not know: the authority's key ([`crate::CertificateSigner`] signs).  Start at [`plan`].

mod plan;
mod request;

use std::sync::Arc;
use std::time::Duration;

use api::authorizationv1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use api::certificatesv1::CertificateSigningRequest;
use api::k8s::ByteString;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use jiff::Timestamp;
use rt::Clock;

use crate::ignore::ignore_gone;
use crate::{CertificateSigner, Context, Wish};
use plan::{Signing, plan_signing, recognized};
use request::Request;

const NAME: &str = "certificate-controller";
const WORKERS: usize = 5;

pub(crate) fn start(context: &Context) {
    let signer = context.config.certificate_signer.clone();
    report_unsigned(signer.as_deref());
    let requests = context.informers.lister::<CertificateSigningRequest>();
    let queue = WorkQueue::new();
    let own = queue.clone();
    requests.subscribe(move |change| own.add(change.object().key()));
    let reconciler =
        Requests { client: context.client(NAME), clock: context.clock.clone(), signer, requests: requests.clone() };
    context.run(NAME, reconciler, queue, WORKERS, async move { requests.synced().await });
}

/// Says which signers have no key.
fn report_unsigned(signer: Option<&dyn CertificateSigner>) {
    let Some(signer) = signer else {
        tracing::info!(controller = NAME, "no certificates are signed: no certificate and key to sign with were given");
        return;
    };
    for name in request::SIGNERS.iter().filter(|name| !signer.signs(name)) {
        tracing::info!(controller = NAME, signer = name, "no certificates of this signer are signed: others have keys");
    }
}

struct Requests {
    client: Client,
    clock: Arc<dyn Clock>,
    signer: Option<Arc<dyn CertificateSigner>>,
    requests: Lister<CertificateSigningRequest>,
}

#[async_trait]
impl Reconciler for Requests {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(request) = self.requests.get(key) else { return Ok(Requeue::AwaitChange) };
        let now = self.clock.now();
        if let Some(deadline) = plan::deadline(&request, certificate_end(&request)) {
            if deadline <= now {
                let api = Api::<CertificateSigningRequest>::all(&self.client);
                ignore_gone(api.delete(&key.name, &DeleteParams::uid(request.uid())).await)?;
                return Ok(Requeue::AwaitChange);
            }
            self.decide(&request).await?;
            return Ok(Requeue::After(Duration::try_from(deadline.duration_since(now)).unwrap_or_default()));
        }
        self.decide(&request).await?;
        Ok(Requeue::AwaitChange)
    }
}

impl Requests {
    async fn decide(&self, request: &CertificateSigningRequest) -> Result<(), ReconcileError> {
        let Some(says) = request::read(request) else {
            return Err(ReconcileError::GiveUp("unable to parse csr".into()));
        };
        if !plan::is_issued(request) && !plan::has(request, "Approved") && !plan::has(request, "Denied") {
            return self.approve(request, &says).await;
        }
        self.sign(request, &says).await
    }

    /// Approves what its maker may have without asking a person.
    async fn approve(&self, request: &CertificateSigningRequest, says: &Request) -> Result<(), ReconcileError> {
        let candidates = recognized(request, says);
        for candidate in &candidates {
            if self.may(request, candidate.subresource).await? {
                let approved = plan::with(request, "Approved", "AutoApproved", candidate.message, self.clock.now());
                let api = Api::<CertificateSigningRequest>::all(&self.client);
                return Ok(ignore_gone(api.update_subresource(request.name(), "approval", &approved).await)?);
            }
        }
        if candidates.is_empty() {
            return Ok(());
        }
        // Roles may change, and no change of the request tells of it.
        Err(ReconcileError::retry(plan::describe(request, &candidates)))
    }

    async fn may(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, Error> {
        let spec = &request.spec;
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".into()),
            resource: Some("certificatesigningrequests".into()),
            verb: Some("create".into()),
            subresource: Some(subresource.into()),
            version: Some("*".into()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(attributes),
                non_resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let answer = Api::<SubjectAccessReview>::all(&self.client).create(&review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(&self, request: &CertificateSigningRequest, says: &Request) -> Result<(), ReconcileError> {
        let name = request.spec.signer_name.as_str();
        let Some(signer) = self.signer.as_ref().filter(|signer| signer.signs(name)) else { return Ok(()) };
        let changed = match plan_signing(request, says) {
            Signing::Leave => return Ok(()),
            Signing::Fail(why) => plan::with(request, "Failed", "SignerValidationFailure", &why, self.clock.now()),
            Signing::Sign(lifetime) => {
                let text = String::from_utf8_lossy(&request.spec.request.0);
                let usages = request.spec.usages.as_deref().unwrap_or_default();
                let wish = Wish { signer: name, request: &text, usages, lifetime };
                let certificate = signer.certificate(&wish).map_err(ReconcileError::GiveUp)?;
                let mut signed = request.clone();
                signed.status.get_or_insert_default().certificate = Some(ByteString(certificate.into_bytes()));
                signed
            }
        };
        Ok(ignore_gone(Api::<CertificateSigningRequest>::all(&self.client).update_status(&changed).await)?)
    }
}

fn certificate_end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&certificate.0).ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Timestamp::from_second(end).ok()
}
