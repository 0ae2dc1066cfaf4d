//! Drives the strategies with recorded requests, where the recordings are at hand.

use std::path::PathBuf;

use registry::Resource;
use serde_json::{Value, json};

use crate::harness::{Server, Target, schema, target};

pub fn cases(area: &str) -> Vec<Value> {
    documents(&format!("replay/cases/{area}"))
}

/// The JSON documents of a folder of the shared data.
pub fn documents(folder: &str) -> Vec<Value> {
    let root = std::env::var_os("CORACLE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
        eprintln!("SKIPPED: no {folder} in {}: set CORACLE_SHARED", root.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

pub fn fill(value: &Value) -> Value {
    let text = value.to_string().replace("{ns}", "ns").replace("{u}", "u1").replace("<ip>", "10.0.0.9");
    serde_json::from_str(&text).unwrap()
}

/// Sorted reason and field of the causes.
pub fn causes(status: &Value) -> Vec<(String, String)> {
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    let list = status.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    let mut causes: Vec<_> = list.map(|cause| (text(cause, "reason"), text(cause, "field"))).collect();
    causes.sort();
    causes
}

/// Answers of admission plugins, of the pipeline and of policies are not a strategy's.
pub fn is_ours(step: &Value) -> bool {
    let code = step["expect"]["code"].as_u64().unwrap_or_default();
    ["POST", "PUT", "PATCH"].contains(&step["method"].as_str().unwrap_or_default())
        && [200, 201, 422].contains(&code)
        && step.get("raw").is_none()
        && step.get("fill").is_none()
        && ["{ip}", "{np}", "<nodePort>"].iter().all(|mark| !step.to_string().contains(mark))
        && ["fieldManager", "force", "fieldValidation"].iter().all(|option| step["query"].get(option).is_none())
}

pub fn perform(server: &mut Server, target: &Target, step: &Value) -> Result<Value, apimachinery::Status> {
    let body = fill(&step["body"]);
    match step["method"].as_str() {
        Some("POST") => server.create(target, body),
        Some("PUT") => server.update(target, body),
        _ => server.patch(target, step["headers"]["Content-Type"].as_str().unwrap_or_default(), &body),
    }
}

pub fn describe(answer: &Result<Value, apimachinery::Status>) -> (u64, Vec<(String, String)>) {
    match answer {
        Ok(_) => (200, Vec::new()),
        Err(status) => (status.code.into(), causes(&status.to_value())),
    }
}

fn mismatches(area: &str) -> (usize, Vec<String>) {
    let (mut checked, mut wrong) = (0, Vec::new());
    for case in cases(area) {
        let mut server = Server::new();
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate().filter(|(_, step)| is_ours(step)) {
            let step = fill(step);
            let Some(target) = target(step["path"].as_str().unwrap_or_default()) else { continue };
            let stored: &Resource = target.resource;
            if !["", "status"].contains(&target.subresource.as_str()) || stored.verbs == ["create"] {
                continue;
            }
            checked += 1;
            let expected = match step["expect"]["code"].as_u64().unwrap() {
                200 | 201 => (200, Vec::new()),
                code => (code, causes(&step["expect"]["body"])),
            };
            let answer = perform(&mut server, &target, &step);
            if describe(&answer) != expected {
                let got = answer.as_ref().map_or_else(|status| status.message.clone(), |_| "success".into());
                wrong.push(format!("{area}/{} step {index}: expected {expected:?}, got {got}", case["name"]));
            }
            let warned = answer.as_ref().map_or(0, |object| stored.strategy.warnings(object, None).len());
            if answer.is_ok() && warned != expected_warnings(&step, stored) {
                wrong.push(format!("{area}/{} step {index}: {warned} warnings", case["name"]));
            }
            if let (Ok(object), true) = (&answer, area != "validation" && target.subresource.is_empty()) {
                wrong.extend(spec_differs(&case, &step, object));
                wrong.extend(owners_differ(&case, &step, object));
            }
        }
    }
    (checked, wrong)
}

/// The server adds one for a deprecated resource and for unknown fields.
fn expected_warnings(step: &Value, resource: &Resource) -> usize {
    let all = step["expect"]["warnings"].as_u64().unwrap_or_default() as usize;
    let unknown = ["bogus", "status"].iter().any(|field| step["body"].get(field).is_some_and(|v| v.is_object()));
    let by_server = usize::from(!resource.deprecation.is_empty()) + usize::from(unknown && all > 0);
    all.saturating_sub(by_server)
}

/// Compares what a strategy is answerable for; addresses are given, accounts and priorities added, by others.
pub fn spec_differs(case: &Value, step: &Value, object: &Value) -> Option<String> {
    let expected = step["expect"].get("body").filter(|body| body.is_object())?;
    let name = case["name"].as_str().unwrap_or_default();
    let by_others = ["pod", "service", "job", "limitrange", "storageclass", "csr", "certificatesigning"];
    if by_others.iter().any(|prefix| name.contains(prefix))
        || ["fields", "noBody"].iter().any(|option| step.get(option).is_some())
    {
        return None;
    }
    let kept = |value: &Value| {
        let mut value = value.clone();
        let map = value.as_object_mut().unwrap();
        map.remove("metadata");
        if map
            .get("status")
            .is_some_and(|status| status.get("lastPhaseTransitionTime").is_some() || status.get("conditions").is_some())
        {
            map.remove("status");
        }
        if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
            ["taints", "groups"].iter().for_each(|field| drop(spec.remove(*field)));
        }
        value
    };
    let (got, expected) = (kept(object), kept(expected));
    (got != expected).then(|| format!("{name}: expected {expected}\n      got {got}"))
}

/// Compares the managed fields of what was created.
pub fn owners_differ(case: &Value, step: &Value, object: &Value) -> Option<String> {
    let fields = |object: &Value| -> Value {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        entries.filter(|entry| entry["manager"] == "replay").map(|entry| entry["fieldsV1"].clone()).collect()
    };
    let expected = step["expect"].get("body").filter(|body| body.pointer("/metadata/managedFields").is_some())?;
    if step.get("mf").is_some() || step.get("fields").is_some() {
        return None;
    }
    let (got, expected) = (fields(object), fields(expected));
    (got != expected).then(|| format!("{} owns: expected {expected}\n      got {got}", case["name"]))
}

/// Differences that are known, each with its reason.
const KNOWN: [(&str, &str); 10] = [
    ("clusterip-ipv6-on-v4", "the allocator knows the ranges"),
    ("clusterip-out-of-range", "the allocator knows the ranges"),
    ("clusterip-reuse-after-delete", "nothing is deleted here"),
    ("dual-require-on-single", "the allocator knows the families"),
    ("nodeport-dup-within", "the allocator finds it first"),
    ("nodeport-out-of-range", "the allocator knows the range"),
    ("nodeport-keep-on-update", "nothing allocates a port here"),
    ("kind-apiservice", "a controller judges availability"),
    ("kind-persistentvolume", "a controller makes the volume available"),
    ("pv-bound-claim", "a controller makes the volume available"),
];

fn check(area: &str) {
    report(area, mismatches(area));
}

fn report(area: &str, (checked, wrong): (usize, Vec<String>)) {
    let wrong: Vec<&String> = wrong.iter().filter(|line| !KNOWN.iter().any(|(name, _)| line.contains(name))).collect();
    eprintln!("{area}: {checked} answers compared, {} differ", wrong.len());
    for line in &wrong {
        eprintln!("  {line}");
    }
    assert!(wrong.is_empty());
}

#[test]
fn recorded_creates_have_the_same_defaults() {
    check("create-defaults");
}

#[test]
fn recorded_refusals_have_the_same_causes() {
    check("validation");
}

#[test]
fn recorded_updates_and_patches_have_the_same_outcome() {
    check("patch");
}

/// Tables of single objects: the columns, and the cells that do not depend on time or allocation.
fn wrong_tables() -> (usize, Vec<String>) {
    let (mut checked, mut wrong) = (0, Vec::new());
    for case in cases("tables") {
        let mut server = Server::new();
        for step in case["steps"].as_array().unwrap() {
            let step = fill(step);
            let Some(target) = target(step["path"].as_str().unwrap_or_default()) else { continue };
            if is_ours(&step) && target.resource.verbs != ["create"] {
                let _ = perform(&mut server, &target, &step);
            }
            let table = &step["expect"]["body"];
            let main = target.subresource.is_empty();
            if main && table["columnDefinitions"].is_array() && step["method"] == "GET" {
                checked += 1;
                wrong.extend(table_differs(&case, &server, &target, table));
            }
        }
    }
    (checked, wrong)
}

fn table_differs(case: &Value, server: &Server, target: &Target, table: &Value) -> Option<String> {
    let strategy = &target.resource.strategy;
    let columns: Vec<Value> = strategy
        .columns()
        .iter()
        .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "priority": c.priority}))
        .collect();
    if Value::from(columns.clone()) != table["columnDefinitions"] {
        let expected = &table["columnDefinitions"];
        return Some(format!("{}: expected columns {expected}, got {}", case["name"], Value::from(columns)));
    }
    let cells = table["rows"].as_array()?.first()?["cells"].as_array()?;
    let name = cells.iter().zip(&columns).find(|(_, column)| column["name"] == "Name")?.0.as_str()?;
    let named = Target { name: name.into(), namespace: String::new(), subresource: String::new(), ..*target };
    let row = strategy.row(&server.get(&named)?, 1_767_225_600);
    let bad =
        cells.iter().zip(&row).any(|(want, got)| !want.as_str().is_some_and(|text| text.contains('<')) && want != got);
    bad.then(|| format!("{}: expected {}, got {}", case["name"], Value::from(cells.clone()), Value::from(row)))
}

