//! Every resource and verb goes the whole way of the pipeline: who may not is refused before anything is touched, each
//! write is shown to admission exactly once, and each request is in the audit log exactly once.
//!
//! What is asked for comes from the discovery of a running server, so a resource that is added is asked for as well.
//! `tests/output/verbs.txt` lists what was reached, and may only grow; `UPDATE_EXPECT=1` writes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use apiserver::{AuditConfig, Config, LogConfig};
use auth::UserInfo;
use expect_test::expect_file;
use http::{Method, Request};
use http_body_util::BodyExt;
use rcgen::{CertificateParams, CertificateSigningRequest, KeyPair};
use serde_json::{Value, json};
use store::Key;

use crate::webhooks::{VALIDATING, Webhook, configure};
use crate::{Answer, Bench, whole};

/// Verbs whose answer comes from somewhere that is not there: they are followed as far as the way out.
const CONNECTIONS: &[&str] = &["attach", "exec", "log", "portforward", "proxy"];

/// What no webhook is asked about: none may lock its own configuration.
const CONFIGURATIONS: &str = "admissionregistration.k8s.io";

/// One row of discovery.
struct Row {
    group: String,
    version: String,
    /// `pods`, `pods/status`.
    resource: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Row {
    fn parse(group_version: &str, row: &Value) -> Row {
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        let verbs = row["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap().to_string());
        Row {
            group: group.to_string(),
            version: version.to_string(),
            resource: row["name"].as_str().unwrap().to_string(),
            kind: row["kind"].as_str().unwrap().to_string(),
            namespaced: row["namespaced"].as_bool().unwrap(),
            verbs: verbs.collect(),
        }
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    fn parts(&self) -> (&str, &str) {
        self.resource.split_once('/').unwrap_or((&self.resource, ""))
    }

    fn is_connection(&self) -> bool {
        CONNECTIONS.contains(&self.parts().1)
    }

    fn collection(&self) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let within = if self.namespaced { "namespaces/default/" } else { "" };
        format!("{root}/{}/{within}{}", self.api_version(), self.parts().0)
    }

    fn path(&self, verb: &str, name: &str) -> String {
        let (collection, sub) = (self.collection(), self.parts().1);
        match verb {
            "list" => collection,
            "create" if sub.is_empty() => collection,
            "watch" => format!("{collection}?watch=true&fieldSelector=metadata.name%3Dnone"),
            "deletecollection" => format!("{collection}?labelSelector=probe%3D{name}"),
            _ if sub.is_empty() => format!("{collection}/{name}"),
            _ => format!("{collection}/{name}/{sub}{}", if sub == "exec" { "?command=x&stdout=true" } else { "" }),
        }
    }

    /// What admission is shown for one request.
    fn operation(&self, verb: &str) -> Option<&'static str> {
        match verb {
            // The log is read, not connected to.
            _ if self.parts().1 == "log" => None,
            _ if self.is_connection() => Some("CONNECT"),
            "create" => Some("CREATE"),
            "update" | "patch" => Some("UPDATE"),
            "delete" | "deletecollection" => Some("DELETE"),
            _ => None,
        }
    }
}

fn method(verb: &str) -> Method {
    match verb {
        "create" => Method::POST,
        "update" => Method::PUT,
        "patch" => Method::PATCH,
        "delete" | "deletecollection" => Method::DELETE,
        _ => Method::GET,
    }
}

/// The audit log as it grows.
struct Trail {
    reader: BufReader<File>,
    /// Removed with the test.
    _directory: tempfile::TempDir,
}

impl Trail {
    /// A server that records the end of every request.
    async fn bench() -> (Bench, Trail) {
        let directory = tempfile::tempdir().expect("a directory");
        let (policy, path) = (directory.path().join("policy.yaml"), directory.path().join("audit.log"));
        let rules = "kind: Policy\napiVersion: audit.k8s.io/v1\nomitStages: [RequestReceived, ResponseStarted]\n\
            rules:\n- level: Metadata\n";
        std::fs::write(&policy, rules).expect("a policy is written");
        let log = LogConfig { path: path.clone(), age_max_days: 0, backups_max: 0, size_max_megabytes: 0 };
        let audit = AuditConfig { policy: Some(policy), log: Some(log), webhook: None };
        let bench = Bench::with(Config { audit, ..Config::default() }).await;
        (bench, Trail { reader: BufReader::new(File::open(path).expect("a log")), _directory: directory })
    }

