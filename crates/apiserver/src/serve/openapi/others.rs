//! What is served beside resources: discovery, the version, and the keys of service accounts.

use super::path;
use super::paths::{group_identifier, identifier, tag};
use super::route::{Content, JSON, Route};
use crate::catalog::Catalog;

const DISCOVERY: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Each with the path of its document in version 3.
pub fn all(catalog: &Catalog) -> Vec<(String, Route)> {
    let mut all = vec![
        ("version".into(), read("version", "getCodeVersion", "version", VERSION, JSON)),
        ("api".into(), read("api", "getCoreAPIVersions", "core", &meta("APIVersions"), DISCOVERY)),
        ("apis".into(), read("apis", "getAPIVersions", "apis", &meta("APIGroupList"), DISCOVERY)),
        (KEYS.into(), text(KEYS, "getServiceAccountIssuerOpenIDKeyset", &["application/jwk-set+json"])),
        (ISSUER.into(), text(ISSUER, "getServiceAccountIssuerOpenIDConfiguration", JSON)),
    ];
    let groups = catalog.groups().iter().filter(|group| !group.name.is_empty() && catalog.is_built_in(group.name));
    for group in groups {
        let path = format!("apis/{}", group.name);
        let id = format!("get{}APIGroup", group_identifier(group.name, true));
        let tag = group_identifier(group.name, false);
        all.push((path.clone(), read(&path, &id, &tag, &meta("APIGroup"), DISCOVERY)));
    }
    all
}

const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";
const KEYS: &str = "openid/v1/jwks";
const ISSUER: &str = ".well-known/openid-configuration";

fn meta(kind: &str) -> String {
    format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")
}

/// Where the resources of a version are listed.
pub fn resources(group: &str, version: &str) -> Route {
    let id = format!("get{}{}APIResources", group_identifier(group, true), identifier(version, true));
    read(&path(group, version), &id, &tag(group, version), &meta("APIResourceList"), DISCOVERY)
}

fn read(path: &str, id: &str, tag: &str, definition: &str, media: &'static [&'static str]) -> Route {
    Route {
        path: format!("/{path}/"),
        method: "get",
        id: id.to_owned(),
        tag: tag.to_owned(),
        about: None,
        parameters: Vec::new(),
        body: None,
        consumes: media,
        produces: media,
        answers: vec![(200, Content::Of(definition.to_owned()))],
    }
}

fn text(path: &str, id: &str, media: &'static [&'static str]) -> Route {
    let tag = identifier(path.split('/').next().unwrap_or_default(), false);
    Route { consumes: &[], answers: vec![(200, Content::Text)], ..read(path, id, &tag, "", media) }
}
