//! `version` and `cluster-info`: who is there.

use serde_json::{Map, Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Call;
use crate::print::{to_json, to_yaml};
use crate::session::Session;

const GIT_VERSION: &str = concat!("v1.36.2+coracle", env!("CARGO_PKG_VERSION"));

pub const VERSION: Command = Command {
    name: "version",
    about: "Print the client and server version information",
    usage: "[flags] [options]",
    flags: &[&[
        Flag::switch("client", "If true, shows client version only (no server required)."),
        Flag::text("output", "One of 'yaml' or 'json'.").short('o'),
    ]],
    run: runs!(version),
    ..Command::EMPTY
};

pub const CLUSTER_INFO: Command = Command {
    name: "cluster-info",
    about: "Display addresses of the control plane and services with label kubernetes.io/cluster-service=true.",
    usage: "[flags] [options]",
    children: &[&super::dump::COMMAND],
    run: runs!(cluster_info),
    ..Command::EMPTY
};

async fn version(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let output = parsed.text("output");
    if !["", "json", "yaml"].contains(&output) {
        return fail!("--output must be 'yaml' or 'json'");
    }
    let (mut server, mut failure) = (None, None);
    if !parsed.on("client") {
        match Call::get("/version").value(session.client()?).await {
            Ok(value) => server = Some(value),
            Err(why) => failure = Some(why),
        }
    }
    let own = json!({
        "major": "1",
        "minor": "36",
        "gitVersion": GIT_VERSION,
        "gitTreeState": "clean",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    let mut all = Map::from_iter([("clientVersion".to_owned(), own)]);
    match output {
        "" => {
            session.streams.line(format!("Client Version: {GIT_VERSION}"))?;
            if let Some(server) = &server {
                let version = server["gitVersion"].as_str().unwrap_or_default();
                session.streams.line(format!("Server Version: {version}"))?;
            }
        }
        format => {
            all.extend(server.map(|server| ("serverVersion".to_owned(), server)));
            let all = Value::Object(all);
            session.streams.print(if format == "json" { to_json(&all) + "\n" } else { to_yaml(&all) })?;
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn cluster_info(session: &Session, _: Parsed) -> Result<(), Failure> {
    let server = session.config.endpoint()?.server;
    let call = Call::get("/api/v1/namespaces/kube-system/services")
        .query("labelSelector", "kubernetes.io/cluster-service=true");
    let services = call.value(session.client()?).await?;
    session.streams.line(format!("Kubernetes control plane is running at {server}"))?;
    for service in services["items"].as_array().into_iter().flatten() {
        let name = apimachinery::object::label(service, "kubernetes.io/name")
            .unwrap_or_else(|| apimachinery::object::name(service));
        session.streams.line(format!("{name} is running at {}", link(&server, service)))?;
    }
    session.streams.print("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.\n")
}

/// A service's own address where it has one, else the way through the API server's proxy.
fn link(server: &str, service: &Value) -> String {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ingress = &service["status"]["loadBalancer"]["ingress"][0];
    if let Some(host) = ingress["ip"].as_str().or(ingress["hostname"].as_str()) {
        return ports.iter().map(|port| format!("http://{host}:{} ", port["port"])).collect();
    }
    let name = apimachinery::object::name(service);
    let first = ports.first().unwrap_or(&Value::Null);
    let scheme = if first["name"] == "https" || first["port"] == 443 { "https:" } else { "" };
    let port =
        first["name"].as_str().filter(|name| !name.is_empty()).map(|name| format!(":{name}")).unwrap_or_default();
    let port = if port.is_empty() && !scheme.is_empty() { ":".to_owned() } else { port };
    let namespace = apimachinery::object::namespace(service);
    format!("{server}/api/v1/namespaces/{namespace}/services/{scheme}{name}{port}/proxy")
}
