//! OpenAPI v3 and v2, generated from the schema tables and the resources. Descriptions are `api::docs`'.
//!
//! Both versions come from the same tables; [`Dialect`] is what they say differently. v2 is also served in the
//! protobuf form that kubectl up to 1.28 reads ([`gnostic`]).

mod gnostic;
pub mod merge;
mod others;
mod parameters;
mod paths;
mod route;
mod schemas;
mod swagger;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use apimachinery::Status;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use registry::strategy::Resource;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::route::Route;
use self::swagger::Form;
pub use self::swagger::Swagger;
use crate::aggregate;
use crate::aggregate::remote::{Described, Remote};
use crate::body::Body;
use crate::call::Call;
use crate::catalog::Catalog;
use crate::encode;
use crate::serve::documents::Page;
use crate::server::Inner;

static BUILT_IN: LazyLock<BTreeMap<String, Arc<Page>>> = LazyLock::new(built_in);

fn built_in() -> BTreeMap<String, Arc<Page>> {
    let catalog = Catalog::built_in();
    let others = others::all(&catalog).into_iter();
    let mut all: BTreeMap<String, Arc<Page>> =
        others.map(|(path, route)| (path, Arc::new(Page::now(&described(&[route], &[]))))).collect();
    all.extend(documents(&catalog, false));
    all
}

/// One document for each group and version, by its path: `api/v1`, `apis/apps/v1`. Those of built-in kinds are made once.
fn all(catalog: &Catalog) -> BTreeMap<String, Arc<Page>> {
    let mut all = BUILT_IN.clone();
    all.extend(documents(catalog, true));
    all
}

fn documents(catalog: &Catalog, custom: bool) -> BTreeMap<String, Arc<Page>> {
    let versions = catalog.group_versions().filter(|(group, version)| {
        let mut resources = catalog.of_version(group, version);
        resources.any(|resource| resource.schema.is_built_in() != custom)
    });
    versions.map(|(group, version)| (path(group, version), Arc::new(page(catalog, group, version)))).collect()
}

/// Custom resources are hashed by their definitions: most are never asked about.
fn page(catalog: &Catalog, group: &str, version: &str) -> Page {
    let mut digest = Sha256::new();
    let mut custom = false;
    for source in catalog.of_version(group, version).filter_map(|resource| resource.custom.as_ref()) {
        custom = true;
        digest.update(&source.source);
    }
    match custom {
        true => Page::later(&digest.finalize()),
        false => Page::now(&document(catalog, group, version)),
    }
}

/// How a version of OpenAPI says things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

pub async fn run(server: &Inner, call: &mut Call) -> Result<Response<Body>, Status> {
    let path = call.info.path.clone();
    let path = path.trim_end_matches('/');
    match path.strip_prefix("/openapi/v3") {
        Some("") => index(server, call),
        Some(rest) => {
            let path = rest.trim_start_matches('/');
            if let Some(remote) = remote_at(server, call, path) {
                let there = format!("/openapi/v3/{path}");
                return Ok(aggregate::proxy::forward(server, call, &remote, &there).await);
            }
            Ok(call.catalog.documents.openapi(|| all(&call.catalog)).get(path).map_or_else(nothing, |page| {
                let text = page.text(|| document_at(&call.catalog, path));
                whole(call, page, text)
            }))
        }
        None if path == "/openapi/v2" => Ok(v2(server, call)),
        None => Err(Status::path_not_found()),
    }
}

/// Who describes a path that is somebody else's.
fn remote_at(server: &Inner, call: &Call, path: &str) -> Option<Arc<Remote>> {
    let (group, version) = path.strip_prefix("apis/")?.split_once('/')?;
    server.remotes.find(group, version).filter(|_| !call.catalog.is_built_in(group))
}

