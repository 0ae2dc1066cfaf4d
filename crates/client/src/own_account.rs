//! Requests as a service account, whose token another identity asks for: how a controller manager gives each of its
//! controllers no more than that one's rights.

use std::sync::Arc;

use api::authenticationv1::{TokenRequest, TokenRequestSpec};
use api::corev1::ServiceAccount;
use api::metav1::ObjectMeta;
use async_trait::async_trait;
use http::{HeaderValue, Request, Response, header};
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{Api, Body, Client, Error, Transport, TransportError, Upgraded};

/// What is asked for; the server may give less.
const LIFETIME_SECONDS: i64 = 3600;

/// Carries requests under a service account.
pub struct ServiceAccountTransport {
    /// The same server, with no identity.
    plain: Arc<dyn Transport>,
    accounts: Api<ServiceAccount>,
    namespace: String,
    name: String,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    bearer: HeaderValue,
    replace_at: Timestamp,
}

impl ServiceAccountTransport {
    /// `asker` makes the account where there is none, and asks for its tokens; `plain` has no identity.
    pub fn new(asker: &Client, plain: Arc<dyn Transport>, namespace: &str, name: &str) -> Self {
        Self {
            plain,
            accounts: Api::namespaced(asker, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            token: Mutex::default(),
        }
    }

    /// The token, replaced before it ends. Those who ask meanwhile wait for the one request.
    async fn bearer(&self) -> Result<HeaderValue, TransportError> {
        let mut known = self.token.lock().await;
        if let Some(token) = known.as_ref().filter(|token| Timestamp::now() < token.replace_at) {
            return Ok(token.bearer.clone());
        }
        let token = self.request().await.map_err(|error| TransportError::Credentials(error.into()))?;
        let bearer = token.bearer.clone();
        *known = Some(token);
        Ok(bearer)
    }

    /// The account was deleted and made anew, or the server's keys changed: the next request asks for a new token. One that
    /// another request has replaced meanwhile stays.
    async fn forget(&self, refused: &HeaderValue) {
        self.token.lock().await.take_if(|token| token.bearer == *refused);
    }

    async fn request(&self) -> Result<Token, Error> {
        let spec = TokenRequestSpec { expiration_seconds: Some(LIFETIME_SECONDS), ..TokenRequestSpec::default() };
        let body = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let asked = Timestamp::now();
        let answer = match self.accounts.create_subresource(&self.name, "token", &body).await {
            Err(error) if Error::is_not_found(&error) => {
                self.make_account().await?;
                self.accounts.create_subresource(&self.name, "token", &body).await?
            }
            answer => answer?,
        };
        token(answer, asked)
    }

    async fn make_account(&self) -> Result<(), Error> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        };
        match self.accounts.create(&ServiceAccount { metadata, ..ServiceAccount::default() }).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The token of an answer, to be replaced when four fifths of its life are over.
fn token(answer: TokenRequest, asked: Timestamp) -> Result<Token, Error> {
    let status = answer.status.unwrap_or_default();
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", status.token.unwrap_or_default()))
        .map_err(|error| Error::Request(error.into()))?;
    bearer.set_sensitive(true);
    let life = status.expiration_timestamp.map_or_else(Default::default, |end| end.0.duration_since(asked));
    Ok(Token { bearer, replace_at: asked + life * 4 / 5 })
}

#[async_trait]
impl Transport for ServiceAccountTransport {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let bearer = self.bearer().await?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        let response = self.plain.send(request).await?;
        if response.status() == http::StatusCode::UNAUTHORIZED {
            self.forget(&bearer).await;
        }
        Ok(response)
    }

    async fn upgrade(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        let bearer = self.bearer().await?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        let (response, upgraded) = self.plain.upgrade(request).await?;
        if response.status() == http::StatusCode::UNAUTHORIZED {
            self.forget(&bearer).await;
        }
        Ok((response, upgraded))
    }
}
