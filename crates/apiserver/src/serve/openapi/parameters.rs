//! What requests may say beside their bodies.

use serde_json::{Map, Value, json};

use super::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Path,
    Query,
}

/// Order is by name, then by place: that of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    kind: &'static str,
    /// Under which name version 2 shares it; empty where every operation has it written out.
    shared: &'static str,
}

impl Parameter {
    const fn text(name: &'static str, shared: &'static str) -> Self {
        Self { name, place: Place::Query, kind: "string", shared }
    }

    const fn flag(name: &'static str, shared: &'static str) -> Self {
        Self { name, place: Place::Query, kind: "boolean", shared }
    }

    const fn number(name: &'static str, shared: &'static str) -> Self {
        Self { name, place: Place::Query, kind: "integer", shared }
    }

    const fn in_path(name: &'static str, shared: &'static str) -> Self {
        Self { name, place: Place::Path, kind: "string", shared }
    }

    /// As it stands beside an operation.
    pub fn describe(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::V2 if !self.shared.is_empty() => json!({"$ref": format!("#/parameters/{}", self.shared)}),
            _ => self.whole(dialect),
        }
    }

    fn whole(&self, dialect: Dialect) -> Value {
        let (name, kind) = (self.name, self.kind);
        let place = if self.place == Place::Path { "path" } else { "query" };
        let mut parameter = match dialect {
            Dialect::V2 => json!({"name": name, "in": place, "type": kind, "uniqueItems": true}),
            Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": kind, "uniqueItems": true}}),
        };
        if self.place == Place::Path {
            parameter["required"] = true.into();
        }
        parameter
    }
}

/// All that version 2 shares.
pub fn shared() -> Map<String, Value> {
    let lists = [LIST, DELETE, CREATE, PATCH, LOG, EXEC, ATTACH, PORT_FORWARD, IN_PATH, &[PRETTY]];
    let all = lists.into_iter().flatten().chain(PROXY.iter().map(|(_, parameter)| parameter));
    let shared = all.filter(|parameter| !parameter.shared.is_empty());
    let mut shared: Map<String, Value> =
        shared.map(|parameter| (parameter.shared.into(), parameter.whole(Dialect::V2))).collect();
    for (definition, name, required) in BODIES {
        let mut body = json!({"name": "body", "in": "body", "schema": {"$ref": format!("#/definitions/{definition}")}});
        if *required {
            body["required"] = true.into();
        }
        shared.insert((*name).into(), body);
    }
    shared
}

/// Under which name version 2 shares a body.
pub fn shared_body(definition: &str) -> Option<&'static str> {
    BODIES.iter().find(|(shared, ..)| *shared == definition).map(|(_, name, _)| *name)
}

const BODIES: &[(&str, &str, bool)] = &[
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "body-2Y1dVQaQ", false),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", "body-78PwaGsr", true),
];

pub const IN_PATH: &[Parameter] = &[
    Parameter::in_path("name", ""),
    Parameter::in_path("namespace", "namespace-vgWSWtn3"),
    Parameter::in_path("path", "path-z6Ciiujn"),
];

pub const PRETTY: Parameter = Parameter::text("pretty", "pretty-tJGM1-ng");
/// Only custom resources say that they take it.
pub const RESOURCE_VERSION: Parameter = Parameter::text("resourceVersion", "resourceVersion-5WAnf1kx");
const DRY_RUN: Parameter = Parameter::text("dryRun", "");
const FIELD_VALIDATION: Parameter = Parameter::text("fieldValidation", "");

pub const LIST: &[Parameter] = &[
    Parameter::flag("allowWatchBookmarks", "allowWatchBookmarks-HC2hJt-J"),
    Parameter::text("continue", "continue-QfD61s0i"),
    Parameter::text("fieldSelector", "fieldSelector-xIcQKXFG"),
    Parameter::text("labelSelector", "labelSelector-5Zw57w4C"),
    Parameter::number("limit", "limit-1NfNmdNH"),
    RESOURCE_VERSION,
    Parameter::text("resourceVersionMatch", "resourceVersionMatch-t8XhRHeC"),
    Parameter::flag("sendInitialEvents", "sendInitialEvents-rLXlEK_k"),
    Parameter::text("shardSelector", "shardSelector-Kgyki_3_"),
    Parameter::number("timeoutSeconds", "timeoutSeconds-yvYezaOC"),
    Parameter::flag("watch", "watch-XNNPZGbK"),
];

