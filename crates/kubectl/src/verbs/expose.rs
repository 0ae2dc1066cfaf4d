//! `expose`: a Service for what a deployment, replica set, pod or another service runs.

use serde_json::{Map, Value, json};

use super::apply::set_last_applied;
use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "expose",
    about: "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
    usage: "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] \
            [--name=name] [--external-ip=external-ip-of-service] [--type=type] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("cluster-ip", "ClusterIP to be assigned to the service. Set to 'None' to create a headless service."),
    Flag::text("external-ip", "Additional external IP address (not managed by Kubernetes) to accept for the service."),
    Flag::text("labels", "Labels to apply to the service created by this call.").short('l'),
    Flag::text("load-balancer-ip", "IP to assign to the LoadBalancer."),
    Flag::text("name", "The name for the newly created object."),
    Flag::text(
        "port",
        "The port that the service should serve on. Copied from the resource being exposed, if unspecified",
    ),
    Flag::text("protocol", "The network protocol for the service to be created. Default is 'TCP'."),
    Flag::switch("save-config", "If true, the configuration of current object will be saved in its annotation."),
    Flag::text("selector", "A label selector to use for this service."),
    Flag::text("session-affinity", "If non-empty, set the session affinity for the service to this."),
    Flag::text(
        "target-port",
        "Name or number for the port on the container that the service should direct traffic to.",
    ),
    Flag::text("type", "Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut writing = Writing::of(session, &parsed, "kubectl-expose")?;
    let mut asked = Asked::of(session, &parsed)?;
    // Here `--selector` is the service's.
    asked.labels = None;
    let (infos, mut failures) = asked.select(session).await?.fetched(session.client()?).await?;
    for info in infos {
        failures.extend(expose_one(session, &parsed, &mut writing, &info).await.err());
    }
    Failure::all(failures)
}

async fn expose_one(session: &Session, parsed: &Parsed, writing: &mut Writing<'_>, info: &Info) -> Result<(), Failure> {
    let exposed = Exposed::of(info)?;
    let mut service = service(parsed, info, &exposed)?;
    if parsed.on("save-config") {
        set_last_applied(&mut service);
    }
    let (namespace, given) = session.config.namespace();
    if writing.dry_run == DryRun::Client {
        if given {
            apimachinery::object::set_namespace(&mut service, &namespace);
        }
        return writing.report(&service, "exposed");
    }
    let mapping = session.catalog().await?.of_object(&service)?;
    let mut made = Info::of_object(&mapping, service);
    made.namespace.clone_from(&info.namespace);
    let created = made.create(session.client()?, &writing.write()).await?;
    writing.report(&created, "exposed")
}

/// What a service can learn from an object.
struct Exposed {
    selector: Option<Map<String, Value>>,
    /// Port and protocol.
    ports: Vec<(i64, String)>,
}

impl Exposed {
    fn of(info: &Info) -> Result<Self, Failure> {
        let object = &info.object;
        let labels = |value: &Value| value.as_object().cloned().filter(|labels| !labels.is_empty());
        let (selector, ports) = match (info.mapping.group.as_str(), info.mapping.kind.as_str()) {
            ("", "Pod") => (labels(&object["metadata"]["labels"]), container_ports(&object["spec"])),
            ("", "Service") => (labels(&object["spec"]["selector"]), service_ports(object)),
            ("", "ReplicationController") => {
                (labels(&object["spec"]["selector"]), container_ports(&object["spec"]["template"]["spec"]))
            }
            ("apps" | "extensions", "Deployment" | "ReplicaSet") => {
                let selector = &object["spec"]["selector"];
                if selector["matchExpressions"].as_array().is_some_and(|list| !list.is_empty()) {
                    return fail!(
                        "couldn't convert expressions - \"{}\" to map-based selector format",
                        selector["matchExpressions"]
                    );
                }
                (labels(&selector["matchLabels"]), container_ports(&object["spec"]["template"]["spec"]))
            }
            _ => return fail!("cannot expose a {}", info.mapping.kind_name()),
        };
        Ok(Self { selector, ports })
    }
}

