//! `port-forward`: local ports that lead to a pod's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::named::{RUNNING_TIMEOUT, one_object};
use crate::Streams;
use crate::command::{Command, runs};
use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Info;
use crate::remote::{Forwarder, Order, pod_behind};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "port-forward",
    about: "Forward one or more local ports to a pod",
    usage: "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    flags: &[
        &[Flag::list(
            "address",
            "Addresses to listen on (comma separated). Only accepts IP addresses or localhost as a value.",
        )
        .or("localhost")],
        RUNNING_TIMEOUT,
    ],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [named, ports @ ..] = parsed.arguments.as_slice() else { return Err(missing(session)) };
    if ports.is_empty() {
        return Err(missing(session));
    }
    let info = one_object(session, named).await?;
    let pods = pod_behind(session, &info, Order::Active, parsed.duration("pod-running-timeout")).await?;
    let pod = pods.first().ok_or("no pod was found")?;
    let ports: Vec<Port> = ports.iter().map(|text| Port::parse(text, &info, pod)).collect::<Result<_, _>>()?;
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if phase != "Running" {
        return fail!("unable to forward port because pod is not running. Current status={phase}");
    }
    let mapping = session.catalog().await?.resource("pods")?;
    let pod = Info::new(&mapping, &info.namespace, apimachinery::object::name(pod));
    let forwarder = Forwarder::connect(session.client()?, &(pod.path() + "/portforward")).await;
    let forwarder = forwarder.map_err(|failure| {
        let why = failure.status().map_or_else(|| failure.text(), |status| status.message.clone());
        format!("error upgrading connection: {why}")
    })?;
    let forwarder = Arc::new(forwarder);
    for port in ports {
        for (listener, address) in listen(&parsed.list("address"), port.local, &session.streams).await? {
            let (host, local) = (bracketed(address.ip()), address.port());
            session.streams.line(format!("Forwarding from {host}:{local} -> {}", port.remote))?;
            let accepting = accept(listener, forwarder.clone(), port.remote, local, session.streams.clone());
            forwarder.tasks().spawn_until_cancelled("port forwarding", accepting);
        }
    }
    forwarder.lost().await;
    fail!("lost connection to pod")
}

fn missing(session: &Session) -> Failure {
    session.usage("TYPE/NAME and list of ports are required for port-forward")
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

#[derive(Debug, PartialEq, Eq)]
struct Port {
    /// Zero: any.
    local: u16,
    remote: u16,
}

impl Port {
    /// `REMOTE`, `LOCAL:REMOTE` or `:REMOTE`; a remote may be a name.
    fn parse(text: &str, named: &Info, pod: &Value) -> Result<Self, Failure> {
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (Some(local), remote),
            None => (None, text),
        };
        let (asked, target) = if named.mapping.kind == "Service" {
            service_port(&named.object, pod, remote)?
        } else {
            let port = pod_port(pod, remote)?;
            (port, port)
        };
        let local = match local {
            None => asked,
            Some("") => 0,
            Some(local) => local.parse().map_err(|_| {
                format!("error parsing local port {local:?}: strconv.ParseUint: parsing {local:?}: invalid syntax")
            })?,
        };
        if target == 0 {
            return fail!("remote port must be > 0");
        }
        Ok(Self { local, remote: target })
    }
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}

fn pod_port(pod: &Value, wanted: &str) -> Result<u16, Failure> {
    if let Ok(port) = wanted.parse() {
        return Ok(port);
    }
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
    let found = ports.find(|port| port["name"] == wanted).and_then(|port| number(&port["containerPort"]));
    found.ok_or_else(|| {
        let name = apimachinery::object::name(pod);
        Failure::Plain(format!("Pod '{name}' does not have a named port '{wanted}'"))
    })
}