/// What a list takes and a deletion of many does not.
pub const WATCHING: &[&str] = &["allowWatchBookmarks", "watch"];

pub const DELETE: &[Parameter] = &[
    DRY_RUN,
    Parameter::number("gracePeriodSeconds", "gracePeriodSeconds--K5HaBOS"),
    Parameter::flag(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "ignoreStoreReadErrorWithClusterBreakingPotential-QbNkfIqj",
    ),
    Parameter::flag("orphanDependents", "orphanDependents-uRB25kX5"),
    Parameter::text("propagationPolicy", "propagationPolicy-6jk3prlO"),
];

pub const CREATE: &[Parameter] = &[DRY_RUN, Parameter::text("fieldManager", "fieldManager-Qy4HdaTW"), FIELD_VALIDATION];

pub const PATCH: &[Parameter] = &[
    DRY_RUN,
    Parameter::text("fieldManager", "fieldManager-7c6nTn1T"),
    FIELD_VALIDATION,
    Parameter::flag("force", "force-tOGGb0Yi"),
];

/// What a subresource takes of its own.
pub fn of_subresource(resource: &str, name: &str) -> Vec<Parameter> {
    match name {
        "log" => LOG.to_vec(),
        "exec" => EXEC.to_vec(),
        "attach" => ATTACH.to_vec(),
        "portforward" => PORT_FORWARD.to_vec(),
        "proxy" => PROXY.iter().filter(|(owner, _)| *owner == resource).map(|(_, parameter)| *parameter).collect(),
        _ => Vec::new(),
    }
}

const LOG: &[Parameter] = &[
    Parameter::text("container", "container-1GeXxFDC"),
    Parameter::flag("follow", "follow-9OIXh_2R"),
    Parameter::flag("insecureSkipTLSVerifyBackend", "insecureSkipTLSVerifyBackend-gM00jVbe"),
    Parameter::number("limitBytes", "limitBytes-zwd1RXuc"),
    Parameter::flag("previous", "previous-1jxDPu3y"),
    Parameter::number("sinceSeconds", "sinceSeconds-vE2NLdnP"),
    Parameter::text("stream", "stream-l-48cgXv"),
    Parameter::number("tailLines", "tailLines-9xQLWHMV"),
    Parameter::flag("timestamps", "timestamps-c17fW1w_"),
];

const EXEC: &[Parameter] = &[
    Parameter::text("command", "command-Py3eQybp"),
    Parameter::text("container", "container-i5dOmRiM"),
    Parameter::flag("stderr", "stderr-W_1TNlWc"),
    Parameter::flag("stdin", "stdin-PSzNhyUC"),
    Parameter::flag("stdout", "stdout--EZLRwV1"),
    Parameter::flag("tty", "tty-s0flW37O"),
];

const ATTACH: &[Parameter] = &[
    Parameter::text("container", "container-_Q-EJ3nR"),
    Parameter::flag("stderr", "stderr-26jJhFUR"),
    Parameter::flag("stdin", "stdin-sEFnN3IS"),
    Parameter::flag("stdout", "stdout-005YMKE6"),
    Parameter::flag("tty", "tty-g7MlET_l"),
];

const PORT_FORWARD: &[Parameter] = &[Parameter::number("ports", "ports-91KROJmm")];

const PROXY: &[(&str, Parameter)] = &[
    ("nodes", Parameter::text("path", "path-rFDtV0x9")),
    ("pods", Parameter::text("path", "path-oPbzgLUj")),
    ("services", Parameter::text("path", "path-QCf0eosM")),
];
