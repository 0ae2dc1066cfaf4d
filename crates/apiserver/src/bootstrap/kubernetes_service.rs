//! `default/kubernetes`: the Service through which pods reach this server, with its endpoints.

use std::convert::Infallible;
use std::sync::Arc;

use apimachinery::Status;
use rt::TaskSet;
use serde_json::{Value, json};
use store::{Key, Prefix, Step};

use crate::allocate::Reservation;
use crate::catalog;
use crate::server::Inner;

pub async fn run(server: &Inner) -> Result<(), Status> {
    let port = server.port();
    let service = put(server, "", "services", service(server));
    let endpoints = put(server, "", "endpoints", endpoints(server, port));
    let slice = put(server, "discovery.k8s.io", "endpointslices", slice(server, port));
    futures::try_join!(service, endpoints, slice).map(drop)
}

/// Puts the objects back when somebody changes or deletes them.
pub fn keep(server: &Arc<Inner>, tasks: &TaskSet) {
    for (group, resource) in [("", "services"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices")] {
        let (server, key) = (server.clone(), Key::new(group, resource, "default", "kubernetes"));
        tasks.spawn_until_cancelled("kubernetes-service", async move {
            loop {
                let revision = server.store.revision();
                if let Err(status) = run(&server).await {
                    tracing::warn!(%status, "the kubernetes service was not restored");
                }
                let Ok(mut changes) = server.store.watch(Prefix::of_key(&key), revision) else { continue };
                // A watch that lags begins anew; what it missed is looked at first.
                let _ = changes.next().await;
            }
        });
    }
}

fn service(server: &Inner) -> Value {
    let ip = server.config.service_cidr.at(1).to_string();
    json!({
        "metadata": metadata(),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    })
}

fn metadata() -> Value {
    json!({
        "name": "kubernetes",
        "namespace": "default",
        "labels": {"component": "apiserver", "provider": "kubernetes"},
    })
}

fn endpoints(server: &Inner, port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": server.config.advertise_address.to_string()}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn slice(server: &Inner, port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if server.config.advertise_address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [server.config.advertise_address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

/// Creates the object, or puts the parts that are ours back into it.
async fn put(server: &Inner, group: &str, resource: &str, wanted: Value) -> Result<(), Status> {
    let key = Key::new(group, resource, "default", "kubernetes");
    let Some(current) = server.store.get(&key) else {
        return match resource {
            "services" => create_service(server, wanted).await,
            _ => super::ensure(server, group, resource, "default", "kubernetes", wanted).await,
        };
    };
    let mut new = current.value();
    for field in ["subsets", "endpoints", "ports", "addressType"] {
        if let Some(value) = wanted.get(field) {
            new[field] = value.clone();
        }
    }
    if new == current.value() {
        return Ok(());
    }
    let Some(kind) = catalog::of_storage(group, resource) else { return Ok(()) };
    let step = |_: Option<&_>| Ok::<_, Infallible>(Step::Put(crate::change::draft(kind, &new)));
    server.store.guaranteed_update(&key, step).await.map(drop).map_err(Status::internal)
}

/// The Service, with the IPAddress that says whose its address is.
async fn create_service(server: &Inner, wanted: Value) -> Result<(), Status> {
    let Some(kind) = catalog::of_storage("", "services") else { return Ok(()) };
    let reservation = match server.allocators.reserve_for_create(kind, &mut wanted.clone(), false) {
        Ok(reservation) => reservation,
        Err(status) => {
            // The store was written under an older configuration.
            tracing::warn!(%status, "the address of the kubernetes service is not free");
            Reservation::none()
        }
    };
    let key = Key::new("", "services", "default", "kubernetes");
    super::ensure_with(server, key, wanted, reservation.companions()).await?;
    reservation.commit();
    Ok(())
}
