//! Requests with what a credential plugin answers.
//!
//! The plugin is run when its answer is first needed, when that has expired, and when the server refuses it; never twice
//! at once. A new certificate means a new connection.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Body, Identity, Transport, TransportError, Upgraded};
use http::{HeaderValue, Request, Response, StatusCode, header};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::plugin::{Credentials, Plugin};
use super::transport::{Address, plain};

pub struct PluginTransport {
    plugin: Plugin,
    address: Address,
    current: Mutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    credentials: Credentials,
    inner: Arc<dyn Transport>,
}

impl PluginTransport {
    pub fn new(plugin: Plugin, address: Address) -> Self {
        Self { plugin, address, current: Mutex::new(None) }
    }

    /// What is in force. What was refused is not taken again.
    async fn current(&self, refused: Option<&Credentials>) -> Result<Current, TransportError> {
        let mut current = self.current.lock().await;
        let is_good = |known: &&Current| {
            !known.credentials.is_expired(Timestamp::now())
                && refused.is_none_or(|refused| known.credentials != *refused)
        };
        if let Some(known) = current.as_ref().filter(is_good) {
            return Ok(known.clone());
        }
        let credentials = self.plugin.fetch().await;
        let credentials =
            credentials.map_err(|why| TransportError::Credentials(format!("getting credentials: {why}").into()))?;
        let inner = match current.as_ref() {
            Some(known) if known.credentials.certificate == credentials.certificate => known.inner.clone(),
            _ => self.connect(&credentials)?,
        };
        let made = Current { credentials, inner };
        *current = Some(made.clone());
        Ok(made)
    }

    fn connect(&self, credentials: &Credentials) -> Result<Arc<dyn Transport>, TransportError> {
        let mut address = self.address.clone();
        if let Some((certificate, key)) = credentials.certificate.clone() {
            address.endpoint.identity = Identity::Certificate { cert_pem: certificate.into(), key_pem: key.into() };
        }
        plain(&address)
    }

    async fn prepare(&self, request: &mut Request<Body>) -> Result<Current, TransportError> {
        let current = self.current(None).await?;
        if let Some(token) = &current.credentials.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|error| TransportError::Credentials(error.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(current)
    }

    /// Asks the plugin again for the sake of the requests that follow.
    async fn heed(&self, status: StatusCode, current: &Current) {
        if status == StatusCode::UNAUTHORIZED
            && let Err(error) = self.current(Some(&current.credentials)).await
        {
            tracing::warn!(%error, "the credentials were refused, and not renewed");
        }
    }
}

#[async_trait]
impl Transport for PluginTransport {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let current = self.prepare(&mut request).await?;
        let response = current.inner.send(request).await?;
        self.heed(response.status(), &current).await;
        Ok(response)
    }

    async fn upgrade(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        let current = self.prepare(&mut request).await?;
        let (response, stream) = current.inner.upgrade(request).await?;
        self.heed(response.status(), &current).await;
        Ok((response, stream))
    }
}
