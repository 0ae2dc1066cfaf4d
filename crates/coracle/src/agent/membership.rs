//! How a node belongs to a cluster: by Coracle's join token, by a kubeconfig as any kubelet has, or beside the server.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use auth::pki::{ClientTrust, Credentials, ServerIdentity};
use clap::{ArgAction, Args};
use client::kubeconfig::Kubeconfig;
use client::{Client, ClientCertificate, Endpoint, HttpsTransport, Identity};
use jiff::Timestamp;
use kubelet::certificates::{Kept, KeyPair, Wanted, renew, request};
use rt::TaskSet;

use crate::join::{self, Joining};

const AGENT: &str = "coracle-agent";

/// Flags have the names of kubelet's.
#[derive(Args, Clone)]
pub struct KubeletFlags {
    /// The API server, of any cluster, and who this node is to it. With --bootstrap-kubeconfig it is written if need be
    #[arg(long, value_name = "FILE", required_unless_present = "server", conflicts_with = "server")]
    pub kubeconfig: Option<PathBuf>,
    /// Who may ask for this node's first certificate, which must be approved; for the kubeconfig that is to be written
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Ask for another client certificate before the node's ends
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    rotate_certificates: bool,
    /// Ask the cluster to sign the certificate of the node's own server, which somebody must approve, instead of signing itself
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    rotate_server_certificates: bool,
    /// Authorities whose certificates may use the node's own server [default: those of the kubeconfig]
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    client_ca_file: Option<PathBuf>,
}

/// What a member has.
pub struct Membership {
    pub client: Client,
    pub serving: Arc<ServerIdentity>,
    /// Judges who calls the node's server.
    pub callers: ClientTrust,
}

/// Which node it is, and where it keeps its certificates.
pub struct Member<'a> {
    pub name: &'a str,
    pub address: IpAddr,
    pub data_dir: &'a Path,
}

/// A member by token. Its certificates come from the server, which signs others before these end.
pub async fn joined(joining: Joining, tasks: &TaskSet) -> anyhow::Result<Membership> {
    let first = join::credentials(&joining).await?;
    let certificate = ClientCertificate::new(first.client_cert_pem.as_bytes(), first.client_key_pem.as_bytes())
        .map_err(anyhow::Error::from_boxed)?;
    let serving = ServerIdentity::new(&first.serving())?;
    let endpoint = Endpoint {
        server: joining.server.clone(),
        ca_pem: first.ca_pem.clone().into_bytes(),
        identity: Identity::Renewed(certificate.clone()),
    };
    let client = Client::new(Arc::new(HttpsTransport::new(endpoint)?), AGENT);
    let callers = ClientTrust::of_bundle(&first.ca_pem)?;
    let shown = serving.clone();
    let next = async move || {
        let renewed = join::renewed(&joining).await?;
        certificate.replace(renewed.client_cert_pem.as_bytes(), renewed.client_key_pem.as_bytes())?;
        shown.replace(&renewed.serving())?;
        Ok(renewed.client_cert_pem)
    };
    tasks.spawn_until_cancelled("node certificates", renew("node", Some(first.client_cert_pem), next));
    Ok(Membership { client, serving, callers })
}

/// A member by kubeconfig. `endpoint` is what [`endpoint`] gave.
pub async fn by_kubeconfig(
    flags: &KubeletFlags,
    member: &Member<'_>,
    mut endpoint: Endpoint,
    tasks: &TaskSet,
) -> anyhow::Result<Membership> {
    let callers = match &flags.client_ca_file {
        Some(path) => std::fs::read(path).with_context(|| format!("read {}", path.display()))?,
        None => endpoint.ca_pem.clone(),
    };
    let callers = ClientTrust::of_bundle(std::str::from_utf8(&callers).context("the authorities are no PEM")?)?;
    let renewable = match &endpoint.identity {
        Identity::Certificate { cert_pem, key_pem } if flags.rotate_certificates => {
            let text = |pem: &[u8]| String::from_utf8_lossy(pem).into_owned();
            Some(KeyPair { cert_pem: text(cert_pem), key_pem: text(key_pem) })
        }
        _ => None,
    };
    let kept = client_files(member);
    let first = renewable.map(|given| kept.valid(&Wanted::client(member.name), Timestamp::now()).unwrap_or(given));
    let certificate = match &first {
        Some(pair) => {
            let certificate = ClientCertificate::new(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())
                .map_err(anyhow::Error::from_boxed)?;
            endpoint.identity = Identity::Renewed(certificate.clone());
            Some(certificate)
        }
        None => None,
    };
    let client = Client::new(Arc::new(HttpsTransport::new(endpoint)?), AGENT);
    if let (Some(pair), Some(certificate)) = (first, certificate) {
        keep_client(&client, member.name, kept, pair, certificate, tasks);
    }
    let serving = ServerIdentity::new(&self_signed(member)?)?;
    if flags.rotate_server_certificates {
        keep_serving(&client, member, serving.clone(), tasks)?;
    }
    Ok(Membership { client, serving, callers })
}

