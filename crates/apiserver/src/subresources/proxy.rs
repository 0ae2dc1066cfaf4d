//! `proxy` of pods, services and nodes: dialled from the API server's host.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use apimachinery::{Status, object};
use http::{HeaderValue, Method, Response, StatusCode, header};
use rand::seq::IndexedRandom;
use registry::strategy::Resource;
use serde_json::Value;
use store::Key;

use super::connect;
use super::kubelet::{self, Backend};
use super::rewrite::Place;
use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::server::Inner;

/// `[scheme:]name[:port]`.
struct Target<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Target<'a>, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let target = match parts.as_slice() {
            [name] => Target { scheme: "", name, port: "" },
            [name, port] => Target { scheme: "", name, port },
            [scheme, name, port] => Target { scheme, name, port },
            _ => return Err(invalid(text)),
        };
        if target.name.is_empty() || !matches!(target.scheme, "" | "http" | "https") {
            return Err(invalid(text));
        }
        Ok(target)
    }
}

fn invalid(text: &str) -> Status {
    Status::bad_request(format!("invalid service request {text:?}"))
}

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let target = Target::parse(&call.info.name)?;
    connect::admit(server, call, resource, "proxy").await?;
    let needs_slash = call.info.rest.is_empty() && !call.info.path.ends_with('/');
    if needs_slash && matches!(call.method, Method::GET | Method::HEAD) && !kubelet::is_upgrade(call) {
        return Ok(redirect(call));
    }
    let backend = backend(server, call, resource, &target)?;
    let path = format!("/{}{}", call.info.rest, query_text(call));
    let request = kubelet::request(call, call.method.clone(), &backend.address.to_string(), &path)?;
    let response = backend.send(server, call, request).await?;
    let place = Place { base: base(call), authority: backend.address.to_string() };
    place.rewrite(response).await
}

fn redirect(call: &Call) -> Response<Body> {
    let mut response = Response::new(crate::body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let place = format!("{}/{}", call.info.path, query_text(call));
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn query_text(call: &Call) -> String {
    call.query.raw().map(|raw| format!("?{raw}")).unwrap_or_default()
}

/// Where the proxied path begins for the client.
fn base(call: &Call) -> String {
    let path = &call.info.path;
    let end = path.find("/proxy").map_or(path.len(), |at| at + "/proxy".len());
    path[..end].to_string()
}

fn backend(server: &Inner, call: &Call, resource: &Resource, target: &Target<'_>) -> Result<Backend, Status> {
    let address = match resource.name {
        "nodes" => match node_address(server, target)? {
            Some(address) => address,
            None => return Backend::kubelet(server, target.name),
        },
        "pods" => pod_address(server, call, resource, target)?,
        _ => service_address(server, call, resource, target)?,
    };
    // Nobody knows the authorities of such certificates.
    let tls = (target.scheme == "https").then(|| server.kubelets.trusting());
    Ok(Backend { address, tls })
}

/// Another port of a node than its kubelet's.
fn node_address(server: &Inner, target: &Target<'_>) -> Result<Option<SocketAddr>, Status> {
    let kubelet = Backend::kubelet(server, target.name)?.address;
    if target.port.is_empty() || target.port == kubelet.port().to_string() {
        return Ok(None);
    }
    let port = target.port.parse().map_err(|_| invalid(target.port))?;
    check_dialled(kubelet.ip())?;
    Ok(Some(SocketAddr::new(kubelet.ip(), port)))
}

fn pod_address(server: &Inner, call: &Call, resource: &Resource, target: &Target<'_>) -> Result<SocketAddr, Status> {
    let stored = server.store.get(&resource.key(&call.info.namespace, target.name));
    let pod = stored.ok_or_else(|| call.not_found(resource, target.name))?.value();
    let ip = pod.pointer("/status/podIP").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = if target.port.is_empty() { first_port(&pod, target.scheme) } else { target.port.parse().ok() };
    let port = port.ok_or_else(|| invalid(&call.info.name))?;
    check_dialled(ip)?;
    Ok(SocketAddr::new(ip, port))
}

fn first_port(pod: &Value, scheme: &str) -> Option<u16> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten();
    let first = ports.filter_map(|port| port["containerPort"].as_u64()).next();
    Some(first.and_then(|port| u16::try_from(port).ok()).unwrap_or(if scheme == "https" { 443 } else { 80 }))
}

/// Nobody reaches the server's own loopback or link-local addresses through a pod's or endpoint's address.
fn check_dialled(ip: IpAddr) -> Result<(), Status> {
    let refused = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_multicast(),
    };
    if refused { Err(Status::bad_request("address not allowed")) } else { Ok(()) }
}

fn service_address(
    server: &Inner,
    call: &Call,
    resource: &Resource,
    target: &Target<'_>,
) -> Result<SocketAddr, Status> {
    let stored = server.store.get(&resource.key(&call.info.namespace, target.name));
    let service = stored.ok_or_else(|| call.not_found(resource, target.name))?.value();
    let port_name = port_name(&service, target)?;
    let endpoints = ready_endpoints(server, &call.info.namespace, target.name, &port_name);
    let chosen = endpoints.choose(&mut rand::rng()).copied();
    let none = || Status::service_unavailable(format!("no endpoints available for service {:?}", target.name));
    let address = chosen.ok_or_else(none)?;
    check_dialled(address.ip())?;
    Ok(address)
}

/// The name of the port that is asked for by name, by number, or by being the only one.
fn port_name(service: &Value, target: &Target<'_>) -> Result<String, Status> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |port: &Value| port["name"].as_str().unwrap_or_default().to_string();
    if target.port.is_empty() {
        return Ok(ports.first().map(name).unwrap_or_default());
    }
    let number: Option<u64> = target.port.parse().ok();
    let found = ports.iter().find(|port| name(port) == target.port || number.is_some_and(|n| port["port"] == n));
    let missing = || {
        Status::service_unavailable(format!(
            "no service port {:?} found for service {:?}",
            target.port,
            object::name(service)
        ))
    };
    found.map(name).ok_or_else(missing)
}

fn ready_endpoints(server: &Inner, namespace: &str, service: &str, port_name: &str) -> Vec<SocketAddr> {
    let prefix = Key::prefix("discovery.k8s.io", "endpointslices", Some(namespace));
    let snapshot = server.store.snapshot();
    let slices = snapshot.range(&prefix, None).map(|(_, slice)| slice);
    let own = slices.filter(|slice| slice.header.label("kubernetes.io/service-name") == Some(service));
    own.flat_map(|slice| addresses(&slice.value(), port_name)).collect()
}

fn addresses(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let number = ports
        .filter(|port| port["name"].as_str().unwrap_or_default() == port_name)
        .find_map(|port| u16::try_from(port["port"].as_u64()?).ok());
    let Some(number) = number else { return Vec::new() };
    let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let endpoints = slice["endpoints"].as_array().into_iter().flatten().filter(ready);
    let texts = endpoints.filter_map(|endpoint| endpoint["addresses"].as_array()).flatten().filter_map(Value::as_str);
    texts.filter_map(|text| Some(SocketAddr::new(text.parse().ok()?, number))).collect()
}
