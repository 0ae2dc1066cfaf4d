//! `pods/log`, `exec`, `attach`, `portforward`: streamed from the pod's kubelet.

use std::sync::Arc;

use apimachinery::{Status, object};
use auth::Attributes;
use http::{Method, Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use super::connect;
use super::kubelet::{self, Backend};
use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::query::encode as escape;
use crate::server::Inner;
use crate::stages::authorize;

/// Parameters of logs that the kubelet takes as they are.
const LOG_PARAMETERS: &[&str] =
    &["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes"];

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource, sub: &str) -> Result<Response<Body>, Status> {
    match sub {
        "log" => check_log_parameters(call)?,
        _ => authorize_upgrade(server, call, sub)?,
    }
    let stored = server.store.get(&resource.key(&call.info.namespace, &call.info.name));
    let pod = stored.ok_or_else(|| call.not_found(resource, &call.info.name))?.value();
    if sub != "log" {
        connect::admit(server, call, resource, sub).await?;
    }
    let path = match sub {
        "log" => log_path(call, &pod)?,
        "portforward" => port_forward_path(call),
        _ => exec_path(call, &pod, sub)?,
    };
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|node| !node.is_empty());
    let Some(node) = node else { return unassigned(call, sub) };
    let backend = Backend::kubelet(server, node)?;
    let method = if sub == "log" { Method::GET } else { call.method.clone() };
    let request = kubelet::request(call, method, &backend.address.to_string(), &path)?;
    let response = backend.send(server, call, request).await?;
    Ok(response)
}

/// A GET that upgrades runs something: it needs `create` as well.
fn authorize_upgrade(server: &Inner, call: &Call, sub: &str) -> Result<(), Status> {
    if call.method != Method::GET {
        return Ok(());
    }
    let info = &call.info;
    let ask = Attributes::resource(&call.user, "create", "", "pods");
    authorize::check(server, &ask.in_namespace(&info.namespace).named(&info.name).subresource(sub))
}

fn unassigned(call: &Call, sub: &str) -> Result<Response<Body>, Status> {
    if sub == "log" {
        let mut response = Response::new(crate::body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    Err(Status::bad_request(format!("pod {} does not have a host assigned", call.info.name)))
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
}

/// The container that is meant: the named one, the only one, or the annotated default.
fn container(call: &Call, pod: &Value) -> Result<String, Status> {
    let asked = call.query.text("container");
    let (main, init, ephemeral) =
        (names(pod, "containers"), names(pod, "initContainers"), names(pod, "ephemeralContainers"));
    let pod_name = object::name(pod);
    if !asked.is_empty() {
        let known = [&main, &init, &ephemeral].iter().any(|list| list.contains(&asked));
        let unknown = || Status::bad_request(format!("container {asked} is not valid for pod {pod_name}"));
        return known.then(|| asked.to_string()).ok_or_else(unknown);
    }
    if let [only] = main.as_slice() {
        return Ok((*only).to_string());
    }
    let annotated = object::annotation(pod, "kubectl.kubernetes.io/default-container");
    if let Some(name) = annotated.filter(|name| main.contains(name)) {
        return Ok(name.to_string());
    }
    let mut why = format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", main.join(" "));
    if !init.is_empty() {
        why += &format!(" or one of the init containers: [{}]", init.join(" "));
    }
    Err(Status::bad_request(why))
}

fn log_path(call: &Call, pod: &Value) -> Result<String, Status> {
    let info = &call.info;
    let container = container(call, pod)?;
    let given = LOG_PARAMETERS.iter().filter_map(|name| Some(format!("{name}={}", escape(call.query.get(name)?))));
    let query = given.collect::<Vec<_>>().join("&");
    Ok(format!("/containerLogs/{}/{}/{container}?{query}", info.namespace, info.name))
}

fn check_log_parameters(call: &Call) -> Result<(), Status> {
    let mut errors = apimachinery::field::ErrorList::new();
    let path = apimachinery::field::Path::new;
    let number = |name: &str| call.query.get(name).and_then(|text| text.parse::<i64>().ok());
    let both = call.query.has("sinceSeconds") && call.query.has("sinceTime");
    for (name, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let is_judged = name != "sinceSeconds" || !both;
        if let Some(value) = number(name).filter(|value| is_judged && *value < least) {
            errors.invalid(&path(name), value, why);
        }
    }
    if both {
        errors.forbidden(&path(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    // To choose a stream is a feature that is off by default.
    if call.query.has("stream") {
        errors.forbidden(&path("stream"), "may not be specified");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&apimachinery::GroupKind::new("", "PodLogOptions"), &call.info.name, &errors))
}

/// The kubelet's names of the streams differ from the API's.
fn exec_path(call: &Call, pod: &Value, sub: &str) -> Result<String, Status> {
    let info = &call.info;
    let container = container(call, pod)?;
    let mut query: Vec<String> = call.query.all("command").map(|word| format!("command={}", escape(word))).collect();
    if sub == "exec" && query.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    for (name, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if call.query.is_true(name) {
            query.push(format!("{kubelets}=1"));
        }
    }
    Ok(format!("/{sub}/{}/{}/{container}?{}", info.namespace, info.name, query.join("&")))
}

fn port_forward_path(call: &Call) -> String {
    let ports = call.query.all("ports").flat_map(|ports| ports.split(','));
    let query = ports.map(|port| format!("port={}", escape(port))).collect::<Vec<_>>().join("&");
    format!("/portForward/{}/{}?{query}", call.info.namespace, call.info.name)
}