fn client_files(member: &Member<'_>) -> Kept {
    Kept::new(&member.data_dir.join("agent/pki"), "kubelet-client")
}

fn keep_client(
    client: &Client,
    name: &str,
    kept: Kept,
    first: KeyPair,
    certificate: Arc<ClientCertificate>,
    tasks: &TaskSet,
) {
    let (client, wanted, children) = (client.clone(), Wanted::client(name), tasks.child());
    let next = async move || {
        let pair = request(&wanted, &kept, &client, &children).await?;
        certificate.replace(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())?;
        Ok(pair.cert_pem)
    };
    tasks.spawn_until_cancelled("client certificate", renew("client", Some(first.cert_pem), next));
}

fn keep_serving(
    client: &Client,
    member: &Member<'_>,
    serving: Arc<ServerIdentity>,
    tasks: &TaskSet,
) -> anyhow::Result<()> {
    let wanted = Wanted::serving(member.name, member.address);
    let kept = Kept::new(&member.data_dir.join("agent/pki"), "kubelet-server");
    let first = kept.valid(&wanted, Timestamp::now());
    if let Some(pair) = &first {
        serving.replace(&credentials(pair.clone()))?;
    }
    let (client, children) = (client.clone(), tasks.child());
    let next = async move || {
        let pair = request(&wanted, &kept, &client, &children).await?;
        serving.replace(&credentials(pair.clone()))?;
        Ok(pair.cert_pem)
    };
    tasks.spawn_until_cancelled("serving certificate", renew("serving", first.map(|pair| pair.cert_pem), next));
    Ok(())
}

fn credentials(pair: KeyPair) -> Credentials {
    Credentials { cert_pem: pair.cert_pem, key_pem: pair.key_pem }
}

/// What is shown until the cluster has signed something, or for ever: nobody else vouches for it.
fn self_signed(member: &Member<'_>) -> anyhow::Result<Credentials> {
    let key = rcgen::KeyPair::generate()?;
    let names = vec![member.name.to_owned(), member.address.to_string()];
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
    Ok(Credentials { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// The server and the identity of the kubeconfig. Without one that is still good, the bootstrap's owner asks for a certificate
/// first, and the kubeconfig is written.
pub async fn endpoint(
    flags: &KubeletFlags,
    kubeconfig: &Path,
    name: &str,
    data_dir: &Path,
    tasks: &TaskSet,
) -> anyhow::Result<Endpoint> {
    let Some(bootstrap) = &flags.bootstrap_kubeconfig else { return read(kubeconfig) };
    let kept = Kept::new(&data_dir.join("agent/pki"), "kubelet-client");
    let wanted = Wanted::client(name);
    if kubeconfig.exists() && kept.valid(&wanted, Timestamp::now()).is_some() {
        return read(kubeconfig);
    }
    let endpoint = read(bootstrap)?;
    let client = Client::new(Arc::new(HttpsTransport::new(endpoint.clone())?), AGENT);
    first_certificate(&wanted, &kept, &client, tasks).await;
    let path = kept.path();
    let mut written = Kubeconfig::single("default", &Endpoint { identity: Identity::None, ..endpoint });
    for user in &mut written.users {
        let file = path.display().to_string();
        user.content.insert("user".into(), serde_json::json!({"client-certificate": file, "client-key": file}));
    }
    written.write(kubeconfig)?;
    read(kubeconfig)
}

/// Asks until there is a certificate.
async fn first_certificate(wanted: &Wanted, kept: &Kept, client: &Client, tasks: &TaskSet) {
    let mut backoff = rt::Backoff::new(std::time::Duration::from_secs(1), std::time::Duration::from_secs(30), 2.0);
    while let Err(error) = request(wanted, kept, client, tasks).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "no certificate for this node yet");
        tokio::time::sleep(backoff.next()).await;
    }
}

fn read(path: &Path) -> anyhow::Result<Endpoint> {
    let base = path.parent().unwrap_or(Path::new(""));
    Kubeconfig::read(path)?.endpoint(None, base).with_context(|| format!("read {}", path.display()))
}
