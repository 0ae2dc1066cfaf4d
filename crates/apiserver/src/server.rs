//! The server: what its stages and verbs share, and how it starts.

use std::net::SocketAddr;
use std::sync::Arc;

use admission::webhook::HttpsCaller;
use auth::Authorizer;
use auth::authn::{Authenticator, LiveObjects};
use auth::oidc::{Issuer, IssuerConfig};
use auth::pki::{ClientTrust, Names, Pki, PkiError, ServerIdentity};
use auth::request_header::RequestHeader;
use http::{Request, Response};
use rt::TaskSet;
use rustls_pki_types::CertificateDer;
use store::engine::{EngineError, Memory, Redb};
use store::{Key, OpenError, Options, Store};

use crate::aggregate::Remotes;
use crate::allocate::Allocators;
use crate::audit::{AuditError, Auditor};
use crate::authentication_config::AuthenticationError;
use crate::body::Body;
use crate::config::{Config, Storage};
use crate::custom::definitions::Definitions;
use crate::flow::FlowControl;
use crate::follow::Indexes;
use crate::issuer_keys::IssuerKeys;
use crate::serve::Identity;
use crate::subresources::kubelet::KubeletClient;
use crate::webhook_time::Timed;
use crate::{aggregate, bootstrap, catalog, custom, pipeline, serve};

/// The certificates that a connection showed; set by the listener.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<Vec<CertificateDer<'static>>>);

