//! One certificate, from the cluster's signer.

use std::path::PathBuf;

use api::certificatesv1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use api::k8s::ByteString;
use api::metav1::ObjectMeta;
use apimachinery::ObjectKey;
use client::{Api, Client, Error};
use controller_runtime::{Informers, Selection};
use rt::TaskSet;
use tokio::sync::watch;

use super::file::{Kept, KeyPair, request_name, signing_request};
use super::plan::{Verdict, verdict};
use super::{Wanted, validity};

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("access {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("make a key or a request")]
    Make(#[source] rcgen::Error),
    #[error("ask for a certificate")]
    Ask(#[source] Error),
    #[error("the request {name} was refused: {why}")]
    Refused { name: String, why: String },
    #[error("the signer of {name} gave something that is no certificate")]
    NoCertificate { name: String },
}

/// Asks for a certificate, waits until it is decided, and keeps it. A request that was made before is waited for.
pub async fn request(
    wanted: &Wanted,
    kept: &Kept,
    client: &Client,
    tasks: &TaskSet,
) -> Result<KeyPair, CertificateError> {
    let key = kept.pending_key()?;
    let name = request_name(&key);
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(signing_request(wanted, &key).map_err(CertificateError::Make)?.into_bytes()),
            signer_name: wanted.signer.to_owned(),
            usages: Some(wanted.usages.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    match Api::<CertificateSigningRequest>::all(client).create(&object).await {
        Err(error) if !error.is_already_exists() => return Err(CertificateError::Ask(error)),
        _ => {}
    }
    tracing::info!(name, signer = wanted.signer, "waiting for a certificate");
    let cert_pem = match decided(&name, client, tasks).await {
        Some(Verdict::Issued(pem)) if validity(&pem).is_some() => pem,
        Some(Verdict::Issued(_)) => {
            kept.forget_pending();
            return Err(CertificateError::NoCertificate { name });
        }
        Some(Verdict::Refused(why)) => {
            kept.forget_pending();
            return Err(CertificateError::Refused { name, why });
        }
        // It was deleted before anybody decided; the next attempt makes it again.
        Some(Verdict::Undecided) | None => {
            return Err(CertificateError::Refused { name, why: "it is gone".into() });
        }
    };
    let pair = KeyPair { cert_pem, key_pem: key.serialize_pem() };
    kept.put(&pair)?;
    Ok(pair)
}

/// The request's verdict, once there is one; nothing when the request is gone.
async fn decided(name: &str, client: &Client, tasks: &TaskSet) -> Option<Verdict> {
    let tasks = tasks.child();
    let _until_decided = tasks.token().drop_guard();
    let selection = Selection { field_selector: format!("metadata.name={name}"), ..Selection::default() };
    let requests = Informers::new(client, &tasks).lister_for::<CertificateSigningRequest>(selection);
    let (changed, mut changes) = watch::channel(());
    requests.subscribe(move |_| changed.send_modify(|()| {}));
    requests.synced().await;
    let key = ObjectKey::new("", name);
    loop {
        let verdict = requests.get(&key).map(|request| verdict(&request));
        match verdict {
            Some(Verdict::Undecided) => changes.changed().await.ok()?,
            other => return other,
        }
    }
}
