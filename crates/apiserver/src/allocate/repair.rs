//! Brings IPAddresses and Services together again: at start, whenever one of them changes, and now and then.
//!
//! A node port is only given back when two looks in a row found it unused. Addresses are written with their Services, so that there is something to repair only where somebody changed an IPAddress by hand, or
//! where the store was written by a version that had none.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::{Status, object};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use rt::TaskSet;
use serde_json::Value;
use store::{Key, Snapshot, Watcher};

use super::{addresses, ip_address, service};
use crate::internal;
use crate::server::Inner;

const COLLECTION: &str = "/apis/networking.k8s.io/v1/ipaddresses";
/// How long an IPAddress may wait for its Service: a request ends before.
const GRACE: Duration = Duration::from_secs(60);
/// How often everything is looked at.
const PERIOD: Duration = Duration::from_mins(3);
const SERVICES: (&str, &str) = ("", "services");
const IP_ADDRESSES: (&str, &str) = ("networking.k8s.io", "ipaddresses");

/// What is to be done about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Keep,
    Create,
    Recreate,
    Delete,
    /// Nothing yet, but after this time.
    Later(Duration),
}

pub fn spawn(server: &Arc<Inner>, tasks: &TaskSet) {
    let server = server.clone();
    tasks.spawn_until_cancelled("service-allocation-repair", async move {
        let mut suspected = Vec::new();
        loop {
            let (revision, snapshot) = (server.store.revision(), server.store.snapshot());
            let watch = |(group, name)| server.store.watch(Key::prefix(group, name, None), revision);
            let (Ok(services), Ok(addresses)) = (watch(SERVICES), watch(IP_ADDRESSES)) else { continue };
            all(&server, &snapshot).await;
            server.allocators.listed();
            suspected = sweep_ports(&server, &suspected);
            // Anew after a watch that lags, too.
            follow(&server, services, addresses).await;
        }
    });
}

/// Gives back the node ports that nobody has and nobody had at the last look: a Service may have been on its way into the
/// store then. Returns those that nobody has now.
fn sweep_ports(server: &Inner, suspected: &[u16]) -> Vec<u16> {
    let mut pools = server.allocators.pools.lock();
    let mut unused = pools.ports.taken();
    for (_, object) in server.store.snapshot().range(&Key::prefix(SERVICES.0, SERVICES.1, None), None) {
        let held = service::held(&object.value());
        unused.retain(|port| !held.ports.contains(port));
    }
    for port in unused.iter().filter(|port| suspected.contains(port)) {
        tracing::warn!(port, "a node port was taken by no service and is free again");
        pools.ports.release(*port);
    }
    unused
}

/// Every Service, then every IPAddress.
async fn all(server: &Arc<Inner>, snapshot: &Snapshot) {
    for kind in [SERVICES, IP_ADDRESSES] {
        let prefix = Key::prefix(kind.0, kind.1, None);
        join_all(snapshot.range(&prefix, None).map(|(key, _)| look(server, key.clone()))).await;
    }
}

async fn follow(server: &Arc<Inner>, mut services: Watcher, mut addresses: Watcher) {
    let mut later = FuturesUnordered::new();
    let end = tokio::time::sleep(PERIOD);
    tokio::pin!(end);
    loop {
        let key = tokio::select! {
            event = services.next() => event.ok().map(|event| event.key.clone()),
            event = addresses.next() => event.ok().map(|event| event.key.clone()),
            Some(key) = later.next() => Some(key),
            () = &mut end => None,
        };
        let Some(key) = key else { return };
        if let Some(pause) = look(server, key.clone()).await {
            later.push(async move {
                tokio::time::sleep(pause).await;
                key
            });
        }
    }
}

/// One Service or one IPAddress. Returns when to look again.
async fn look(server: &Arc<Inner>, key: Key) -> Option<Duration> {
    let snapshot = server.store.snapshot();
    let stored = snapshot.get(&key)?.value();
    if key.resource() == SERVICES.1 {
        for address in service::held(&stored).addresses {
            act(server, address, &stored, of_service(&snapshot, address, &stored)).await;
        }
        return None;
    }
    let address: Ipv4Addr = key.name().parse().ok()?;
    match of_address(&snapshot, &stored, jiff::Timestamp::now().as_second()) {
        Step::Later(pause) => Some(pause),
        step => {
            act(server, address, &Value::Null, step).await;
            None
        }
    }
}

