//! `create service clusterip|nodeport|loadbalancer|externalname`.

use serde_json::{Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "service",
    aliases: &["svc"],
    about: "Create a service using a specified subcommand",
    usage: "[flags] [options]",
    children: &[&CLUSTER_IP, &EXTERNAL_NAME, &LOAD_BALANCER, &NODE_PORT],
    ..Command::EMPTY
};

const TCP: Flag = Flag::list("tcp", "Port pairs can be specified as '<port>:<targetPort>'.");

const CLUSTER_IP: Command = Command {
    name: "clusterip",
    about: "Create a ClusterIP service",
    usage: "NAME [--tcp=<port>:<targetPort>] [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[TCP, Flag::text("clusterip", "Assign your own ClusterIP or set to 'None' for a 'headless' service.")],
    ],
    run: runs!(cluster_ip),
    ..Command::EMPTY
};

const NODE_PORT: Command = Command {
    name: "nodeport",
    about: "Create a NodePort service",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[TCP, Flag::number("node-port", "0", "Port used to expose the service on each node in a cluster.")],
    ],
    run: runs!(node_port),
    ..CLUSTER_IP
};

const LOAD_BALANCER: Command = Command {
    name: "loadbalancer",
    about: "Create a LoadBalancer service",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, &[TCP]],
    run: runs!(load_balancer),
    ..CLUSTER_IP
};

const EXTERNAL_NAME: Command = Command {
    name: "externalname",
    about: "Create an ExternalName service",
    usage: "NAME --external-name external.name [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[TCP, Flag::text("external-name", "External name of service")],
    ],
    run: runs!(external_name),
    ..Command::EMPTY
};

/// `80`, `80:8080`, `80:http`.
fn port(spec: &str) -> Result<(i64, Value), Failure> {
    let number = |text: &str| match text.parse::<i64>() {
        Ok(number @ 0..=65535) => Ok(number),
        Ok(_) => fail!("'{text}' is not a valid port number: must be between 1 and 65535, inclusive"),
        Err(_) => fail!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
    };
    let (port, target) = spec.split_once(':').unwrap_or((spec, spec));
    let target = match target.parse::<i64>() {
        Ok(_) => number(target)?.into(),
        Err(_) => {
            let why = apimachinery::validation::is_port_name(target);
            if !why.is_empty() {
                return fail!("{}", why.join(","));
            }
            target.into()
        }
    };
    Ok((number(port)?, target))
}

fn ports(specs: &[String], node_port: i64) -> Result<Vec<Value>, Failure> {
    let made = |spec: &String| {
        let (number, target) = port(spec)?;
        let mut port = json!({
            "name": spec.replace(':', "-"), "port": number, "targetPort": target, "protocol": "TCP",
        });
        if node_port > 0 {
            port["nodePort"] = node_port.into();
        }
        Ok(port)
    };
    specs.iter().map(made).collect()
}

async fn create(session: &Session, parsed: &Parsed, kind: &str, extra: Value) -> Result<(), Failure> {
    let name = name_of(session, parsed)?;
    let tcp = parsed.list("tcp");
    let headless = extra["clusterIP"] == "None";
    if tcp.is_empty() && kind != "ExternalName" && !headless {
        return fail!("at least one tcp port specifier must be provided");
    }
    let node_port = extra["nodePort"].as_i64().unwrap_or(0);
    let mut spec = json!({"type": kind, "selector": {"app": name}});
    let ports = ports(&tcp, node_port)?;
    if !ports.is_empty() {
        spec["ports"] = json!(ports);
    }
    for field in ["clusterIP", "externalName"] {
        if let Some(text) = extra[field].as_str().filter(|text| !text.is_empty()) {
            spec[field] = text.into();
        }
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": spec,
        "status": {"loadBalancer": {}},
    });
    create_made(session, parsed, object, Some(&format!("{kind} service: "))).await
}

async fn cluster_ip(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let address = parsed.text("clusterip");
    if address == "None" && parsed.given("tcp") {
        return fail!("can not map ports with clusterip=None");
    }
    create(session, &parsed, "ClusterIP", json!({"clusterIP": address})).await
}

async fn node_port(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    create(session, &parsed, "NodePort", json!({"nodePort": parsed.number("node-port")})).await
}

async fn load_balancer(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    create(session, &parsed, "LoadBalancer", json!({})).await
}

async fn external_name(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let Some(name) = parsed.some("external-name") else {
        return fail!("required flag(s) \"external-name\" not set");
    };
    create(session, &parsed, "ExternalName", json!({"externalName": name})).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_pairs() {
        assert_eq!(port("80").ok(), Some((80, json!(80))));
        assert_eq!(port("80:http").ok(), Some((80, json!("http"))));
        assert!(port("x").is_err() && port("80:99999").is_err());
    }
}
