//! `scale`: the replica count of a kind, as an autoscaling/v1 Scale.

use std::sync::{Arc, LazyLock};

use apimachinery::field::{ErrorList, Path};
use apimachinery::managed_fields::{self, Endpoint, OneVersion, PathElement, Reset, ScaleEntries};
use apimachinery::{GroupKind, Status, object, patch, strict};
use http::{Response, StatusCode};
use registry::strategy::{Column, Resource, ScalePaths, Schema, Strategy, StrategyRef};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::custom::convert;
use crate::decode::{self, Expected};
use crate::encode::{self, Item};
use crate::options::{FieldValidation, WriteOptions};
use crate::ownership::{self, Ownership};
use crate::server::Inner;
use crate::verbs::apply::{self, Configuration};
use crate::verbs::patch::PatchType;
use crate::verbs::update::settle_name;

/// How a Scale is shown; it is stored nowhere.
static SCALE: LazyLock<Resource> = LazyLock::new(|| Resource {
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    name: "scales",
    singular: "scale",
    short_names: Vec::new(),
    categories: Vec::new(),
    namespaced: true,
    verbs: &[],
    subresources: Vec::new(),
    schema: Schema::Definition("io.k8s.api.autoscaling.v1.Scale"),
    storage: None,
    custom: None,
    strategy: StrategyRef::BuiltIn(&ScaleView),
    storage_version_hash: String::new(),
    deprecation: String::new(),
});

struct ScaleView;

impl Strategy for ScaleView {
    fn columns(&self) -> &[Column] {
        const { &[Column::text("Name"), Column::of("Desired", "integer"), Column::of("Available", "integer"), Column::AGE] }
    }

    fn row(&self, scale: &Value, now: i64) -> Vec<Value> {
        let replicas = |part: &str| scale[part]["replicas"].as_i64().unwrap_or(0);
        vec![
            object::name(scale).into(),
            replicas("spec").into(),
            replicas("status").into(),
            apimachinery::table::age(scale, now),
        ]
    }
}

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let Some(paths) = resource.strategy.scale() else { return Err(Status::path_not_found()) };
    if call.info.verb == "get" {
        let stored = server.store.get(&resource.key(&call.info.namespace, &call.info.name));
        let stored = stored.ok_or_else(|| call.not_found(resource, &call.info.name))?;
        let scale = scale_of(resource, &convert::one(server, resource, stored).await?.value(resource), &paths)?;
        return Ok(encode::object(call, StatusCode::OK, &SCALE, &Item::Value(scale)));
    }
    let is_patch = call.info.verb == "patch";
    let options = WriteOptions::of(call, if is_patch { "PatchOptions" } else { "UpdateOptions" })?;
    let body = call.read_body().await?;
    let base = Change::of(server, call, resource, Part::Scale, &options);
    let change = Change { ownership: Ownership::Settled, ..base };
    let wish = match (is_patch, apply::is_asked(call)) {
        (_, true) => Wish::Apply(Configuration::of(call, &options, &body)?),
        (true, _) => Wish::Patch(PatchType::of(call)?, &body, options.field_validation),
        (false, _) => {
            let expected = Expected::of(&SCALE);
            Wish::Whole(decode::object(call, &body, &expected, options.field_validation)?)
        }
    };
    let unconditional = match &wish {
        Wish::Patch(..) | Wish::Apply(_) => true,
        Wish::Whole(scale) => object::resource_version(scale).is_empty(),
    };
    let updated = change.update(unconditional, |old| rescaled(&change, &paths, &wish, old)).await?;
    let scale = scale_of(resource, &updated.item.value(resource), &paths)?;
    Ok(encode::value_response(call, StatusCode::OK, &scale))
}

/// A change of a replica count as admission sees it.
pub struct ScaleShown {
    pub new: Value,
    pub old: Value,
}

impl ScaleShown {
    pub fn of(change: &Change<'_>, new: &Value, old: &Value) -> Result<ScaleShown, Status> {
        let resource = change.resource;
        let paths = resource.strategy.scale().ok_or_else(Status::path_not_found)?;
        Ok(ScaleShown { new: scale_of(resource, new, &paths)?, old: scale_of(resource, old, &paths)? })
    }

    /// Admission may have decided on another count.
    pub fn take_back(self, change: &Change<'_>, object: &mut Value) -> Result<(), Status> {
        let paths = change.resource.strategy.scale().ok_or_else(Status::path_not_found)?;
        let replicas = replicas_of(change, &self.new)?;
        set_pointer(object, paths.spec_replicas, replicas.into());
        Ok(())
    }
}

fn replicas_of(change: &Change<'_>, scale: &Value) -> Result<i64, Status> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let mut errors = ErrorList::new();
        errors.invalid(&Path::new("spec").child("replicas"), replicas, "must be greater than or equal to 0");
        return Err(Status::invalid(&GroupKind::new("autoscaling", "Scale"), change.name, &errors));
    }
    Ok(replicas)
}

