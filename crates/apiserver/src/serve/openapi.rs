//! OpenAPI v3 (and a small v2), generated from the schema tables and the resources. Without descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use api::schema::{self, Definition, Type};
use apimachinery::Status;
use http::{HeaderValue, Response, StatusCode, header};
use registry::strategy::{Resource, Subresource};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::serve::discovery::group_versions;

/// One document for each group and version, by its path: `api/v1`, `apis/apps/v1`.
static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    group_versions().map(|(group, version)| (path(group, version), document(group, version))).collect()
});

struct Document {
    text: String,
    hash: String,
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

pub fn run(call: &mut Call) -> Result<Response<Body>, Status> {
    let path = call.info.path.clone();
    let path = path.trim_end_matches('/');
    match path.strip_prefix("/openapi/v3") {
        Some("") => index(call),
        Some(rest) => {
            let document = DOCUMENTS.get(rest.trim_start_matches('/')).ok_or_else(Status::path_not_found)?;
            Ok(whole(call, document))
        }
        None if path == "/openapi/v2" => v2(call),
        None => Err(Status::path_not_found()),
    }
}

fn index(call: &mut Call) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    let entry = |(path, document): (&String, &Document)| {
        (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", document.hash)}))
    };
    let paths: Map<String, Value> = DOCUMENTS.iter().map(entry).collect();
    let text = json!({"paths": paths}).to_string();
    Ok(encode::plain(StatusCode::OK, "text/plain; charset=utf-8", text.into()))
}

fn whole(call: &Call, document: &Document) -> Response<Body> {
    let etag = format!("\"{}\"", document.hash);
    if call.header("if-none-match") == etag {
        return encode::plain(StatusCode::NOT_MODIFIED, "application/json", bytes::Bytes::new());
    }
    let mut response = encode::plain(StatusCode::OK, "application/json", document.text.clone().into());
    let value = HeaderValue::from_str(&etag).expect("hexadecimal digits are a header value");
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if call.query.text("hash") == document.hash {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    response
}

fn document(group: &'static str, version: &'static str) -> Document {
    let resources: Vec<&Resource> =
        registry::resources().iter().filter(|r| r.group == group && r.version == version).collect();
    let value = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths(&resources),
        "components": {"schemas": schemas(&resources, "#/components/schemas/")},
    });
    let text = value.to_string();
    let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect();
    Document { text, hash }
}

fn v2(call: &mut Call) -> Result<Response<Body>, Status> {
    static V2: LazyLock<Value> = LazyLock::new(|| {
        let resources: Vec<&Resource> = registry::resources().iter().collect();
        json!({
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.36.2"},
            "paths": paths(&resources),
            "definitions": schemas(&resources, "#/definitions/"),
        })
    });
    call.negotiate(false)?;
    Ok(encode::value_response(call, StatusCode::OK, &V2))
}

fn paths(resources: &[&Resource]) -> Value {
    let mut paths = Map::new();
    for resource in resources {
        let base = path(resource.group, resource.version);
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{base}{scope}/{}", resource.name);
        let gvk = (resource.group, resource.version, resource.kind);
        insert(&mut paths, &collection, resource, gvk, resource.verbs, &["create", "list", "deletecollection"]);
        if resource.namespaced && resource.verbs.contains(&"list") {
            insert(&mut paths, &format!("/{base}/{}", resource.name), resource, gvk, resource.verbs, &["list"]);
        }
        let item = format!("{collection}/{{name}}");
        insert(&mut paths, &item, resource, gvk, resource.verbs, &["get", "update", "patch", "delete"]);
        for sub in resource.subresources {
            let gvk = kind_of(resource, sub);
            let all = &["get", "update", "patch", "delete", "create"];
            insert(&mut paths, &format!("{item}/{}", sub.name), resource, gvk, sub.verbs, all);
        }
    }
    Value::Object(paths)
}

/// A subresource names group and version only where they are not its resource's.
fn kind_of<'a>(resource: &'a Resource, sub: &'a Subresource) -> (&'a str, &'a str, &'a str) {
    if sub.version.is_empty() {
        (resource.group, resource.version, sub.kind)
    } else {
        (sub.group, sub.version, sub.kind)
    }
}

fn insert(
    paths: &mut Map<String, Value>,
    path: &str,
    resource: &Resource,
    gvk: (&str, &str, &str),
    verbs: &[&str],
    wanted: &[&str],
) {
    let mut operations = Map::new();
    for verb in wanted.iter().filter(|verb| verbs.contains(verb)) {
        operations.insert(method(verb).into(), operation(verb, resource, gvk));
    }
    if !operations.is_empty() {
        paths.insert(path.into(), Value::Object(operations));
    }
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" | "deletecollection" => "delete",
        _ => "get",
    }
}

fn operation(verb: &str, resource: &Resource, (group, version, kind): (&str, &str, &str)) -> Value {
    let action = match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    };
    let queries: &[&str] = match verb {
        "create" | "update" => &["dryRun", "fieldManager", "fieldValidation", "pretty"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"],
        "list" => {
            &["allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch"]
        }
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        _ => &["pretty"],
    };
    let parameters: Vec<Value> =
        queries.iter().map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}})).collect();
    json!({
        "operationId": format!("{action}{}{kind}", resource.name),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    })
}

/// The definitions that the resources reach, with their kinds.
fn schemas(resources: &[&Resource], prefix: &str) -> Value {
    let mut reached: BTreeSet<&'static str> = BTreeSet::new();
    let mut open: Vec<&'static Definition> = Vec::new();
    let mut kinds: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for resource in resources {
        if let Some(definition) = schema::definition(resource.schema) {
            let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
            kinds.entry(definition.name).or_default().push(kind);
            open.push(definition);
        }
        let subs = resource.subresources.iter();
        open.extend(
            subs.map(|sub| kind_of(resource, sub))
                .filter_map(|(group, version, kind)| schema::kind(group, version, kind)),
        );
    }
    while let Some(definition) = open.pop() {
        if reached.insert(definition.name) {
            definition.fields().iter().for_each(|field| reach(field.ty, &mut open));
        }
    }
    let all = reached.into_iter().filter_map(schema::definition);
    all.map(|d| (d.name.to_string(), schema_of(d, kinds.get(d.name), prefix))).collect::<Map<_, _>>().into()
}

fn reach(ty: Type, open: &mut Vec<&'static Definition>) {
    match ty {
        Type::Object(index) => open.push(schema::by_index(index)),
        Type::List(inner) | Type::Map(inner) => reach(*inner, open),
        _ => {}
    }
}

fn schema_of(definition: &Definition, kinds: Option<&Vec<Value>>, prefix: &str) -> Value {
    let fields = definition.fields().iter();
    let properties: Map<String, Value> = fields.map(|field| (field.name.into(), type_of(field.ty, prefix))).collect();
    let mut value = json!({"type": "object", "properties": properties});
    if !definition.required.is_empty() {
        value["required"] = json!(definition.required);
    }
    if let Some(kinds) = kinds {
        value["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    value
}

fn type_of(ty: Type, prefix: &str) -> Value {
    match ty {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Type::Time | Type::MicroTime => json!({"type": "string", "format": "date-time"}),
        Type::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Type::Any => json!({"type": "object"}),
        Type::Object(index) => json!({"allOf": [{"$ref": format!("{prefix}{}", schema::by_index(index).name)}]}),
        Type::List(inner) => json!({"type": "array", "items": type_of(*inner, prefix)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": type_of(*inner, prefix)}),
    }
}
