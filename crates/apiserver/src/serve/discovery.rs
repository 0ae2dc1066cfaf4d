//! Discovery: what is served, in the legacy and in the aggregated form.

use std::net::SocketAddr;

use apimachinery::Status;
use http::{HeaderValue, Response, StatusCode, header};
use registry::strategy::{Resource, Subresource};
use serde_json::{Value, json};

use crate::aggregate::discovery as merged;
use crate::body::Body;
use crate::call::Call;
use crate::catalog::{Catalog, Group};
use crate::encode;
use crate::negotiate::{Accept, Format, Offer};
use crate::serve::documents::Document;
use crate::serve::only_get;
use crate::server::Inner;

pub fn run(server: &Inner, call: &mut Call) -> Result<Response<Body>, Status> {
    let path = call.info.path.clone();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match (segments.as_slice(), aggregated_accept(call)) {
        (["api"], Some(accept)) => return Ok(aggregated_document(call, accept, true)),
        (["apis"], Some(accept)) if !merged::is_empty(server) => {
            let document = Document::new(&aggregated_with_remotes(server, &call.catalog));
            return Ok(document_response(call, accept, &document));
        }
        (["apis"], Some(accept)) => return Ok(aggregated_document(call, accept, false)),
        _ => {}
    }
    match segments.as_slice() {
        ["api"] => legacy(only_get(call)?, &api_versions(server)),
        ["apis"] => legacy(call, &group_list(&merged::groups(server, &call.catalog))),
        ["api", version] => resource_list(call, "", version),
        ["apis", group] => match group_of(&merged::groups(server, &call.catalog), group) {
            Some(group) => legacy(call, &group),
            None => Err(Status::path_not_found()),
        },
        ["apis", group, version] => resource_list(call, group, version),
        _ => Err(Status::path_not_found()),
    }
}

/// Whether a path is outside `/apis`, or names a group that is served. Upstream routes nothing for other groups.
pub fn is_served(server: &Inner, call: &Call) -> bool {
    let group =
        call.info.path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).filter(|group| !group.is_empty());
    let remote = |group: &str| server.remotes.all().iter().any(|own| own.group == group);
    group.is_none_or(|group| call.catalog.groups().iter().any(|own| own.name == group) || remote(group))
}

/// The aggregated form, if any clause of the client's asks for it.
fn aggregated_accept(call: &Call) -> Option<Accept> {
    let accept = Accept::negotiate(&call.headers, Offer::AggregatedDiscovery, false).ok()?;
    Some(Accept { pretty: accept.pretty || call.wants_pretty(), ..accept })
}

fn aggregated_document(call: &mut Call, accept: Accept, core: bool) -> Response<Body> {
    let catalog = call.catalog.clone();
    document_response(call, accept, catalog.documents.aggregated(core, || aggregated(&catalog, core)))
}

fn document_response(call: &mut Call, accept: Accept, document: &Document) -> Response<Body> {
    let etag = HeaderValue::from_str(&document.etag()).expect("hexadecimal digits are a header value");
    call.accept = accept;
    let mut response = if call.header("if-none-match") == document.etag() {
        encode::not_modified()
    } else {
        let mut response = encode::json_text(call, StatusCode::OK, &document.text);
        let content_type = HeaderValue::from_static(aggregated_type(accept.format));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    };
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn aggregated_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Protobuf => "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    }
}

fn legacy(call: &mut Call, value: &Value) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    Ok(encode::value_response(call, StatusCode::OK, value))
}

fn named(groups: &[Group]) -> impl Iterator<Item = &Group> {
    groups.iter().filter(|group| !group.name.is_empty())
}

fn api_versions(server: &Inner) -> Value {
    let address = SocketAddr::new(server.config.advertise_address, server.port());
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string()}],
    })
}

fn group_value(group: &Group) -> Value {
    let entry = |version: &&str| json!({"groupVersion": format!("{}/{version}", group.name), "version": version});
    let all: Vec<Value> = group.versions.iter().map(entry).collect();
    json!({"name": group.name, "versions": all, "preferredVersion": group.versions.first().map(entry)})
}

fn group_list(groups: &[Group]) -> Value {
    let groups: Vec<Value> = named(groups).map(group_value).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_of(groups: &[Group], name: &str) -> Option<Value> {
    let mut value = group_value(named(groups).find(|group| group.name == name)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

fn resource_list(call: &mut Call, group: &str, version: &str) -> Result<Response<Body>, Status> {
    if !call.catalog.group_versions().any(|own| own == (group, version)) {
        return Err(Status::path_not_found());
    }
    let call = only_get(call)?;
    let mut list: Vec<Value> = call.catalog.of_version(group, version).flat_map(|resource| entries(resource)).collect();
    if call.catalog.is_built_in(group) {
        list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    }
    let mut value = json!({
        "kind": "APIResourceList",
        "groupVersion": apimachinery::gvk::api_version(group, version),
        "resources": list,
    });
    if !group.is_empty() {
        value["apiVersion"] = "v1".into();
    }
    legacy(call, &value)
}

fn entries(resource: &Resource) -> Vec<Value> {
    let mut own = json!({
        "name": resource.name,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        own["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        own["categories"] = json!(resource.categories);
    }
    // A resource without verbs of its own is only the parent of subresources.
    let main = (!resource.verbs.is_empty()).then_some(own);
    main.into_iter().chain(resource.subresources.iter().map(|sub| sub_entry(resource, sub))).collect()
}

fn sub_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut value = json!({
        "name": format!("{}/{}", resource.name, sub.name),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if !sub.version.is_empty() && (sub.group, sub.version) != (resource.group, resource.version) {
        if !sub.group.is_empty() {
            value["group"] = sub.group.into();
        }
        value["version"] = sub.version.into();
    }
    value
}

fn aggregated(catalog: &Catalog, core: bool) -> Value {
    let groups = catalog.groups().iter().filter(|group| group.name.is_empty() == core);
    let items: Vec<Value> = groups.map(|group| aggregated_group(catalog, group)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

/// The same with what other servers serve.
fn aggregated_with_remotes(server: &Inner, catalog: &Catalog) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for group in merged::groups(server, catalog).iter().filter(|group| !group.name.is_empty()) {
        let mut item = aggregated_group(catalog, group);
        for version in item["versions"].as_array_mut().into_iter().flatten() {
            let name = version["version"].as_str().unwrap_or_default();
            let remote = server.remotes.find(group.name, name).filter(|_| !catalog.is_built_in(group.name));
            if let Some(remote) = remote {
                *version = merged::version(server, &remote);
            }
        }
        items.push(item);
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(catalog: &Catalog, group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let mut resources: Vec<_> = catalog.of_version(group.name, version).collect();
            resources.sort_by_key(|resource| resource.name);
            let resources: Vec<Value> = resources.into_iter().map(|resource| aggregated_resource(resource)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    // A kind of the resource's own group and version is told by its name alone, unless a definition brought it.
    let kind = |group: &str, version: &str, kind: &str| {
        let own = resource.custom.is_some() && version.is_empty();
        let (group, version) = if own { (resource.group, resource.version) } else { (group, version) };
        json!({"group": group, "version": version, "kind": kind})
    };
    let mut value = json!({
        "resource": resource.name,
        "responseKind": kind("", "", resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        value["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        value["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let subs = resource.subresources.iter().map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": kind(sub.group, sub.version, sub.kind),
                "verbs": sub.verbs,
            })
        });
        value["subresources"] = subs.collect();
    }
    value
}
