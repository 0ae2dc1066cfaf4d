//! Admission of connections: `exec`, `attach`, `portforward`, `proxy`. Their object is made of the query.

use admission::Operation;
use admission::webhook::Reinvocation;
use apimachinery::{Status, strict};
use registry::strategy::Resource;
use serde_json::{Value, json};

use crate::call::Call;
use crate::server::Inner;

/// Asks the chain. Whatever it changes in the options changes nothing: what is executed is the query.
pub async fn admit(server: &Inner, call: &Call, resource: &Resource, sub: &str) -> Result<(), Status> {
    let mut options = options(call, resource, sub);
    let mut request = admission::Request {
        operation: Operation::Connect,
        resource,
        subresource: sub,
        namespace: &call.info.namespace,
        name: &call.info.name,
        object: Some(&mut options),
        old: None,
        user: &call.user,
        dry_run: false,
        store: &server.store,
        origin: call,
        services: &server.admission,
        reinvocation: Reinvocation::default(),
    };
    admission::mutate(&mut request).await?;
    admission::validate(&request).await
}

/// PodExecOptions and the like.
fn options(call: &Call, resource: &Resource, sub: &str) -> Value {
    let row = resource.subresources.iter().find(|row| row.name == sub);
    let kind = row.map(|row| row.kind).unwrap_or_default();
    let mut options = match sub {
        "exec" | "attach" => stream_options(call),
        "portforward" => json!({"ports": ports(call)}),
        _ => json!({"path": path(call)}),
    };
    options["kind"] = kind.into();
    options["apiVersion"] = "v1".into();
    if let Some(definition) = api::schema::kind("", "v1", kind) {
        let fits = strict::normalize(&mut options, definition.node());
        debug_assert!(fits.is_ok(), "options are made of texts, flags and numbers");
    }
    options
}

fn stream_options(call: &Call) -> Value {
    let mut options = json!({});
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if call.query.is_true(flag) {
            options[flag] = true.into();
        }
    }
    if let Some(container) = call.query.get("container").filter(|name| !name.is_empty()) {
        options["container"] = container.into();
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    options
}

fn ports(call: &Call) -> Vec<i64> {
    let texts = call.query.all("ports").flat_map(|ports| ports.split(','));
    texts.filter_map(|port| port.parse().ok()).collect()
}

/// What follows `proxy`.
fn path(call: &Call) -> String {
    match call.info.rest.as_str() {
        "" => call.query.text("path").to_owned(),
        rest => format!("/{rest}"),
    }
}
