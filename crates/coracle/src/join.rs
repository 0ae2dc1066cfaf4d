//! How a node gets its certificates: with a join token that pins the cluster's authority.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use auth::join::{CA_PATH, JOIN_PATH, JoinRequest, JoinResponse, JoinToken};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, Endpoint, HttpsTransport, Identity};
use http::{Method, Request, header};
use jiff::Timestamp;
use kubelet::certificates::validity;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::{Deserialize, Serialize};

/// What a node keeps after it joined.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub ca_pem: String,
    pub client_cert_pem: String,
    pub client_key_pem: String,
    pub serving_cert_pem: String,
    pub serving_key_pem: String,
}

impl Credentials {
    /// What the node's own server shows.
    pub fn serving(&self) -> auth::pki::Credentials {
        auth::pki::Credentials { cert_pem: self.serving_cert_pem.clone(), key_pem: self.serving_key_pem.clone() }
    }
}

#[derive(Clone)]
pub struct Joining {
    pub server: String,
    pub token: JoinToken,
    pub node_name: String,
    pub node_ip: IpAddr,
    /// Where the node's secret and its certificates are kept.
    pub directory: PathBuf,
}

/// The node's credentials: those it has, or new ones from the server, which is asked until it answers.
pub async fn credentials(joining: &Joining) -> anyhow::Result<Credentials> {
    if let Some(kept) = kept(joining)? {
        return Ok(kept);
    }
    let mut backoff = rt::Backoff::new(Duration::from_millis(20), Duration::from_secs(2), 1.5);
    let mut told = false;
    loop {
        match join(joining).await {
            Ok(credentials) => return Ok(credentials),
            Err(JoinError::Refused(error)) => return Err(error.context("join the cluster")),
            Err(JoinError::Unreachable(error)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(server = joining.server, error = %format!("{error:#}"), "waiting for the server");
                }
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// New credentials in place of those that are about to end.
pub async fn renewed(joining: &Joining) -> anyhow::Result<Credentials> {
    match join(joining).await {
        Ok(credentials) => Ok(credentials),
        Err(JoinError::Refused(error) | JoinError::Unreachable(error)) => Err(error),
    }
}

/// What an earlier run left, unless its time is over.
fn kept(joining: &Joining) -> anyhow::Result<Option<Credentials>> {
    let path = joining.kept();
    let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
    let kept: Credentials = serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
    let is_good = |pem: &str| validity(pem).is_some_and(|validity| Timestamp::now() < validity.end);
    Ok(Some(kept).filter(|kept| is_good(&kept.client_cert_pem) && is_good(&kept.serving_cert_pem)))
}

impl Joining {
    fn kept(&self) -> PathBuf {
        self.directory.join("node.json")
    }
}

enum JoinError {
    /// The server may answer later.
    Unreachable(anyhow::Error),
    Refused(anyhow::Error),
}

impl From<client::Error> for JoinError {
    fn from(error: client::Error) -> Self {
        match error.code() {
            Some(code) if code < 500 && code != 429 => Self::Refused(error.into()),
            _ => Self::Unreachable(error.into()),
        }
    }
}

async fn join(joining: &Joining) -> Result<Credentials, JoinError> {
    let ca_pem = authority(joining).await?;
    let client_key = KeyPair::generate().map_err(|error| JoinError::Refused(error.into()))?;
    let serving_key = KeyPair::generate().map_err(|error| JoinError::Refused(error.into()))?;
    let request = JoinRequest {
        node_name: joining.node_name.clone(),
        node_password: node_password(&joining.directory).map_err(JoinError::Refused)?,
        node_addresses: vec![joining.node_ip],
        client_request: request(&joining.node_name, &client_key).map_err(JoinError::Refused)?,
        serving_request: request(&joining.node_name, &serving_key).map_err(JoinError::Refused)?,
    };
    let client = open(&joining.server, ca_pem.clone().into_bytes())?;
    let authorization = STANDARD.encode(format!("node:{}", joining.token.password));
    let body = serde_json::to_vec(&request).map_err(|error| JoinError::Refused(error.into()))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(JOIN_PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Basic {authorization}"))
        .body(client::body(body))
        .map_err(|error| JoinError::Refused(error.into()))?;
    let response: JoinResponse = client.json(request).await?;
    let credentials = Credentials {
        ca_pem,
        client_cert_pem: response.client_certificate,
        client_key_pem: client_key.serialize_pem(),
        serving_cert_pem: response.serving_certificate,
        serving_key_pem: serving_key.serialize_pem(),
    };
    let bytes = serde_json::to_vec(&credentials).map_err(|error| JoinError::Refused(error.into()))?;
    write_private(&joining.kept(), &bytes).map_err(JoinError::Refused)?;
    Ok(credentials)
}

/// The cluster's authority, fetched from anybody and believed only if the token names it.
async fn authority(joining: &Joining) -> Result<String, JoinError> {
    let request = Request::get(CA_PATH).body(client::empty_body()).map_err(|error| JoinError::Refused(error.into()))?;
    let bytes = open(&joining.server, Vec::new())?.bytes(request).await?;
    let ca_pem = String::from_utf8(bytes.to_vec()).map_err(|error| JoinError::Refused(error.into()))?;
    if joining.token.pins(&ca_pem) {
        return Ok(ca_pem);
    }
    Err(JoinError::Refused(anyhow::anyhow!("the server's certificate authority is not the one that the token names")))
}

fn open(server: &str, ca_pem: Vec<u8>) -> Result<Client, JoinError> {
    let endpoint = Endpoint { server: server.to_owned(), ca_pem, identity: Identity::None };
    let transport = HttpsTransport::new(endpoint).map_err(|error| JoinError::Refused(error.into()))?;
    Ok(Client::new(Arc::new(transport), "coracle-agent"))
}

fn request(node: &str, key: &KeyPair) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "system:nodes");
    name.push(DnType::CommonName, format!("system:node:{node}"));
    params.distinguished_name = name;
    Ok(params.serialize_request(key)?.pem()?)
}

/// The node's own secret, made once: it keeps another machine from taking the node's name.
fn node_password(directory: &Path) -> anyhow::Result<String> {
    let path = directory.join("node-password");
    if let Ok(password) = std::fs::read_to_string(&path) {
        return Ok(password);
    }
    let password = random_secret();
    write_private(&path, password.as_bytes())?;
    Ok(password)
}

pub fn random_secret() -> String {
    let bytes: [u8; 16] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Written whole or not at all, readable by its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let context = || format!("write {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(context)?;
    }
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).with_context(context)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(context)?;
    std::fs::rename(&temporary, path).with_context(context)
}