enum Wish<'a> {
    Whole(Value),
    Patch(PatchType, &'a [u8], FieldValidation),
    Apply(Configuration),
}

impl Wish<'_> {
    /// The Scale as it is wanted, with its owners.
    fn scale(&self, change: &Change<'_>, live: &Value) -> Result<Value, Status> {
        let node = SCALE.schema.node();
        let mut scale = match self {
            Wish::Whole(scale) => scale.clone(),
            Wish::Patch(kind, body, _) => kind.apply(live, body, node).map_err(|error| error.to_status())?,
            Wish::Apply(config) => at_scale(change, |endpoint| config.applied(change.call, endpoint, Some(live)))?,
        };
        let mut problems = strict::normalize(&mut scale, node).map_err(|why| self.undecodable(&scale, &why))?;
        settle_name(change.call, &mut scale)?;
        if object::namespace(&scale) != change.namespace && !object::namespace(&scale).is_empty() {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(why));
        }
        if let Wish::Patch(_, body, validation) = self {
            problems.extend(strict::duplicates(body));
            decode::complain(change.call, &SCALE.gvk(), problems, *validation)?;
        }
        if !matches!(self, Wish::Apply(_)) {
            at_scale(change, |endpoint| endpoint.update(Some(live), &mut scale, &change.manager));
        }
        Ok(scale)
    }

    fn undecodable(&self, scale: &Value, why: &str) -> Status {
        match self {
            Wish::Patch(_, body, _) => patch::undecodable(&String::from_utf8_lossy(body), why),
            Wish::Whole(_) | Wish::Apply(_) => ownership::unconvertible(&SCALE, scale, why),
        }
    }
}

/// The endpoint of the Scale itself.
fn at_scale<T>(change: &Change<'_>, act: impl FnOnce(&Endpoint<'_>) -> T) -> T {
    let (place, now) = (ownership::place(&SCALE), change.call.now_text());
    let api_version = "autoscaling/v1";
    let versions = OneVersion { api_version, place };
    let (kind, subresource) = (SCALE.kind, "scale");
    act(&Endpoint { place, api_version, kind, subresource, reset: Reset::default(), versions: &versions, now: &now })
}

/// Where each version of a kind keeps its replica count.
fn replicas_paths(paths: &ScalePaths<'_>) -> Vec<PathElement> {
    paths.spec_replicas.split('/').skip(1).map(|name| PathElement::Field(name.into())).collect()
}

fn rescaled(change: &Change<'_>, paths: &ScalePaths<'_>, wish: &Wish<'_>, old: &Value) -> Result<Value, Status> {
    let (call, resource) = (change.call, change.resource);
    let api_version = resource.api_version();
    let versions = [(api_version.as_str(), Some(replicas_paths(paths)))];
    let mapping = ScaleEntries { api_version: &api_version, paths: &versions };
    let parent = managed_fields::decode(old).map_err(Status::internal)?;
    let mut live = scale_of(resource, old, paths)?;
    managed_fields::set(&mut live, &mapping.to_scale(&parent));
    let scale = wish.scale(change, &live)?;
    let name = call.info.name.as_str();
    let given = object::resource_version(&scale);
    if !given.is_empty() && given != object::resource_version(old) {
        return Err(Status::modified(&resource.group_resource(), name));
    }
    let replicas = replicas_of(change, &scale)?;
    let mut new = old.clone();
    set_pointer(&mut new, paths.spec_replicas, replicas.into());
    let written = managed_fields::decode(&scale).map_err(Status::internal)?;
    managed_fields::set(&mut new, &mapping.to_parent(&parent, written));
    Ok(new)
}

fn set_pointer(object: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(field.to_string(), value);
    }
}

fn scale_of(resource: &Resource, object: &Value, paths: &ScalePaths<'_>) -> Result<Value, Status> {
    if resource.custom.is_some() && object.pointer(paths.spec_replicas).is_none() {
        let path = paths.spec_replicas.replace('/', ".");
        return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let metadata: serde_json::Map<String, Value> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|field| Some((field.to_string(), object.pointer(&format!("/metadata/{field}"))?.clone())))
        .collect();
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(paths.spec_replicas)},
        "status": {"replicas": number(paths.status_replicas)},
    });
    if number(paths.spec_replicas) == 0 {
        scale["spec"] = json!({});
    }
    // An empty path is none; as a pointer it would mean the whole object.
    let selector = Some(paths.selector).filter(|path| !path.is_empty()).and_then(|path| object.pointer(path));
    let selector = selector.map(selector_text).unwrap_or_default();
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

/// A label selector, or a plain map of labels, as a query would write it. Custom resources keep it as such a text.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.into();
    }
    let has_form = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if has_form { selector.get("matchLabels") } else { Some(selector) };
    let mut terms: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut values: Vec<&str> = values.collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        });
    }
    terms.sort();
    terms.join(",")
}
