//! The client of a program that runs in a pod: its service account, and the API server that the environment names.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use client::{Client, Endpoint, HttpsTransport, Identity};

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub fn open(user_agent: &str) -> anyhow::Result<Client> {
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("the environment lacks {name}; is this a pod?"));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let account = Path::new(ACCOUNT);
    let ca = account.join("ca.crt");
    let endpoint = Endpoint {
        server: format!("https://{host}:{port}"),
        ca_pem: std::fs::read(&ca).with_context(|| format!("read {}", ca.display()))?,
        identity: Identity::TokenFile(account.join("token")),
    };
    Ok(Client::new(Arc::new(HttpsTransport::new(endpoint)?), user_agent))
}