/// The service's port, and the pod's port behind it.
fn service_port(service: &Value, pod: &Value, wanted: &str) -> Result<(u16, u16), Failure> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let by_number = wanted.parse::<u16>().ok();
    let found = ports.iter().find(|port| match by_number {
        Some(wanted) => number(&port["port"]) == Some(wanted),
        None => port["name"] == wanted,
    });
    let name = apimachinery::object::name(service);
    let Some(port) = found else {
        return match by_number {
            Some(_) => fail!("Service {name} does not have a service port {wanted}"),
            None => fail!("Service '{name}' does not have a named port '{wanted}'"),
        };
    };
    if port["protocol"] == "UDP" {
        return fail!("UDP protocol is not supported for {wanted}");
    }
    let own = number(&port["port"]).unwrap_or(0);
    if service["spec"]["clusterIP"] == "None" {
        return Ok((own, own));
    }
    match &port["targetPort"] {
        Value::String(name) => Ok((own, pod_port(pod, name)?)),
        target => Ok((own, number(target).filter(|target| *target != 0).unwrap_or(own))),
    }
}

/// Listeners on all addresses; of `localhost`'s two, one is enough.
async fn listen(addresses: &[String], port: u16, streams: &Streams) -> Result<Vec<(TcpListener, SocketAddr)>, Failure> {
    let mut listeners = Vec::new();
    let mut port = port;
    for address in addresses {
        let candidates: Vec<IpAddr> = match address.as_str() {
            "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            text => vec![text.parse().map_err(|_| format!("{text} is not a valid IP"))?],
        };
        for candidate in candidates {
            match bind(candidate, port).await {
                Ok((listener, bound)) => {
                    // A port of the system's choice is the same on all addresses.
                    port = bound.port();
                    listeners.push((listener, bound));
                }
                Err(error) => {
                    let what = if candidate.is_ipv6() { "tcp6" } else { "tcp4" };
                    streams.note(format!(
                        "Unable to listen on port {port}: Listeners failed to create with the following errors: [unable \
                         to create listener: Error listen {what} {}:{port}: bind: {}]",
                        bracketed(candidate),
                        os_text(&error)
                    ));
                }
            }
        }
    }
    if listeners.is_empty() {
        return fail!("unable to listen on any of the requested ports: [{{{port} {port}}}]");
    }
    Ok(listeners)
}

async fn bind(address: IpAddr, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((address, port)).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

async fn accept(listener: TcpListener, forwarder: Arc<Forwarder>, remote: u16, local: u16, streams: Streams) {
    while let Ok((connection, _)) = listener.accept().await {
        if streams.line(format!("Handling connection for {local}")).is_err() {
            return;
        }
        let handling = handle(connection, forwarder.clone(), remote, local, streams.clone());
        forwarder.tasks().spawn_until_cancelled("forwarded connection", handling);
    }
}

async fn handle(connection: TcpStream, forwarder: Arc<Forwarder>, remote: u16, local: u16, streams: Streams) {
    let copied = match forwarder.open(remote).await {
        Ok(opened) => opened.copy(connection).await,
        Err(error) => Err(error),
    };
    match copied {
        Ok(complaint) if complaint.is_empty() => {}
        Ok(complaint) => {
            streams.note(format!("an error occurred forwarding {local} -> {remote}: {complaint}"));
        }
        Err(error) => tracing::debug!(%error, "forwarded connection ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(kind: &str, object: Value) -> Info {
        let mapping = crate::objects::Mapping { kind: kind.into(), namespaced: true, ..Default::default() };
        Info::of_object(&Arc::new(mapping), object)
    }

    #[test]
    fn ports_are_translated() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let service = named(
            "Service",
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"port": 81}]}}),
        );
        let bare = named("Pod", pod.clone());
        let parsed = |text: &str, info: &Info| Port::parse(text, info, &pod).map_err(|failure| failure.text());
        assert_eq!(parsed("80", &service), Ok(Port { local: 80, remote: 8080 }));
        assert_eq!(parsed("9000:web", &service), Ok(Port { local: 9000, remote: 8080 }));
        assert_eq!(parsed(":81", &service), Ok(Port { local: 0, remote: 81 }));
        assert_eq!(parsed("82", &service), Err("Service s does not have a service port 82".into()));
        assert_eq!(parsed("http", &bare), Ok(Port { local: 8080, remote: 8080 }));
        assert_eq!(parsed("x", &bare), Err("Pod 'p' does not have a named port 'x'".into()));
    }
}