/// From where a connection comes; set by the listener.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("set up the audit")]
    Audit(#[from] AuditError),
    #[error("open the storage")]
    Engine(#[source] EngineError),
    #[error("load the objects")]
    Store(#[source] OpenError),
    #[error("set up authentication")]
    Authentication(#[from] AuthenticationError),
    #[error("prepare the certificates")]
    Pki(#[from] PkiError),
    #[error("serve on the listening socket")]
    Listen(#[source] std::io::Error),
    #[error("write the objects that every cluster has: {0}")]
    Bootstrap(Box<apimachinery::Status>),
    #[error("the signing algorithms of the issuer {url} are unknown, or need a shared secret")]
    Issuer { url: String },
    #[error("read the history of the store")]
    History(#[source] store::Compacted),
}

/// What all requests share.
pub struct Inner {
    pub config: Config,
    /// Where the server listens, if it does.
    pub address: Option<SocketAddr>,
    pub store: Arc<Store>,
    pub pki: Arc<Pki>,
    pub authenticator: Authenticator,
    pub issuer_keys: IssuerKeys,
    pub auditor: Option<Arc<Auditor>>,
    pub authorizer: Arc<Authorizer>,
    pub admission: admission::Services,
    /// For those whose time is the server's own.
    pub webhooks: Arc<HttpsCaller>,
    /// What is served now.
    pub catalog: catalog::Current,
    pub definitions: Definitions,
    pub indexes: Indexes,
    pub allocators: Allocators,
    pub flow: FlowControl,
    pub kubelets: KubeletClient,
    /// What other servers serve.
    pub remotes: Remotes,
    pub metrics: serve::metrics::Metrics,
    pub tasks: TaskSet,
}

/// An API server. Clones share it.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

impl Server {
    /// Opens the storage, writes what every cluster has, and serves on the sockets of the configuration. The server's
    /// tasks run in `tasks` and end with it.
    pub async fn start(config: Config, tasks: &TaskSet) -> Result<Server, StartError> {
        serve::statusz::begin();
        let server = Server::open(config, tasks).await?;
        server.listen(tasks)?;
        Ok(server)
    }

    /// All of the start but serving on the sockets: what must be there before the first request comes in between.
    pub async fn open(config: Config, tasks: &TaskSet) -> Result<Server, StartError> {
        let address = serve::listen::address(&config.listeners)?;
        let inner = Arc::new(Inner::open(config, address, tasks)?);
        custom::definitions::follow(&inner, tasks)?;
        inner.indexes.follow(&inner, tasks)?;
        bootstrap::run(&inner).await.map_err(refused)?;
        inner.indexes.settle(&inner).await;
        // All at once: the store commits waiting writes together.
        tokio::join!(
            crate::follow::aggregate(&inner),
            crate::flow::keep::start(&inner, tasks),
            bootstrap::authentication_info::keep(&inner, tasks),
            crate::identity::keep(&inner, tasks),
        );
        crate::issuer_keys::spawn(&inner, tasks);
        crate::authentication_config::follow(&inner, tasks);
        crate::event_ttl::spawn(&inner, tasks);
        crate::allocate::repair::spawn(&inner, tasks);
        bootstrap::kubernetes_service::keep(&inner, tasks);
        bootstrap::service_cidr::keep(&inner, tasks);
        aggregate::registration::follow(&inner, tasks)?;
        aggregate::availability::follow(&inner, tasks)?;
        Ok(Server { inner })
    }

    /// Answers on the sockets of the configuration.
    pub fn listen(&self, tasks: &TaskSet) -> Result<(), StartError> {
        serve::listen::start(&self.inner, tasks)
    }

    /// Answers one request. The caller is who the request's extensions say: an [`auth::UserInfo`] (a component of this
    /// process), else [`PeerCertificates`] and the `Authorization` header.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        pipeline::handle(&self.inner, request).await
    }

    /// Where the server listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }

    pub fn pki(&self) -> &Arc<Pki> {
        &self.inner.pki
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// The token with which nodes join, if a password is configured.
    pub fn join_token(&self) -> Option<auth::join::JoinToken> {
        let password = self.inner.config.join_password.as_ref()?;
        Some(auth::join::JoinToken::new(self.inner.pki.ca.digest(), password))
    }
}

impl Inner {
    fn open(config: Config, address: Option<SocketAddr>, tasks: &TaskSet) -> Result<Inner, StartError> {
        let store = open_store(&config.storage)?;
        let pki = match &config.pki {
            Some(pki) => pki.clone(),
            None => Arc::new(Pki::ephemeral()?),
        };
        let trust = ClientTrust::new(&pki.ca)?;
        let live = Arc::new(Living(store.clone()));
        let authorizer = Arc::new(Authorizer::default());
        let webhooks = Arc::new(HttpsCaller::new(tasks.clone()));
        Ok(Inner {
            authenticator: authenticator(&config, trust, &pki, live)?,
            issuer_keys: IssuerKeys::default(),
            auditor: Auditor::open(&config.audit, &config.audit_delivery, tasks)?,
            admission: admission::Services::new(
                Arc::new(Timed(webhooks.clone())),
                authorizer.clone(),
                config.admission.clone(),
            ),
            webhooks,
            authorizer,
            catalog: catalog::Current::default(),
            definitions: Definitions::default(),
            indexes: Indexes::default(),
            allocators: Allocators::load(&config, &store),
            flow: FlowControl::new(config.mutating_in_flight_max + config.readonly_in_flight_max),
            kubelets: KubeletClient::new(&pki)?,
            remotes: Remotes::new(&pki)?,
            metrics: serve::metrics::Metrics::default(),
            tasks: tasks.clone(),
            config,
            address,
            store,
            pki,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.map_or(6443, |address| address.port())
    }

    /// The names that the serving certificate has.
    pub fn server_names(&self) -> Names {
        let own = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            "::1",
        ];
        let mut names = Names::from_texts(own.into_iter().chain(self.config.tls_sans.iter().map(String::as_str)));
        names.addresses.insert(self.config.service_cidr.at(1).into());
        names.addresses.insert(self.config.advertise_address);
        names.addresses.extend(self.address.map(|address| address.ip()).filter(|ip| !ip.is_unspecified()));
        names
    }

    /// The identity that the listener serves with.
    pub fn identity(&self) -> Result<Identity, PkiError> {
        let credentials = self.pki.server(&self.server_names())?;
        Ok(Identity { certificate: ServerIdentity::new(&credentials)?, trust: ClientTrust::new(&self.pki.ca)? })
    }
}

fn authenticator(
    config: &Config,
    trust: ClientTrust,
    pki: &Arc<Pki>,
    live: Arc<Living>,
) -> Result<Authenticator, StartError> {
    let headers = &config.request_header;
    let proxies = ClientTrust::with_bundle(&pki.front_proxy, headers.ca_pem.as_deref().unwrap_or_default())?;
    let authenticator = Authenticator::new(trust, pki.clone(), live).with_proxies(RequestHeader::new(proxies, headers));
    match &config.authentication_config {
        Some(path) => crate::authentication_config::load(path, &authenticator)?,
        None => authenticator.configure(issuers(&config.oidc_issuers)?, None),
    }
    Ok(authenticator)
}

fn issuers(configured: &[IssuerConfig]) -> Result<Vec<Arc<Issuer>>, StartError> {
    let issuer = |config: &IssuerConfig| {
        let unfit = || StartError::Issuer { url: config.url.clone() };
        Issuer::new(config).map(Arc::new).ok_or_else(unfit)
    };
    configured.iter().map(issuer).collect()
}

fn refused(status: apimachinery::Status) -> StartError {
    StartError::Bootstrap(Box::new(status))
}

fn open_store(storage: &Storage) -> Result<Arc<Store>, StartError> {
    let indexer = catalog::indexer();
    match storage {
        Storage::Opened(store) => Ok(store.clone()),
        Storage::Memory => {
            Store::open(Box::new(Memory::new()), &indexer, Options::default()).map_err(StartError::Store)
        }
        Storage::File(path) => {
            let engine = Redb::open(path).map_err(StartError::Engine)?;
            Store::open(Box::new(engine), &indexer, Options::default()).map_err(StartError::Store)
        }
    }
}

/// Bound tokens are checked against the store itself.
struct Living(Arc<Store>);

/// How long a token outlives the end of its pod's grace period.
const LEEWAY_SECONDS: i64 = 60;

impl LiveObjects for Living {
    fn secret(&self, namespace: &str, name: &str) -> Option<serde_json::Value> {
        Some(self.0.get(&Key::new("", "secrets", namespace, name))?.value())
    }

    fn live_uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String> {
        let object = self.0.get(&Key::new("", resource, namespace, name))?;
        if object.header.deleting {
            let deadline = apimachinery::time::seconds(object.value().pointer("/metadata/deletionTimestamp")?)?;
            if deadline + LEEWAY_SECONDS < jiff::Timestamp::now().as_second() {
                return None;
            }
        }
        Some(object.header.uid.to_string())
    }
}
