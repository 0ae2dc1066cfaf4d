//! Authentication: from what the connection and the request show to a user.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::oidc::{Anonymous, Issuer, OidcError};
use crate::pki::ClientTrust;
use crate::remembered::Remembered;
use crate::request_header::RequestHeader;
use crate::token::{self, Claims, Reference, ServiceAccountKeys, TokenError};
use crate::{UserInfo, bootstrap_token};

pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What authentication must know about living objects.
pub trait LiveObjects: Send + Sync {
    /// The uid of an object, unless it is gone or has been deleting for longer than its grace period and a minute.
    fn live_uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String>;

    /// A stored Secret.
    fn secret(&self, _namespace: &str, _name: &str) -> Option<Value> {
        None
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AuthnError {
    #[error("the client certificate is not trusted")]
    Certificate(#[source] rustls::Error),
    #[error("the client certificate cannot be read")]
    Unreadable,
    #[error("the bearer token is invalid")]
    Token(#[source] TokenError),
    #[error("the token is for the audiences {0:?}")]
    Audience(Vec<String>),
    #[error("the token is bound to {resource} {name:?}, which is gone")]
    Unbound { resource: &'static str, name: String },
    #[error("the authorization header is of no known scheme")]
    Scheme,
    #[error("the bootstrap token is unknown, or not to be used")]
    BootstrapToken,
    #[error("the token of {issuer} is refused")]
    Oidc {
        issuer: String,
        #[source]
        source: OidcError,
    },
}

/// A verified token: who it stands for, and for which of the asked audiences.
pub struct Verified {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

pub struct Authenticator {
    trust: ClientTrust,
    proxies: Option<RequestHeader>,
    /// Exchanged as a whole when their configuration changes.
    issuers: ArcSwap<Vec<Arc<Issuer>>>,
    anonymous: ArcSwapOption<Anonymous>,
    key: Arc<crate::pki::Pki>,
    live: Arc<dyn LiveObjects>,
    certificates: Remembered<Certified>,
}

/// Whom a chain that leads to the authority stands for, and until when.
struct Certified {
    user: UserInfo,
    not_after: u64,
}

impl Authenticator {
    /// Who the server itself is to those who read its tokens: nobody else may be.
    pub fn own_issuers(&self) -> &[String] {
        &self.key.service_accounts.issuance().issuers
    }

    pub fn new(trust: ClientTrust, pki: Arc<crate::pki::Pki>, live: Arc<dyn LiveObjects>) -> Self {
        let certificates = Remembered::default();
        Authenticator {
            trust,
            proxies: None,
            issuers: ArcSwap::default(),
            anonymous: ArcSwapOption::empty(),
            key: pki,
            live,
            certificates,
        }
    }

    /// Believes these front proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: RequestHeader) -> Self {
        Authenticator { proxies: Some(proxies), ..self }
    }

    /// Takes tokens of these issuers from now on, and of no others. Without a word on anonymous requests, whoever asks this
    /// authenticator decides on them.
    pub fn configure(&self, issuers: Vec<Arc<Issuer>>, anonymous: Option<Anonymous>) {
        self.issuers.store(Arc::new(issuers));
        self.anonymous.store(anonymous.map(Arc::new));
    }

    /// Whether a request for a path may be anonymous; none when nothing was said of that.
    pub fn allows_anonymous(&self, path: &str) -> Option<bool> {
        self.anonymous.load().as_ref().map(|anonymous| anonymous.allows(path))
    }

    pub fn proxies(&self) -> Option<&RequestHeader> {
        self.proxies.as_ref()
    }

    pub fn issuers(&self) -> Arc<Vec<Arc<Issuer>>> {
        self.issuers.load_full()
    }

    /// The user that a front proxy names, if one speaks and is believed.
    pub fn proxied(&self, chain: &[CertificateDer<'_>], headers: &[(&str, &str)]) -> Option<UserInfo> {
        self.proxies.as_ref()?.user(chain, headers).map(UserInfo::authenticated)
    }

    /// What tokens must be for where nobody asks for an audience.
    pub fn audiences(&self) -> &[String] {
        &self.key().issuance().audiences
    }

    fn key(&self) -> &ServiceAccountKeys {
        &self.key.service_accounts
    }

    /// The user, or none when nothing was shown. A certificate goes before a token; one that fails is only fatal when
    /// the other does not succeed.
    pub fn authenticate(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        authorization: Option<&str>,
    ) -> Result<Option<UserInfo>, AuthnError> {
        let by_certificate = chain.filter(|chain| !chain.is_empty()).map(|chain| self.certificate(chain));
        if let Some(Ok(user)) = by_certificate {
            return Ok(Some(user.authenticated()));
        }
        let by_token = authorization.map(|header| self.header(header));
        match (by_certificate, by_token) {
            (_, Some(Ok(user))) => Ok(Some(user.authenticated())),
            (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
            (_, None) => Ok(None),
        }
    }

    fn certificate(&self, chain: &[CertificateDer<'_>]) -> Result<UserInfo, AuthnError> {
        let certified = self.certificates.get_or_verify(chain.iter().map(AsRef::as_ref), || self.certify(chain))?;
        if certified.not_after < token::now() {
            // To be told in the verifier's words.
            self.trust.verify(chain).map_err(AuthnError::Certificate)?;
        }
        Ok(certified.user.clone())
    }

    fn certify(&self, chain: &[CertificateDer<'_>]) -> Result<Certified, AuthnError> {
        self.trust.verify(chain).map_err(AuthnError::Certificate)?;
        let user = user_of_certificate(&chain[0]).ok_or(AuthnError::Unreadable)?;
        let ends =
            chain.iter().map(|cert| Some(X509Certificate::from_der(cert).ok()?.1.validity().not_after.timestamp()));
        let not_after = ends.min().flatten().and_then(|end| u64::try_from(end).ok()).ok_or(AuthnError::Unreadable)?;
        Ok(Certified { user, not_after })
    }

    fn header(&self, header: &str) -> Result<UserInfo, AuthnError> {
        let (scheme, token) = header.trim().split_once(' ').ok_or(AuthnError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(AuthnError::Scheme);
        }
        self.token(token.trim(), self.audiences()).map(|verified| verified.user)
    }

    /// Judges a token for any of the audiences (TokenReview): one of a machine that joins, of an issuer, or our own.
    pub fn token(&self, token: &str, audiences: &[String]) -> Result<Verified, AuthnError> {
        let user = if let Some((id, secret)) = bootstrap_token::parse(token) {
            self.bootstrap_token(id, secret)?
        } else if let Some(issuer) = self.issuers.load().iter().find(|issuer| issuer.issued(token)) {
            let refused = |source| AuthnError::Oidc { issuer: issuer.url().to_owned(), source };
            issuer.verify(token).map_err(refused)?
        } else {
            return self.service_account(token, audiences);
        };
        // Such tokens are for this server alone.
        let own = self.audiences();
        let matched: Vec<String> = audiences.iter().filter(|audience| own.contains(audience)).cloned().collect();
        if matched.is_empty() {
            return Err(AuthnError::Audience(own.to_vec()));
        }
        Ok(Verified { user: user.authenticated(), audiences: matched })
    }

    fn bootstrap_token(&self, id: &str, secret: &str) -> Result<UserInfo, AuthnError> {
        let stored = self.live.secret(bootstrap_token::NAMESPACE, &bootstrap_token::secret_name(id));
        let user = stored.and_then(|stored| bootstrap_token::user(id, secret, &stored, jiff::Timestamp::now()));
        user.ok_or(AuthnError::BootstrapToken)
    }

    fn service_account(&self, token: &str, audiences: &[String]) -> Result<Verified, AuthnError> {
        let claims = self.key().verify(token).map_err(AuthnError::Token)?;
        let matched: Vec<String> = audiences.iter().filter(|aud| claims.aud.contains(aud)).cloned().collect();
        if matched.is_empty() {
            return Err(AuthnError::Audience(claims.aud.clone()));
        }
        self.check_bindings(&claims)?;
        Ok(Verified { user: user_of_claims(&claims).authenticated(), audiences: matched })
    }

    fn check_bindings(&self, claims: &Claims) -> Result<(), AuthnError> {
        let private = &claims.private;
        let namespace = private.namespace.as_str();
        self.check("serviceaccounts", namespace, &private.serviceaccount)?;
        if let Some(secret) = &private.secret {
            self.check("secrets", namespace, secret)?;
        }
        match (&private.pod, &private.node) {
            (Some(pod), _) => self.check("pods", namespace, pod),
            (None, Some(node)) => self.check("nodes", "", node),
            (None, None) => Ok(()),
        }
    }

    fn check(&self, resource: &'static str, namespace: &str, bound: &Reference) -> Result<(), AuthnError> {
        let live = self.live.live_uid(resource, namespace, &bound.name);
        if live.is_some_and(|uid| uid == bound.uid) {
            return Ok(());
        }
        Err(AuthnError::Unbound { resource, name: bound.name.clone() })
    }
}

/// Common name and organizations.
pub fn user_of_certificate(cert: &CertificateDer<'_>) -> Option<UserInfo> {
    let (_, cert) = X509Certificate::from_der(cert).ok()?;
    let subject = cert.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_string).collect();
    let mut user = UserInfo { name, groups, ..UserInfo::default() };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, cert.as_ref());
    let text: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.into(), vec![format!("X509SHA256={text}")]);
    Some(user)
}

fn user_of_claims(claims: &Claims) -> UserInfo {
    let private = &claims.private;
    let mut user =
        UserInfo::service_account(&private.namespace, &private.serviceaccount.name, &private.serviceaccount.uid);
    user.extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={}", claims.jti)]);
    for (kind, bound) in [("pod", &private.pod), ("node", &private.node)] {
        let Some(bound) = bound else { continue };
        user.extra.insert(format!("authentication.kubernetes.io/{kind}-name"), vec![bound.name.clone()]);
        user.extra.insert(format!("authentication.kubernetes.io/{kind}-uid"), vec![bound.uid.clone()]);
    }
    user
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::pki::Pki;
    use crate::token::{ISSUER, Private};

    #[derive(Default)]
    struct Objects(Mutex<HashMap<String, String>>);

    impl LiveObjects for Objects {
        fn live_uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String> {
            self.0.lock().get(&format!("{resource}/{namespace}/{name}")).cloned()
        }
    }

    struct Bench {
        pki: Arc<Pki>,
        objects: Arc<Objects>,
        authn: Authenticator,
    }

    fn bench() -> Bench {
        let pki = Arc::new(Pki::ephemeral().unwrap());
        let objects = Arc::new(Objects::default());
        let authn = Authenticator::new(ClientTrust::new(&pki.ca).unwrap(), pki.clone(), objects.clone());
        Bench { pki, objects, authn }
    }

    fn token(bench: &Bench, audience: &str, seconds: u64) -> String {
        let bound = |name: &str| Reference { name: name.into(), uid: format!("uid-{name}") };
        let private = Private {
            namespace: "ns".into(),
            serviceaccount: bound("sa"),
            pod: Some(bound("p")),
            ..Private::default()
        };
        bench.pki.service_accounts.sign(&Claims::new(private, vec![audience.into()], seconds)).unwrap()
    }

    fn bearer(bench: &Bench, token: &str) -> Result<Option<UserInfo>, AuthnError> {
        bench.authn.authenticate(None, Some(&format!("Bearer {token}")))
    }

    #[test]
    fn a_bound_token_lives_as_long_as_its_pod() {
        let bench = bench();
        let token = token(&bench, ISSUER, 600);
        let put = |key: &str, uid: &str| bench.objects.0.lock().insert(key.into(), uid.into());
        put("serviceaccounts/ns/sa", "uid-sa");
        put("pods/ns/p", "uid-p");
        let user = bearer(&bench, &token).unwrap().unwrap();
        assert_eq!(user.name, "system:serviceaccount:ns:sa");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        put("pods/ns/p", "another");
        assert!(matches!(bearer(&bench, &token), Err(AuthnError::Unbound { resource: "pods", .. })));
    }

    #[test]
    fn tokens_for_others_expired_or_forged_are_refused() {
        let bench = bench();
        assert!(matches!(bearer(&bench, &token(&bench, "elsewhere", 600)), Err(AuthnError::Audience(_))));
        assert!(matches!(bearer(&bench, &token(&bench, ISSUER, 0)), Err(AuthnError::Token(TokenError::Expired))));
        let forged = token(&self::bench(), ISSUER, 600);
        assert!(matches!(bearer(&bench, &forged), Err(AuthnError::Token(TokenError::Signature))));
        assert!(matches!(bench.authn.authenticate(None, Some("Basic eDp5")), Err(AuthnError::Scheme)));
        assert!(bench.authn.authenticate(None, None).unwrap().is_none());
    }

    #[test]
    fn a_strangers_certificate_is_an_error_and_ours_is_a_user() {
        let bench = bench();
        let chain = |pki: &Pki| vec![CertificateDer::from_pem_slice(pki.admin().unwrap().cert_pem.as_bytes()).unwrap()];
        let user = bench.authn.authenticate(Some(&chain(&bench.pki)), None).unwrap().unwrap();
        assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
        let stranger = chain(&Pki::ephemeral().unwrap());
        assert!(matches!(bench.authn.authenticate(Some(&stranger), None), Err(AuthnError::Certificate(_))));
    }
}
