use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::corev1::{Namespace, Service};
use api::discoveryv1::EndpointSlice;
use apimachinery::ObjectKey;
use bytes::Bytes;
use client::Object;
use controller_runtime::{Change, Index as CacheIndex, Informers, Lister};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use rt::{CancellationToken, TaskSet};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::answer::Zone;
use crate::entry::entry;
use crate::forward::Forwarder;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::resolv_conf::upstreams;
use crate::server::Server;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Health and metrics are asked by a handful of clients.
const HTTP_CONNECTIONS_MAX: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not a domain name")]
    Domain(String),
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("read {path}", path = .path.display())]
    ResolvConf {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Clone, Debug)]
pub struct DnsConfig {
    pub domain: String,
    pub listen: SocketAddr,
    /// Where `/health`, `/ready` and `/metrics` are answered, in this order.
    pub health: SocketAddr,
    pub ready: SocketAddr,
    pub metrics: SocketAddr,
    /// Names the resolvers for everything that is not the cluster's.
    pub resolv_conf: PathBuf,
    /// Addresses of this very service, which must not be asked.
    pub own_addresses: Vec<IpAddr>,
    pub ttl: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            domain: "cluster.local".to_owned(),
            listen: any(53),
            health: any(8080),
            ready: any(8181),
            metrics: any(9153),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            own_addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))],
            ttl: 30,
        }
    }
}

/// The cluster's name server.
pub struct Dns {
    config: DnsConfig,
    services: Lister<Service>,
    slices: Lister<EndpointSlice>,
    slices_of: CacheIndex<EndpointSlice>,
    namespaces: Lister<Namespace>,
}

impl Dns {
    pub fn new(config: DnsConfig, informers: &Informers) -> Self {
        let slices: Lister<EndpointSlice> = informers.lister();
        Self {
            config,
            services: informers.lister(),
            slices_of: slices
                .index("service", |slice| slice_owner(slice).map(|key| key.to_string()).into_iter().collect()),
            slices,
            namespaces: informers.lister(),
        }
    }

    /// Serves until `shutdown`. Names of the cluster are answered once the first lists are complete.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let tasks = TaskSet::under(shutdown.clone());
        let zone =
            Zone::new(&self.config.domain, self.config.ttl).ok_or_else(|| Error::Domain(self.config.domain.clone()))?;
        let forwarder = Forwarder::new(self.upstreams().await?);
        let (index, metrics, ready) =
            (Arc::<RwLock<Index>>::default(), Arc::<Metrics>::default(), Arc::<AtomicBool>::default());
        self.serve_http(&tasks, &metrics, &ready).await?;
        self.follow(&index);
        tracing::info!(domain = %zone.domain(), resolvers = ?forwarder.upstreams(), "watching services, endpoint slices and namespaces");
        let synced = async {
            self.services.synced().await;
            self.slices.synced().await;
            self.namespaces.synced().await;
        };
        if shutdown.run_until_cancelled(synced).await.is_some() {
            let (udp, tcp) = self.listen().await?;
            tracing::info!(address = %self.config.listen, services = index.read().len(), "serving names");
            Server { zone, index, forwarder, metrics }.start(udp, tcp, &tasks);
            ready.store(true, Ordering::Relaxed);
            shutdown.cancelled().await;
        }
        tasks.join().await;
        Ok(())
    }

    async fn upstreams(&self) -> Result<Vec<SocketAddr>, Error> {
        let path = &self.config.resolv_conf;
        let text = match tokio::fs::read_to_string(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|source| Error::ResolvConf { path: path.clone(), source })?,
        };
        let found = upstreams(&text, &self.config.own_addresses);
        if found.is_empty() {
            tracing::warn!(path = %path.display(), "no resolver for names outside of the cluster");
        }
        Ok(found)
    }

    async fn listen(&self) -> Result<(UdpSocket, TcpListener), Error> {
        let address = self.config.listen;
        let failed = |source| Error::Listen { address, source };
        Ok((UdpSocket::bind(address).await.map_err(failed)?, TcpListener::bind(address).await.map_err(failed)?))
    }

    /// Keeps the index as the objects change.
    fn follow(&self, index: &Arc<RwLock<Index>>) {
        let updater =
            Updater { services: self.services.clone(), slices_of: self.slices_of.clone(), index: index.clone() };
        let (of_services, of_slices, of_namespaces) = (updater.clone(), updater, index.clone());
        self.namespaces.subscribe(move |change| follow_namespace(&of_namespaces, change));
        self.services.subscribe(move |change| of_services.update(&change.object().key()));
        self.slices.subscribe(move |change| {
            let objects = change.old().into_iter().chain([change.object()]);
            objects.filter_map(|slice| slice_owner(slice)).for_each(|service| of_slices.update(&service));
        });
    }

    async fn serve_http(&self, tasks: &TaskSet, metrics: &Arc<Metrics>, ready: &Arc<AtomicBool>) -> Result<(), Error> {
        let (ready, metrics) = (ready.clone(), metrics.clone());
        serve_http(tasks, self.config.health, "/health", || (StatusCode::OK, "OK".to_owned())).await?;
        let is_ready = move || match ready.load(Ordering::Relaxed) {
            true => (StatusCode::OK, "OK".to_owned()),
            false => (StatusCode::SERVICE_UNAVAILABLE, "kubernetes".to_owned()),
        };
        serve_http(tasks, self.config.ready, "/ready", is_ready).await?;
        serve_http(tasks, self.config.metrics, "/metrics", move || (StatusCode::OK, metrics.text())).await
    }
}

/// Brings one service's entry up to date, from the caches.
#[derive(Clone)]
struct Updater {
    services: Lister<Service>,
    slices_of: CacheIndex<EndpointSlice>,
    index: Arc<RwLock<Index>>,
}

impl Updater {
    fn update(&self, key: &ObjectKey) {
        let service = self.services.get(key);
        let new = service.and_then(|service| entry(&service, &self.slices_of.get(&key.to_string())));
        let served = new.is_some();
        if self.index.write().set(key, new) {
            match served {
                true => tracing::info!(service = %key, "names of service are up to date"),
                false => tracing::info!(service = %key, "service has no names any more"),
            }
        }
    }
}

fn follow_namespace(index: &RwLock<Index>, change: &Change<Namespace>) {
    let name = change.object().name();
    match change {
        Change::Deleted(_) => index.write().remove_namespace(name),
        _ => index.write().add_namespace(name),
    }
}

fn slice_owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.namespace(), name))
}

type Say = Arc<dyn Fn() -> (StatusCode, String) + Send + Sync>;

/// Answers GET for one path on a port of its own.
async fn serve_http(
    tasks: &TaskSet,
    address: SocketAddr,
    path: &'static str,
    say: impl Fn() -> (StatusCode, String) + Send + Sync + 'static,
) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    tasks.spawn_until_cancelled(format!("dns {path}"), accept_http(listener, tasks.clone(), path, Arc::new(say)));
    Ok(())
}

async fn accept_http(listener: TcpListener, tasks: TaskSet, path: &'static str, say: Say) {
    let slots = Arc::new(tokio::sync::Semaphore::new(HTTP_CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        if let Ok((stream, _)) = listener.accept().await {
            let say = say.clone();
            tasks.spawn_until_cancelled("dns http connection", async move {
                let _slot = slot;
                answer_http(stream, path, &say).await;
            });
        }
    }
}

async fn answer_http(stream: TcpStream, path: &'static str, say: &Say) {
    let respond = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (status, text) = match request.uri().path() == path {
            true => say(),
            false => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, text);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection =
        hyper::server::conn::http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), respond);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "http connection ended early");
    }
}
