//! Recorded requests for definitions, and for objects of the kinds that they define.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::Resource;
use registry::apiextensions::CustomResource;
use registry::names::intern;
use registry::strategy::{Schema, StrategyRef};
use serde_json::Value;

use crate::harness::{Server, Target, target};
use crate::recorded::{cases, causes, describe, fill, is_ours, owners_differ, perform, spec_differs};

/// The resource of one version of a definition.
fn resource(definition: &Value, version: &str) -> &'static Resource {
    let strategy = CustomResource::new(definition, version).unwrap();
    let text = |pointer: &str| intern(definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    Box::leak(Box::new(Resource {
        group: text("/spec/group"),
        version: intern(version),
        kind: text("/spec/names/kind"),
        name: text("/spec/names/plural"),
        singular: text("/spec/names/singular"),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: definition["spec"]["scope"] == "Namespaced",
        verbs: &[],
        subresources: Vec::new(),
        schema: Schema::Dynamic(strategy.schema()),
        storage: None,
        custom: None,
        strategy: StrategyRef::Dynamic(Arc::new(strategy)),
        storage_version_hash: String::new(),
        deprecation: String::new(),
    }))
}

/// The place that a path of a custom kind names.
fn custom_target(path: &str, definitions: &BTreeMap<String, Value>) -> Option<Target> {
    let parts: Vec<&str> = path.trim_start_matches("/apis/").split('/').collect();
    let (group, version, rest) = (parts.first()?, parts.get(1)?, parts.get(2..)?);
    let definition = definitions.get(*group)?;
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        _ => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    Some(Target {
        resource: resource(definition, version),
        namespace: namespace.into(),
        name: part(1),
        subresource: part(2),
    })
}

/// Whoever asks with a version of the object is not the strategy's business.
fn is_conditional(step: &Value) -> bool {
    step["body"].pointer("/metadata/resourceVersion").is_some()
        || step["expect"]["body"]["details"]["kind"] == "widgets"
}

fn expected(step: &Value) -> (u64, Vec<(String, String)>) {
    match step["expect"]["code"].as_u64().unwrap() {
        200 | 201 => (200, Vec::new()),
        code => (code, causes(&step["expect"]["body"])),
    }
}

fn run(case: &Value, wrong: &mut Vec<String>) -> usize {
    let (mut server, mut definitions, mut checked) = (Server::new(), BTreeMap::new(), 0);
    let name = case["name"].as_str().unwrap();
    for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let step = fill(step);
        let path = step["path"].as_str().unwrap_or_default();
        let apply = step["headers"]["Content-Type"].as_str().is_some_and(|kind| kind.contains("apply"));
        let Some(target) = target(path).or_else(|| custom_target(path, &definitions)) else { continue };
        if !is_ours(&step) || apply || is_conditional(&step) || !["", "status"].contains(&target.subresource.as_str()) {
            continue;
        }
        checked += 1;
        let answer = perform(&mut server, &target, &step);
        if describe(&answer) != expected(&step) {
            let got = answer.as_ref().map_or_else(|status| status.message.clone(), |_| "success".into());
            wrong.push(format!("{name} step {index}: expected {:?}, got {got}", expected(&step)));
        }
        let Ok(object) = answer else { continue };
        if target.subresource.is_empty() {
            wrong.extend(spec_differs(case, &step, &object));
            wrong.extend(owners_differ(case, &step, &object));
        }
        if object["kind"] == "CustomResourceDefinition" {
            definitions.insert(object["spec"]["group"].as_str().unwrap().to_owned(), object);
        }
    }
    checked
}

#[test]
fn recorded_definitions_and_their_objects_have_the_same_outcome() {
    let mut wrong = Vec::new();
    let checked: usize = cases("crd").iter().map(|case| run(case, &mut wrong)).sum();
    eprintln!("crd: {checked} answers compared, {} differ", wrong.len());
    wrong.iter().for_each(|line| eprintln!("  {line}"));
    assert!(wrong.is_empty());
}