    /// What was recorded of a user since the last time.
    fn of(&mut self, user: &str) -> Vec<Value> {
        let lines = self.reader.by_ref().lines().map(|line| line.expect("text"));
        let events = lines.map(|line| serde_json::from_str::<Value>(&line).expect("a line is an event"));
        events.filter(|event| event["user"]["username"] == user).collect()
    }
}

struct Samples(Value);

impl Samples {
    fn load() -> Samples {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(Vec::new()).unwrap();
        let request: CertificateSigningRequest = params.serialize_request(&key).unwrap();
        let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request.pem().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let mut samples: Value = serde_saphyr::from_str(include_str!("samples.yaml")).unwrap();
        samples["certificates.k8s.io/certificatesigningrequests"]["spec"]["request"] = request.into();
        samples["certificates.k8s.io/clustertrustbundles"]["spec"]["trustBundle"] = authority.into();
        Samples(samples)
    }

    fn of(&self, row: &Row, name: &str) -> Option<Value> {
        let versioned = format!("{}/{}/{}", row.group, row.version, row.resource);
        let sample = self.0.get(versioned).or_else(|| self.0.get(format!("{}/{}", row.group, row.resource)))?;
        let mut object: Value = serde_json::from_str(&sample.to_string().replace("NAME", name)).unwrap();
        if object.get("kind").is_none() {
            object["apiVersion"] = row.api_version().into();
            object["kind"] = row.kind.clone().into();
        }
        object["metadata"] = metadata_for(row, name);
        Some(object)
    }
}

/// Asks twice: as a stranger, then as one who may.
struct Prober<'a> {
    bench: &'a Bench,
    spy: &'a Webhook,
    trail: Trail,
    samples: Samples,
    report: BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Prober<'_> {
    async fn ask(&self, user: &UserInfo, verb: &str, path: &str, body: &Value) -> Answer {
        if verb == "watch" {
            return self.begin(user, path).await;
        }
        let media = if verb == "patch" { "application/merge-patch+json" } else { "application/json" };
        self.bench.ask(Some(user), method(verb), path, media, body).await
    }

    /// Begins a watch, and reads it only where it is refused.
    async fn begin(&self, user: &UserInfo, path: &str) -> Answer {
        let request = Request::get(path).body(whole("")).expect("a request");
        let response = self.bench.send(request, Some(user)).await;
        let code = response.status().as_u16();
        let body = match code {
            200 => Value::Null,
            _ => serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap(),
        };
        Answer { code, body }
    }

    /// One verb of one row, with the object it needs.
    async fn probe(&mut self, row: &Row, verb: &str, name: &str, body: &Value) -> Answer {
        let (path, what) = (row.path(verb, name), format!("{} {} {verb}", row.api_version(), row.resource));
        let (asked, stored) = (self.spy.count(), self.stored(row));
        let refused = self.ask(&UserInfo::new("stranger", &["system:unauthenticated"]), verb, &path, body).await;
        let forbidden = (refused.code, &refused.body["reason"]) == (403, &json!("Forbidden"));
        self.check(forbidden, &what, &format_args!("a stranger got {} {}", refused.code, refused.body));
        let admitted = self.spy.asked_from(asked).iter().any(|review| review["userInfo"]["username"] == "stranger");
        self.check(!admitted, &what, &"a stranger's request was admitted");
        self.check(self.stored(row) == stored, &what, &"a refused request touched the store");
        self.check_audited_once(row, verb, "stranger", &refused);

        let answer = self.ask(&UserInfo::master("prober"), verb, &path, body).await;
        let seen = self.spy.asked_from(asked);
        let own = seen.iter().filter(|review| review["userInfo"]["username"] == "prober");
        let operations: Vec<String> = own.map(told).collect();
        let wanted = row.operation(verb).filter(|_| row.group != CONFIGURATIONS);
        let wanted: Vec<String> = wanted.into_iter().map(|operation| format!("{operation} {}", row.resource)).collect();
        self.check(operations == wanted, &what, &format_args!("admission was shown {operations:?}"));
        let answered = answer.code < 300 || row.is_connection() || row.resource == "componentstatuses";
        self.check(answered, &what, &format_args!("{} {}", answer.code, answer.body));
        self.check_audited_once(row, verb, "prober", &answer);
        let stages = wanted.first().map_or("authorized, audited", |_| "authorized, admitted, audited");
        self.report.insert(what, stages.to_string());
        answer
    }

