//! `ephemeralcontainers` and `resize`: the two ways to change containers of a running pod.

use std::sync::Arc;

use apimachinery::Status;
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
            check(&change, old, &new)?;
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
    if let Some(list) = wanted.pointer("/spec/ephemeralContainers") {
        new["spec"]["ephemeralContainers"] = list.clone();
    }
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

/// Ephemeral containers are only added; what is there stays as it is.
fn check(change: &Change<'_>, old: &Value, new: &Value) -> Result<(), Status> {
    let list = |pod: &Value| {
        let list = pod.pointer("/spec/ephemeralContainers").and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let (old_list, new_list) = (list(old), list(new));
    let path = apimachinery::field::Path::new("spec").child("ephemeralContainers");
    let mut errors = apimachinery::field::ErrorList::new();
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
    let added: Vec<&Value> = new_list.iter().filter(|own| !old_list.contains(own)).collect();
    for (index, container) in added.iter().enumerate() {
        if container["name"].as_str().unwrap_or_default().is_empty() {
            errors.required(&path.index(old_list.len() + index).child("name"), "");
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            errors.required(&path.index(old_list.len() + index).child("image"), "");
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&change.resource.group_kind(), change.name, &errors))
}
