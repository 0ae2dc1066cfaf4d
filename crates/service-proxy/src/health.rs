use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::ObjectKey;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rt::TaskSet;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::ruleset::Ruleset;

/// Load balancers ask often and briefly; more at once are not served.
const CONNECTIONS_MAX: usize = 128;

/// Answers load balancers on each service's health check node port: does this node have endpoints?
pub(crate) struct HealthServers {
    tasks: TaskSet,
    servers: BTreeMap<ObjectKey, Server>,
}

struct Server {
    port: u16,
    local_endpoints: Arc<AtomicUsize>,
    tasks: TaskSet,
}

impl HealthServers {
    pub fn new(tasks: TaskSet) -> Self {
        Self { tasks, servers: BTreeMap::new() }
    }

    /// Opens, closes and updates servers as the services ask for them.
    pub async fn sync(&mut self, ruleset: &Ruleset) {
        let wanted: BTreeMap<_, _> = ruleset
            .services()
            .filter_map(|(service, plan)| Some((service.clone(), (plan.health_port?, plan.local_endpoints))))
            .collect();
        self.servers.retain(|service, server| {
            let keep = wanted.get(service).is_some_and(|(port, _)| *port == server.port);
            if !keep {
                server.tasks.cancel();
            }
            keep
        });
        for (service, (port, local)) in wanted {
            match self.servers.get(&service) {
                Some(server) => server.local_endpoints.store(local, Ordering::Relaxed),
                None => self.open(service, port, local).await,
            }
        }
    }

    async fn open(&mut self, service: ObjectKey, port: u16, local: usize) {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%service, port, %error, "health check node port cannot be opened");
                return;
            }
        };
        let tasks = self.tasks.child();
        let local_endpoints = Arc::new(AtomicUsize::new(local));
        let (name, count) = (service.clone(), local_endpoints.clone());
        let answer = move || service_health(&name, count.load(Ordering::Relaxed));
        tasks.spawn_until_cancelled(format!("health check {service}"), serve(listener, tasks.clone(), answer));
        self.servers.insert(service, Server { port, local_endpoints, tasks });
    }
}

type Answer = Response<Full<Bytes>>;

async fn serve(listener: TcpListener, tasks: TaskSet, answer: impl Fn() -> Answer + Clone + Send + Sync + 'static) {
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tasks.spawn_until_cancelled("health check connection", async move {
                    let _slot = slot;
                    serve_connection(stream, answer).await;
                });
            }
            Err(error) => tracing::debug!(%error, "health check connection not accepted"),
        }
    }
}

async fn serve_connection(stream: TcpStream, answer: impl Fn() -> Answer) {
    let respond = service_fn(|_| std::future::ready(Ok::<_, Infallible>(answer())));
    let connection =
        hyper::server::conn::http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), respond);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "health check connection ended early");
    }
}

fn service_health(service: &ObjectKey, local_endpoints: usize) -> Answer {
    let body = json!({
        "service": { "namespace": service.namespace, "name": service.name },
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": true,
    });
    let status = if local_endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .header("X-Content-Type-Options", "nosniff")
        .header("X-Load-Balancing-Endpoint-Weight", local_endpoints)
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("constant header names and a number are valid")
}