fn index(server: &Inner, call: &mut Call) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    let entry = |(path, document): (&String, &Arc<Page>)| {
        (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", document.hash)}))
    };
    let mut paths: Map<String, Value> =
        call.catalog.documents.openapi(|| all(&call.catalog)).iter().map(entry).collect();
    for remote in server.remotes.all().iter().filter(|remote| !call.catalog.is_built_in(&remote.group)) {
        if let Some(url) = &remote.seen.lock().openapi {
            paths.insert(path(&remote.group, &remote.version), json!({"serverRelativeURL": url}));
        }
    }
    let text = json!({"paths": paths}).to_string();
    Ok(encode::plain(StatusCode::OK, "text/plain; charset=utf-8", text.into()))
}

/// Upstream says nothing about versions that it does not know.
fn nothing() -> Response<Body> {
    let mut response = Response::new(crate::body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn document_at(catalog: &Catalog, wanted: &str) -> Value {
    let found = catalog.group_versions().find(|(group, version)| path(group, version) == wanted);
    found.map(|(group, version)| document(catalog, group, version)).unwrap_or_default()
}

fn whole(call: &Call, document: &Page, text: Bytes) -> Response<Body> {
    let etag = document.etag();
    if call.header("if-none-match") == etag {
        return encode::not_modified();
    }
    let mut response = encode::plain(StatusCode::OK, "application/json", text);
    let value = HeaderValue::from_str(&etag).expect("hexadecimal digits are a header value");
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if call.query.text("hash") == document.hash {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    response
}

fn document(catalog: &Catalog, group: &str, version: &str) -> Value {
    let resources: Vec<&Resource> = catalog.of_version(group, version).map(AsRef::as_ref).collect();
    described(&routes(&resources), &resources)
}

/// What can be done with the resources. The resources of a version can be listed, unless all are custom.
fn routes(resources: &[&Resource]) -> Vec<Route> {
    let mut versions: Vec<(&str, &str)> = Vec::new();
    for resource in resources.iter().filter(|resource| resource.custom.is_none()) {
        if !versions.contains(&(resource.group, resource.version)) {
            versions.push((resource.group, resource.version));
        }
    }
    let lists = versions.into_iter().map(|(group, version)| others::resources(group, version));
    lists.chain(resources.iter().flat_map(|resource| paths::of(resource))).collect()
}

fn described(routes: &[Route], resources: &[&Resource]) -> Value {
    let schemas = schemas::of(routes, resources, Dialect::V3);
    let mut components = json!({"securitySchemes": {"BearerToken": bearer_token()}});
    if !schemas.is_empty() {
        components["schemas"] = schemas.into();
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": route::paths(routes, Dialect::V3),
        "components": components,
    })
}

fn bearer_token() -> Value {
    json!({"type": "apiKey", "name": "authorization", "in": "header", "description": "A bearer token"})
}

/// The definition of everything in one document.
fn swagger(catalog: &Catalog) -> Value {
    let resources: Vec<&Resource> = catalog.resources().map(AsRef::as_ref).collect();
    let mut routes = routes(&resources);
    routes.extend(others::all(catalog).into_iter().map(|(_, route)| route));
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": route::paths(&routes, Dialect::V2),
        "definitions": schemas::of(&routes, &resources, Dialect::V2),
        "parameters": parameters::shared(),
        "security": [{"BearerToken": []}],
        "securityDefinitions": {"BearerToken": bearer_token()},
    })
}

/// What this server serves, and what those say that others serve.
fn whole_swagger(server: &Inner, catalog: &Catalog) -> Arc<Swagger> {
    let remotes = server.remotes.all();
    let foreign = remotes.iter().filter(|remote| !catalog.is_built_in(&remote.group));
    let described: Vec<Arc<Described>> = foreign.filter_map(|remote| remote.seen.lock().swagger.clone()).collect();
    let etags: Vec<&str> = described.iter().map(|described| described.etag.as_str()).collect();
    catalog.documents.swagger(&etags.join(" "), || {
        let mut value = swagger(catalog);
        described.iter().for_each(|described| merge::add(&mut value, &described.value));
        Swagger::written(&value)
    })
}

fn v2(server: &Inner, call: &Call) -> Response<Body> {
    let Some(form) = Form::accepted(call.header("accept")) else {
        let mut response = Response::new(crate::body::empty());
        *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        return response;
    };
    whole_swagger(server, &call.catalog).response(call, form)
}