fn container_ports(spec: &Value) -> Vec<(i64, String)> {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
    ports.map(|port| (port["containerPort"].as_i64().unwrap_or(0), protocol(port))).collect()
}

fn service_ports(service: &Value) -> Vec<(i64, String)> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    ports.iter().map(|port| (port["port"].as_i64().unwrap_or(0), protocol(port))).collect()
}

fn protocol(port: &Value) -> String {
    port["protocol"].as_str().unwrap_or("TCP").to_owned()
}

fn service(parsed: &Parsed, info: &Info, exposed: &Exposed) -> Result<Value, Failure> {
    let selector = match parsed.some("selector") {
        Some(text) => labels_of(text)?,
        None => exposed.selector.clone().ok_or_else(|| match info.mapping.kind.as_str() {
            "Pod" => "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels and cannot be exposed",
            _ => "couldn't retrieve selectors via --selector flag or introspection: no selector",
        })?,
    };
    let labels = match parsed.some("labels") {
        Some(text) => labels_of(text)?,
        None => info.object["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
    };
    let name: String = parsed.some("name").unwrap_or(&info.name).chars().take(63).collect();
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector},
        "status": {"loadBalancer": {}},
    });
    if !labels.is_empty() {
        service["metadata"]["labels"] = Value::Object(labels);
    }
    let ports = ports(parsed, exposed)?;
    if !ports.is_empty() {
        service["spec"]["ports"] = ports.into();
    }
    for (flag, field) in [
        ("type", "type"),
        ("session-affinity", "sessionAffinity"),
        ("cluster-ip", "clusterIP"),
        ("load-balancer-ip", "loadBalancerIP"),
    ] {
        if let Some(text) = parsed.some(flag) {
            service["spec"][field] = text.into();
        }
    }
    if let Some(address) = parsed.some("external-ip") {
        service["spec"]["externalIPs"] = json!([address]);
    }
    Ok(service)
}

fn ports(parsed: &Parsed, exposed: &Exposed) -> Result<Vec<Value>, Failure> {
    let given = parsed.some("port").map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let headless = parsed.text("cluster-ip") == "None";
    let wanted: Vec<String> = match given {
        Some(ports) => ports,
        None if exposed.ports.is_empty() && headless => Vec::new(),
        None if exposed.ports.is_empty() => return fail!("couldn't find port via --port flag or introspection"),
        None => exposed.ports.iter().map(|(port, _)| port.to_string()).collect(),
    };
    let many = wanted.len() > 1;
    let mut ports = Vec::new();
    for (index, text) in wanted.iter().enumerate() {
        let number: i64 = text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?;
        let known = exposed.ports.iter().filter(|(port, _)| *port == number).map(|(_, protocol)| protocol.as_str());
        let protocols: Vec<&str> = match parsed.some("protocol") {
            Some(protocol) => vec![protocol],
            None => Some(known.collect::<Vec<_>>()).filter(|known| !known.is_empty()).unwrap_or(vec!["TCP"]),
        };
        for protocol in &protocols {
            let mut port = json!({"port": number, "protocol": protocol, "targetPort": target(parsed, number)});
            if many || protocols.len() > 1 {
                let suffix = if protocols.len() > 1 { format!("-{}", protocol.to_lowercase()) } else { String::new() };
                port["name"] = format!("port-{}{suffix}", index + 1).into();
            }
            ports.push(port);
        }
    }
    Ok(ports)
}

fn target(parsed: &Parsed, port: i64) -> Value {
    match parsed.some("target-port") {
        Some(text) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        None => port.into(),
    }
}

/// `a=b,c=d`.
fn labels_of(text: &str) -> Result<Map<String, Value>, Failure> {
    let mut labels = Map::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("unexpected label spec: {pair}"))?;
        labels.insert(key.to_owned(), value.into());
    }
    Ok(labels)
}