    /// The probes of a kind as their users made them: the server's controllers go on working on what is theirs.
    fn stored(&self, row: &Row) -> Vec<Value> {
        let snapshot = self.bench.server.store().snapshot();
        let prefix = Key::prefix(&row.group, row.parts().0, None);
        let probes = snapshot.range(&prefix, None).filter(|(_, object)| object.header.name.starts_with("probe"));
        let own = |value: Value| {
            let metadata = &value["metadata"];
            let kept =
                ["name", "namespace", "labels", "annotations", "deletionTimestamp"].map(|field| &metadata[field]);
            json!([kept, value["spec"], value["data"], value["rules"], value["webhooks"]])
        };
        probes.map(|(_, object)| own(object.value())).collect()
    }

    fn check(&mut self, holds: bool, what: &str, wrong: &dyn std::fmt::Display) {
        if !holds {
            self.wrong.push(format!("{what}: {wrong}"));
        }
    }

    /// One record of this user's request, with what was asked and answered.
    fn check_audited_once(&mut self, row: &Row, verb: &str, user: &str, answer: &Answer) {
        let told = |event: &Value| {
            let (asked, code) = (&event["objectRef"], &event["responseStatus"]["code"]);
            let text = |field: &str| asked[field].as_str().unwrap_or_default();
            format!("{} {} {}/{} {code}", event["verb"], text("apiGroup"), text("resource"), text("subresource"))
        };
        let seen: Vec<String> = self.trail.of(user).iter().map(told).collect();
        let (resource, sub) = row.parts();
        let wanted = vec![format!("{verb:?} {} {resource}/{sub} {}", row.group, answer.code)];
        let what = format!("{} {} {verb}", row.api_version(), row.resource);
        self.check(seen == wanted, &what, &format_args!("{user} is recorded as {seen:?}, not as {wanted:?}"));
    }

    async fn make(&mut self, row: &Row, name: &str) {
        let object = self.sample(row, name);
        let made = self.ask(&UserInfo::master("maker"), "create", &row.collection(), &object).await;
        self.check(made.code == 201, &row.resource, &format_args!("was not made again: {}", made.body));
    }

    /// The server's own writes to a new definition would make requests try again.
    async fn settle(&self, row: &Row, name: &str) {
        match row.parts().0 {
            "customresourcedefinitions" => crate::established(self.bench, name).await,
            "flowschemas" => {
                while self.read(row, name).await.pointer("/status/conditions").is_none() {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
    }

    async fn read(&self, row: &Row, name: &str) -> Value {
        self.ask(&UserInfo::master("maker"), "get", &row.path("get", name), &Value::Null).await.body
    }

    /// All verbs of a resource of its own.
    async fn resource(&mut self, row: &Row) {
        let name = &name_for(row, &format!("probe-{}", row.version));
        let again = &name_for(row, &format!("again-{}", row.version));
        let mut object = self.sample(row, name);
        for verb in ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"] {
            if !row.verbs.iter().any(|own| own == verb) {
                continue;
            }
            let body = match verb {
                "create" => object.clone(),
                "update" => {
                    object = self.read(row, name).await;
                    object["metadata"]["annotations"] = json!({"updated": "yes"});
                    object.clone()
                }
                "patch" => json!({"metadata": {"annotations": {"patched": "yes"}}}),
                "deletecollection" => {
                    self.make(row, again).await;
                    self.settle(row, again).await;
                    Value::Null
                }
                _ => Value::Null,
            };
            // What was deleted may still wait for its finalizers.
            let name = if verb == "deletecollection" { again } else { name };
            self.probe(row, verb, name, &body).await;
            if verb == "create" {
                self.settle(row, name).await;
            }
        }
    }

    fn sample(&self, row: &Row, name: &str) -> Value {
        // The name in the object's own fields is without what the kind's rule adds.
        let inner = name.trim_start_matches("v1.").trim_start_matches("probes.").trim_end_matches(".example.com");
        let mut object = self.samples.of(row, inner).unwrap_or(json!({}));
        object["metadata"] = metadata_for(row, name);
        object
    }

    /// All verbs of a part of a resource, each on an object of its own.
    async fn subresource(&mut self, row: &Row, parent: &Row) {
        for verb in &row.verbs {
            let name = &name_for(row, &format!("sub-{}-{verb}", row.parts().1));
            let mut object = self.sample(parent, name);
            if row.parts().0 == "pods" && row.is_connection() {
                object["spec"]["nodeName"] = "probe-node".into();
            }
            let made = self.ask(&UserInfo::master("maker"), "create", &parent.collection(), &object).await;
            self.check(made.code == 201, &row.resource, &format_args!("its whole was not made: {}", made.body));
            self.settle(row, name).await;
            let body = match verb.as_str() {
                "create" => self.samples.of(row, name).unwrap_or(Value::Null),
                "update" if row.parts().1 == "finalize" => self.read(parent, name).await,
                "update" if !row.is_connection() => self.read(row, name).await,
                "patch" if row.parts().1 == "scale" => json!({"spec": {"replicas": 2}}),
                "patch" => json!({"metadata": {"annotations": {"patched": "yes"}}}),
                _ => Value::Null,
            };
            self.probe(row, verb, name, &body).await;
            self.ask(
                &UserInfo::master("maker"),
                "delete",
                &format!("{}/{name}", parent.collection()),
                &json!({"gracePeriodSeconds": 0}),
            )
            .await;
        }
    }
}

/// Access reviews must not have any.
fn metadata_for(row: &Row, name: &str) -> Value {
    if row.resource.ends_with("accessreviews") { json!({}) } else { json!({"name": name, "labels": {"probe": name}}) }
}

/// Some kinds have rules for their names.
fn name_for(row: &Row, name: &str) -> String {
    match row.parts().0 {
        "apiservices" => format!("v1.{name}.example.com"),
        "customresourcedefinitions" => format!("probes.{name}.example.com"),
        "ipaddresses" if name.starts_with("probe") => "198.51.100.7".to_string(),
        "ipaddresses" => "198.51.100.8".to_string(),
        // Nothing creates it: these three are always there.
        "componentstatuses" => "scheduler".to_string(),
        _ => name.to_string(),
    }
}

fn told(review: &Value) -> String {
    let text = |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    let sub = Some(text("/subResource")).filter(|sub| !sub.is_empty()).map(|sub| format!("/{sub}")).unwrap_or_default();
    format!("{} {}{sub}", text("/operation"), text("/resource/resource"))
}

/// All that is served.
async fn rows(bench: &Bench) -> Vec<Row> {
    let mut lists = vec!["/api/v1".to_string()];
    for group in bench.get("/apis").await.body["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            lists.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    let mut rows = Vec::new();
    for list in lists {
        let list = bench.get(&list).await.body;
        let version = list["groupVersion"].as_str().unwrap();
        rows.extend(list["resources"].as_array().unwrap().iter().map(|row| Row::parse(version, row)));
    }
    rows
}

async fn define_gadgets(bench: &Bench) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let definition = json!({
        "metadata": {"name": "gadgets.pipeline.example.com"},
        "spec": {
            "group": "pipeline.example.com", "scope": "Namespaced", "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}, "scale": scale},
            }],
        },
    });
    let made = bench.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    assert_eq!(made.code, 201, "{}", made.body);
    crate::established(bench, "gadgets.pipeline.example.com").await;
}

