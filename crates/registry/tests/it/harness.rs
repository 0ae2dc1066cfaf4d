//! The order in which the API server asks a strategy, without a store.

use std::collections::BTreeMap;

use apimachinery::validation::object_meta;
use apimachinery::{Status, managed_fields, patch, strict};
use registry::{Context, Resource};
use serde_json::{Value, json};

pub struct Server {
    objects: BTreeMap<String, Value>,
}

pub struct Target {
    pub resource: &'static Resource,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
}

/// Reads a path of the API.
pub fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
            (*namespace, rest)
        }
        _ => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    let resource = registry::resource(group, version, rest.first()?)?;
    Some(Target { resource, namespace: namespace.into(), name: part(1), subresource: part(2) })
}

impl Server {
    pub fn new() -> Self {
        Self { objects: BTreeMap::new() }
    }

    pub fn create(&mut self, target: &Target, body: Value) -> Result<Value, Status> {
        let (resource, strategy) = (target.resource, &target.resource.strategy);
        let mut object = decode(resource, body)?;
        if resource.namespaced {
            apimachinery::object::set_namespace(&mut object, &target.namespace);
        } else {
            apimachinery::object::set_namespace(&mut object, "");
        }
        strategy.default(&mut object);
        own(target, None, &mut object);
        apimachinery::object::set_uid(&mut object, "uid-1");
        if apimachinery::object::name(&object).is_empty() && !apimachinery::object::generate_name(&object).is_empty() {
            let name = apimachinery::names::generate(apimachinery::object::generate_name(&object));
            apimachinery::object::set_name(&mut object, &name);
        }
        strategy.prepare_for_create(&mut object, &context(&target.namespace));
        admit(&mut object);
        let rule = |name: &str, prefix: bool| strategy.name_rule().check(name, prefix);
        let mut errors = object_meta::validate(&object, resource.namespaced, &rule);
        errors.append(strategy.validate(&object));
        judge(resource, &object, &errors)?;
        encode(resource, &mut object);
        apimachinery::object::set_resource_version(&mut object, "1");
        allocate(&mut object);
        self.objects.insert(key(target, &object), object.clone());
        Ok(object)
    }

    pub fn update(&mut self, target: &Target, body: Value) -> Result<Value, Status> {
        let (resource, strategy) = (target.resource, &target.resource.strategy);
        let old = match self.get(target) {
            Some(old) => old,
            None if strategy.allows_create_on_update() => return self.create(target, body),
            None => return Err(Status::path_not_found()),
        };
        let mut new = decode(resource, body)?;
        for field in ["uid", "creationTimestamp", "resourceVersion", "namespace"] {
            new["metadata"][field] = old["metadata"][field].clone();
        }
        admit(&mut new);
        strategy.default(&mut new);
        own(target, Some(&old), &mut new);
        let errors = if target.subresource == "status" {
            strategy.prepare_for_status_update(&mut new, &old);
            strategy.validate_status_update(&new, &old)
        } else {
            strategy.prepare_for_update(&mut new, &old, &context(&target.namespace));
            let mut errors = object_meta::validate_update(&new, &old, registry::metadata_judged(resource));
            errors.append(strategy.validate_update(&new, &old));
            errors
        };
        judge(resource, &new, &errors)?;
        encode(resource, &mut new);
        allocate(&mut new);
        self.objects.insert(key(target, &new), new.clone());
        Ok(new)
    }

    pub fn patch(&mut self, target: &Target, kind: &str, body: &Value) -> Result<Value, Status> {
        let old = self.get(target).ok_or_else(Status::path_not_found)?;
        let bytes = body.to_string();
        let patched = match kind {
            "application/json-patch+json" => patch::json::apply(&old, bytes.as_bytes()),
            "application/merge-patch+json" => patch::merge::apply(&old, bytes.as_bytes()),
            _ => patch::strategic::apply(&old, bytes.as_bytes(), schema(target.resource)),
        };
        let mut patched = patched.map_err(|error| error.to_status())?;
        patch::check_kind(&patched, &old, &bytes)?;
        let decoded = target.resource.strategy.decode(&mut patched, schema(target.resource));
        decoded.map_err(|why| patch::undecodable(&bytes, &why))?;
        self.update(target, patched)
    }

    pub fn get(&self, target: &Target) -> Option<Value> {
        self.objects.get(&format!("{}/{}", target.resource.name, target.name)).cloned()
    }
}

/// Every pod has an account.
fn admit(object: &mut Value) {
    if object["kind"] == "Pod" && object["spec"]["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        for field in ["serviceAccountName", "serviceAccount"] {
            object["spec"][field] = json!("default");
        }
    }
}

/// Every Service gets the same address: what matters is that it has one.
fn allocate(object: &mut Value) {
    if object["kind"] == "Service" && object["spec"]["type"] != "ExternalName" && object["spec"]["clusterIP"].is_null()
    {
        object["spec"]["clusterIP"] = json!("10.0.0.9");
        object["spec"]["clusterIPs"] = json!(["10.0.0.9"]);
    }
}

fn own(target: &Target, live: Option<&Value>, object: &mut Value) {
    let (resource, subresource) = (target.resource, target.subresource.as_str());
    let version = apimachinery::gvk::api_version(resource.group, resource.version);
    let manager = managed_fields::Manager { name: "replay", api_version: &version, subresource };
    let ignored = resource.strategy.reset_fields(subresource);
    managed_fields::update(live, object, schema(resource), &manager, ignored, "2026-01-01T00:00:00Z");
}

fn key(target: &Target, object: &Value) -> String {
    format!("{}/{}", target.resource.name, apimachinery::object::name(object))
}

pub fn schema(resource: &Resource) -> api::schema::SchemaNode<'_> {
    resource.schema.node()
}

fn context(namespace: &str) -> Context<'_> {
    static GROUPS: [String; 0] = [];
    Context { now: "2026-01-01T00:00:00Z", namespace, user: "admin", user_uid: "", user_groups: &GROUPS }
}

fn decode(resource: &Resource, body: Value) -> Result<Value, Status> {
    let mut object = body;
    object["apiVersion"] = json!(apimachinery::gvk::api_version(resource.group, resource.version));
    object["kind"] = json!(resource.kind);
    resource.strategy.decode(&mut object, schema(resource)).map_err(Status::bad_request)?;
    Ok(object)
}

/// Built-in kinds are written as upstream's types are.
fn encode(resource: &Resource, object: &mut Value) {
    if resource.schema.is_built_in() {
        strict::normalize(object, schema(resource)).expect("a strategy keeps the object in its kind");
    }
}

fn judge(resource: &Resource, object: &Value, errors: &apimachinery::field::ErrorList) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let kind = apimachinery::GroupKind::new(resource.group, resource.kind);
    Err(Status::invalid(&kind, apimachinery::object::name(object), errors))
}
