//! `ephemeralcontainers` and `resize`: the two ways to change containers of a running pod.

use std::sync::Arc;

use apimachinery::Status;
use apimachinery::field::{ErrorList, Path};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode;
use crate::options::WriteOptions;
use crate::ownership::Ownership;
use crate::server::Inner;
use crate::verbs::apply::{self, Configuration};
use crate::verbs::patch::PatchType;

pub async fn run(
    server: &Arc<Inner>,
    call: &Call,
    resource: &Resource,
    sub: &'static str,
) -> Result<Response<Body>, Status> {
    if call.info.verb == "get" {
        return super::read(server, call, resource).await;
    }
    let is_patch = call.info.verb == "patch";
    let options = WriteOptions::of(call, if is_patch { "PatchOptions" } else { "UpdateOptions" })?;
    let body = call.read_body().await?;
    let wish = Wish::of(call, &options, &body)?;
    let ownership = if matches!(wish, Wish::Apply(_)) { Ownership::Settled } else { Ownership::Kept };
    let change = Change { ownership, ..Change::of(server, call, resource, Part::Other(sub), &options) };
    let updated = change
        .update(true, |old| {
            let wanted = match &wish {
                Wish::Patch(kind) => {
                    kind.apply(old, &body, resource.schema.node()).map_err(|error| error.to_status())?
                }
                Wish::Apply(config) => change.at_endpoint(|endpoint| config.applied(call, endpoint, Some(old)))?,
                Wish::Whole => {
                    let expected = Expected::of(resource);
                    decode::object(call, &body, &expected, options.field_validation)?
                }
            };
            let mut new = if sub == "resize" { resized(old, &wanted) } else { with_ephemeral(old, &wanted) };
            if let Wish::Apply(_) = wish {
                new["metadata"]["managedFields"] = wanted["metadata"]["managedFields"].clone();
            }
            if sub == "resize" {
                check_resize(&change, old, &new)?
            } else {
                check(&change, old, &new)?
            }
            Ok(new)
        })
        .await?;
    Ok(encode::object(call, StatusCode::OK, resource, &updated.item))
}

enum Wish {
    Whole,
    Patch(PatchType),
    Apply(Configuration),
}

impl Wish {
    fn of(call: &Call, options: &WriteOptions, body: &[u8]) -> Result<Wish, Status> {
        if call.info.verb != "patch" {
            return Ok(Wish::Whole);
        }
        if apply::is_asked(call) {
            return Configuration::of(call, options, body).map(Wish::Apply);
        }
        PatchType::of(call).map(Wish::Patch)
    }
}

/// Only the list of ephemeral containers is taken.
fn with_ephemeral(old: &Value, wanted: &Value) -> Value {
    let mut new = old.clone();
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return new };
    match wanted.pointer("/spec/ephemeralContainers") {
        Some(list) => spec.insert("ephemeralContainers".into(), list.clone()),
        None => spec.remove("ephemeralContainers"),
    };
    new
}

/// Only the containers' resources and resize policies are taken.
fn resized(old: &Value, wanted: &Value) -> Value {
    let mut new = old.clone();
    for list in ["containers", "initContainers"] {
        let asked = wanted.pointer(&format!("/spec/{list}")).and_then(Value::as_array).cloned().unwrap_or_default();
        for container in new.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(asked) = asked.iter().find(|asked| asked["name"] == container["name"]) else { continue };
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = asked.get(field) {
                    container[field] = value.clone();
                }
            }
        }
    }
    if new["spec"] != old["spec"] {
        let generation = apimachinery::object::generation(old) + 1;
        apimachinery::object::set_generation(&mut new, generation);
    }
    new
}

/// The complaints about one part of the object.
fn within(errors: ErrorList, field: &str) -> ErrorList {
    errors.into_iter().filter(|error| error.field.starts_with(field)).collect()
}

/// A resize changes no quality of service and takes nothing away.
fn check_resize(change: &Change<'_>, old: &Value, new: &Value) -> Result<(), Status> {
    let spec = Path::new("spec");
    let mut errors = ErrorList::new();
    let qos = registry::qos_class(&new["spec"]);
    if qos != registry::qos_class(&old["spec"]) {
        errors.invalid(&spec, qos, "Pod QOS Class may not change as a result of resizing");
    }
    for list in ["containers", "initContainers"] {
        let both = [old, new].map(|pod| pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default());
        for (index, (before, after)) in both[0].iter().zip(both[1]).enumerate() {
            let path = spec.child(list).index(index).child("resources");
            check_resources(&before["resources"], &after["resources"], &path, &mut errors);
        }
    }
    let mut whole = new.clone();
    change.resource.strategy.default(&mut whole);
    let judged = change.resource.strategy.validate(&whole);
    errors.append(judged.into_iter().filter(|error| error.field.contains(".resources")).collect());
    refuse(change, &errors)
}

fn check_resources(before: &Value, after: &Value, path: &Path, errors: &mut ErrorList) {
    for kind in ["limits", "requests"] {
        let names = |value: &Value| value[kind].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        let (had, has) = (names(before).unwrap_or_default(), names(after).unwrap_or_default());
        if had.iter().any(|name| !has.contains(name)) {
            errors.forbidden(&path.child(kind), format!("resource {kind} cannot be removed"));
        }
        let fixed = had.iter().chain(&has).filter(|name| *name != "cpu" && *name != "memory");
        if fixed.into_iter().any(|name| before[kind][name] != after[kind][name]) {
            errors.forbidden(&path.child(kind), "only cpu and memory resources are mutable");
        }
    }
}

fn refuse(change: &Change<'_>, errors: &ErrorList) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&change.resource.group_kind(), change.name, errors))
}

/// Ephemeral containers are only added; what is there stays as it is.
fn check(change: &Change<'_>, old: &Value, new: &Value) -> Result<(), Status> {
    let list = |pod: &Value| {
        let list = pod.pointer("/spec/ephemeralContainers").and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let (old_list, new_list) = (list(old), list(new));
    let path = Path::new("spec").child("ephemeralContainers");
    let mut errors = ErrorList::new();
    for container in &old_list {
        let name = container["name"].as_str().unwrap_or_default();
        match new_list.iter().find(|own| own["name"] == container["name"]) {
            None => errors.forbidden(&path, format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(own) if own != container => {
                errors.forbidden(&path, format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
    let mut whole = new.clone();
    change.resource.strategy.default(&mut whole);
    errors.append(within(change.resource.strategy.validate(&whole), "spec.ephemeralContainers["));
    refuse(change, &errors)
}