/// Whether the address of a Service has the IPAddress that it should have.
fn of_service(snapshot: &Snapshot, address: Ipv4Addr, service: &Value) -> Step {
    if !addresses::ranges(snapshot).iter().any(|range| range.contains(address)) {
        tracing::warn!(%address, service = object::name(service), "the cluster IP is not within any service CIDR");
        return Step::Keep;
    }
    let Some(stored) = snapshot.get(&ip_address::key(address)) else { return Step::Create };
    let stored = stored.value();
    let wanted = ip_address::wanted(address, service);
    if stored["spec"]["parentRef"] != wanted["spec"]["parentRef"] {
        if parent(snapshot, &stored).is_some_and(|other| service::held(&other).addresses.contains(&address)) {
            tracing::warn!(%address, service = object::name(service), "the cluster IP is that of another service too");
            return Step::Keep;
        }
        return Step::Recreate;
    }
    let label = |name: &str| stored["metadata"]["labels"][name] == wanted["metadata"]["labels"][name];
    if label(ip_address::FAMILY) && label(ip_address::MANAGED_BY) { Step::Keep } else { Step::Recreate }
}

/// The Service that an IPAddress names.
fn parent(snapshot: &Snapshot, address: &Value) -> Option<Value> {
    let reference = &address["spec"]["parentRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    if !text("group").is_empty() || text("resource") != SERVICES.1 {
        return None;
    }
    let key = Key::new(SERVICES.0, SERVICES.1, text("namespace"), text("name"));
    snapshot.get(&key).map(|service| service.value())
}

/// Whether an IPAddress of the allocator has a Service.
fn of_address(snapshot: &Snapshot, stored: &Value, now: i64) -> Step {
    if stored["metadata"]["labels"][ip_address::MANAGED_BY] != ip_address::ALLOCATOR {
        return Step::Keep;
    }
    let reference = &stored["spec"]["parentRef"];
    let is_of_service = reference["group"].as_str().is_none_or(str::is_empty) && reference["resource"] == SERVICES.1;
    if !is_of_service {
        return Step::Delete;
    }
    let Some(service) = parent(snapshot, stored) else { return after(stored, GRACE, now) };
    let address: Option<Ipv4Addr> = object::name(stored).parse().ok();
    if address.is_some_and(|address| service::held(&service).addresses.contains(&address)) {
        return Step::Keep;
    }
    match service["spec"]["type"] == "ExternalName" {
        true => after(stored, GRACE, now),
        false => Step::Delete,
    }
}

/// Deletes what is older than `grace`.
fn after(stored: &Value, grace: Duration, now: i64) -> Step {
    let created: Option<jiff::Timestamp> =
        stored["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    let age = created.map_or(0, |created| now - created.as_second());
    match grace.checked_sub(Duration::from_secs(u64::try_from(age).unwrap_or(0))) {
        Some(left) if !left.is_zero() => Step::Later(left),
        _ => Step::Delete,
    }
}

async fn act(server: &Arc<Inner>, address: Ipv4Addr, service: &Value, step: Step) {
    let done = match step {
        Step::Keep | Step::Later(_) => Ok(()),
        Step::Create => create(server, address, service).await,
        Step::Delete => delete(server, address).await,
        Step::Recreate => match delete(server, address).await {
            Ok(()) => create(server, address, service).await,
            failed => failed,
        },
    };
    if let Err(status) = done {
        tracing::warn!(%address, %status, "the IPAddress was not repaired");
    }
}

async fn create(server: &Arc<Inner>, address: Ipv4Addr, service: &Value) -> Result<(), Status> {
    tracing::warn!(%address, service = object::name(service), "a cluster IP is not allocated; repairing");
    let wanted = ip_address::wanted(address, service);
    internal::send(server, Method::POST, COLLECTION, Some(&wanted)).await.map(drop)
}

async fn delete(server: &Arc<Inner>, address: Ipv4Addr) -> Result<(), Status> {
    tracing::warn!(%address, "an IPAddress does not belong to the service that it names; cleaning up");
    match internal::send(server, Method::DELETE, &format!("{COLLECTION}/{address}"), None).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}