#[test]
fn recorded_tables_have_the_same_columns_and_cells() {
    report("tables", wrong_tables());
}

#[test]
fn recorded_replacements_have_the_same_outcome() {
    check("update");
}

/// Strict decoding refuses what the recorded server refused, and warns of as much.
#[test]
fn recorded_bodies_decode_with_the_same_complaints() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in cases("field-validation") {
        for step in case["steps"].as_array().unwrap().iter().filter(|step| step["method"] == "POST") {
            let yaml = step["headers"]["Content-Type"].as_str().is_some_and(|kind| kind.contains("yaml"));
            let code = step["expect"]["code"].as_u64().unwrap_or_default();
            let Some(target) = target(step["path"].as_str().unwrap_or_default()).filter(|_| !yaml && code != 422)
            else {
                continue;
            };
            checked += 1;
            let raw = step["raw"].as_str().map_or_else(|| step["body"].to_string(), str::to_owned);
            let problems = apimachinery::strict::decode(raw.as_bytes(), schema(target.resource)).unwrap().problems;
            let warnings = step["expect"]["warnings"].as_u64().unwrap_or_default();
            let strict = step["query"]["fieldValidation"] == "Strict";
            let ignored = step["query"]["fieldValidation"] == "Ignore";
            let agrees = if strict {
                problems.is_empty() == (code == 201)
            } else {
                ignored || problems.len() as u64 == warnings
            };
            if !agrees {
                wrong.push(format!("{}: expected code {code}, {warnings} warnings, got {problems:?}", case["name"]));
            }
        }
    }
    report("field-validation", (checked, wrong));
}

