//! `create ingress NAME --rule=host/path=service:port[,tls[=secret]]`.

use serde_json::{Map, Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "ingress",
    aliases: &["ing"],
    about: "Create an ingress with the specified name",
    usage: "NAME --rule=host/path=service:port[,tls[=secret]] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("annotation", Kind::Texts, "Annotation to insert in the ingress object, in the format annotation=value"),
    Flag::text("class", "Ingress Class to be used"),
    Flag::text("default-backend", "Default service for backend, in format of svcname:port"),
    Flag::new("rule", Kind::Texts, "Rule in format host/path=service:port[,tls=secretname]."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let rules = parsed.texts("rule");
    if rules.is_empty() && parsed.some("default-backend").is_none() {
        return fail!(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)"
        );
    }
    let mut metadata = json!({"name": name});
    let annotations = parsed.texts("annotation");
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotated(&annotations)?);
    }
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata,
        "spec": spec(&parsed, &rules)?,
        "status": {"loadBalancer": {}},
    });
    create_made(session, &parsed, object, Some("ingress: ")).await
}

fn annotated(specs: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |spec: &String| match spec.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.into())),
        None => fail!("annotation {spec} is invalid and should be in format key=[value]"),
    };
    specs.iter().map(pair).collect()
}

fn spec(parsed: &Parsed, rules: &[String]) -> Result<Value, Failure> {
    let mut spec = json!({});
    if let Some(class) = parsed.some("class") {
        spec["ingressClassName"] = class.into();
    }
    if let Some(backend_of) = parsed.some("default-backend") {
        let Some((service, port)) = backend_of.split_once(':') else {
            return fail!("default-backend should be in format servicename:serviceport");
        };
        spec["defaultBackend"] = backend(service, port);
    }
    let rules = rules.iter().map(|text| Rule::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let (by_host, tls) = (by_host(&rules), tls(&rules));
    if !by_host.is_empty() {
        spec["rules"] = by_host.into();
    }
    if !tls.is_empty() {
        spec["tls"] = tls.into();
    }
    Ok(spec)
}

struct Rule {
    host: String,
    path: String,
    service: String,
    port: String,
    /// With the secret's name, which may be empty.
    tls: Option<String>,
}

impl Rule {
    fn parse(text: &str) -> Result<Self, Failure> {
        let invalid =
            || format!("rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]");
        let (rule, tls) = text.split_once(',').map_or((text, None), |(rule, tls)| (rule, Some(tls)));
        let (at, service) = rule.split_once('=').ok_or_else(invalid)?;
        let (host, path) = at.split_once('/').ok_or_else(invalid)?;
        let (service, port) = service.split_once(':').ok_or_else(invalid)?;
        let tls = match tls.map(|tls| tls.split_once('=').unwrap_or((tls, ""))) {
            None => None,
            Some(("tls", secret)) => Some(secret.to_owned()),
            Some(_) => return Err(invalid().into()),
        };
        if service.is_empty() || port.is_empty() {
            return Err(invalid().into());
        }
        Ok(Self { host: host.into(), path: format!("/{path}"), service: service.into(), port: port.into(), tls })
    }

    fn path(&self) -> Value {
        // A star at the end means all below.
        let (path, kind) = match self.path.strip_suffix('*') {
            Some(path) => (path, "Prefix"),
            None => (self.path.as_str(), "Exact"),
        };
        json!({"path": path, "pathType": kind, "backend": backend(&self.service, &self.port)})
    }
}

fn backend(service: &str, port: &str) -> Value {
    let port = port.parse::<i64>().map_or_else(|_| json!({"name": port}), |number| json!({"number": number}));
    json!({"service": {"name": service, "port": port}})
}

fn by_host(rules: &[Rule]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        match hosts.iter_mut().find(|(host, _)| *host == rule.host) {
            Some((_, paths)) => paths.push(rule.path()),
            None => hosts.push((&rule.host, vec![rule.path()])),
        }
    }
    let ruled = |(host, paths): (&str, Vec<Value>)| {
        let mut rule = json!({"http": {"paths": paths}});
        if !host.is_empty() {
            rule["host"] = host.into();
        }
        rule
    };
    hosts.into_iter().map(ruled).collect()
}

fn tls(rules: &[Rule]) -> Vec<Value> {
    let mut secrets: Vec<(&str, Vec<&str>)> = Vec::new();
    for rule in rules {
        let Some(secret) = &rule.tls else { continue };
        let at = secrets.iter().position(|(known, _)| known == secret);
        let at = at.unwrap_or_else(|| {
            secrets.push((secret, Vec::new()));
            secrets.len() - 1
        });
        if !rule.host.is_empty() && !secrets[at].1.contains(&rule.host.as_str()) {
            secrets[at].1.push(&rule.host);
        }
    }
    let shown = |(secret, hosts): (&str, Vec<&str>)| {
        let mut tls = json!({});
        if !hosts.is_empty() {
            tls["hosts"] = json!(hosts);
        }
        if !secret.is_empty() {
            tls["secretName"] = secret.into();
        }
        tls
    };
    secrets.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_host_are_one() {
        let rules: Vec<Rule> = ["a.b/x=s:80,tls=t", "a.b/y*=s:http,tls=t", "/=z:1"]
            .iter()
            .map(|text| Rule::parse(text).expect("valid"))
            .collect();
        let hosts = by_host(&rules);
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts[0]["http"]["paths"][1]["pathType"], "Prefix");
        assert_eq!(
            hosts[1],
            json!({"http": {"paths": [{"path": "/", "pathType": "Exact",
            "backend": {"service": {"name": "z", "port": {"number": 1}}}}]}})
        );
        assert_eq!(tls(&rules), [json!({"hosts": ["a.b"], "secretName": "t"})]);
        assert!(Rule::parse("a=b").is_err());
    }
}