#[tokio::test]
async fn every_resource_and_verb_is_authorized_admitted_and_audited() {
    let (bench, trail) = Trail::bench().await;
    define_gadgets(&bench).await;
    let node = json!({"metadata": {"name": "probe-node"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}});
    assert_eq!(bench.post("/api/v1/nodes", &node).await.code, 201);
    let spy = Webhook::start(|_| json!({"allowed": true})).await;
    let mut hook = spy.hook("spy.example.com", &["*"]);
    hook["rules"] = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    configure(&bench, VALIDATING, "spy", vec![hook]).await;

    let rows = rows(&bench).await;
    let pod = json!({"metadata": {"name": "probe-v1"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}});
    let mut prober = Prober {
        bench: &bench,
        spy: &spy,
        trail,
        samples: Samples::load(),
        report: BTreeMap::new(),
        wrong: Vec::new(),
    };
    for row in &rows {
        if row.resource == "bindings" {
            assert_eq!(bench.post("/api/v1/namespaces/default/pods", &pod).await.code, 201);
            prober.probe(row, "create", "probe-v1", &prober.sample(row, "probe-v1")).await;
            let path = "/api/v1/namespaces/default/pods/probe-v1";
            bench.admin(Method::DELETE, path, &json!({"gracePeriodSeconds": 0})).await;
            continue;
        }
        if row.parts().1.is_empty() {
            prober.resource(row).await;
            continue;
        }
        let of_parent = |other: &&Row| other.api_version() == row.api_version() && other.resource == row.parts().0;
        prober.subresource(row, rows.iter().find(of_parent).expect("a part has a whole")).await;
    }
    assert!(prober.wrong.is_empty(), "{}", prober.wrong.join("\n"));
    let lines: Vec<String> = prober.report.iter().map(|(what, how)| format!("{what}: {how}\n")).collect();
    expect_file!["../output/verbs.txt"].assert_eq(&lines.concat());
}