/// An object with every field set is what upstream's own encoder writes: decoding must not change it.
#[test]
fn golden_objects_survive_decoding() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for golden in documents("kubernetes-1.36/golden-objects") {
        let Some(gvk) = apimachinery::Gvk::of(&golden) else { continue };
        let Some(definition) = api::schema::kind(&gvk.group, &gvk.version, &gvk.kind) else { continue };
        checked += 1;
        let mut object = golden.clone();
        match apimachinery::strict::normalize(&mut object, definition.node()) {
            Ok(unknown) if unknown.is_empty() && object == golden => {}
            Ok(unknown) => wrong.push(format!("{gvk}: {unknown:?} {}", first_difference(&golden, &object, ""))),
            Err(why) => wrong.push(format!("{gvk}: {why}")),
        }
    }
    report("golden", (checked, wrong));
}

fn first_difference(a: &Value, b: &Value, path: &str) -> String {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names = left.keys().chain(right.keys());
            let differs = |name: &&String| left.get(*name) != right.get(*name);
            let found = names.find(differs).map(|name| first_difference(&a[name], &b[name], &format!("{path}.{name}")));
            found.unwrap_or_default()
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let at = left.iter().zip(right).position(|(left, right)| left != right).unwrap_or_default();
            first_difference(&left[at], &right[at], &format!("{path}[{at}]"))
        }
        _ => format!("{path}: {a} became {b}"),
    }
}

#[test]
fn recorded_services_have_the_same_outcome() {
    check("services");
}

#[test]
fn recorded_pods_and_nodes_have_the_same_outcome() {
    check("nodes-pods");
}

#[test]
fn recorded_namespaces_have_the_same_outcome() {
    check("namespaces");
}

#[test]
fn discovery_facts_are_complete() {
    let pods = registry::resource("", "v1", "pods").unwrap();
    assert_eq!(json!(pods.short_names), json!(["po"]));
    assert!(pods.subresources.iter().any(|sub| sub.name == "eviction" && sub.group == "policy"));
}
