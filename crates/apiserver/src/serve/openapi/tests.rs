//! The documents against Kubernetes' own.

use super::*;

static V2: LazyLock<Value> = LazyLock::new(|| swagger(&Catalog::built_in()));

#[test]
fn every_reference_of_v2_leads_to_a_definition() {
    let definitions = V2["definitions"].as_object().unwrap();
    let text = V2.to_string();
    let named = text.split("\"#/definitions/").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in named {
        assert!(definitions.contains_key(name), "{name} is not defined");
    }
}

#[test]
fn operations_have_upstreams_names() {
    let named = |path: &str, method: &str| V2["paths"][path][method]["operationId"].as_str().map(str::to_string);
    let check = |path: &str, method: &str, id: &str| assert_eq!(named(path, method).as_deref(), Some(id));
    check("/apis/apps/v1/namespaces/{namespace}/deployments", "post", "createAppsV1NamespacedDeployment");
    check("/apis/apps/v1/namespaces/{namespace}/deployments", "delete", "deleteAppsV1CollectionNamespacedDeployment");
    check(
        "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
        "put",
        "replaceAppsV1NamespacedDeploymentScale",
    );
    check("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}", "get", "readRbacAuthorizationV1ClusterRole");
    check("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces");
}

#[test]
fn lists_say_how_a_patch_merges_them() {
    let containers = &V2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let volumes = &V2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
}

/// Kubernetes' own document, if the machine has it.
fn upstream() -> Option<Value> {
    let root = std::env::var_os("CORACLE_SHARED").map(std::path::PathBuf::from);
    let root = root.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into());
    let path = root.join("kubernetes-1.36/swagger.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no {}: set CORACLE_SHARED", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

/// Descriptions are in own words. The file was written with the permitted values switched off; a server says them.
fn is_compared(key: &str, value: &Value) -> bool {
    !(key == "description" && value.is_string()) && key != "enum"
}

fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let inner = format!("{at} {key}");
                let said =
                    |object: &Map<String, Value>| object.get(key).filter(|value| is_compared(key, value)).cloned();
                match (said(a), said(b)) {
                    (Some(a), Some(b)) => differences(&inner, &a, &b, found),
                    (Some(_), None) => found.push(format!("{inner}: only here")),
                    (None, Some(_)) => found.push(format!("{inner}: missing")),
                    (None, None) => {}
                }
            }
        }
        // The file was written with CBOR switched on; a server has it off, and so have we.
        (Value::Array(a), Value::Array(b)) if b.iter().any(is_cbor) => {
            let rest = b.iter().filter(|item| !is_cbor(item)).cloned().collect();
            differences(at, &Value::Array(a.clone()), &Value::Array(rest), found);
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(n, (a, b))| differences(&format!("{at} {n}"), a, b, found));
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{at}: {a} instead of {b}")),
    }
}

fn is_cbor(media: &Value) -> bool {
    media.as_str().is_some_and(|media| media.starts_with("application/") && media.contains("cbor"))
}

/// The file describes alpha and beta versions too, which a server serves only if it is told to.
fn served(document: &Value) -> Value {
    let mut kept = document.clone();
    let catalog = Catalog::built_in();
    let is_served = |path: &str| {
        let Some(rest) = path.strip_prefix("/apis/") else { return true };
        let (group, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let version = rest.split('/').next().unwrap_or_default();
        let stable = !version.contains("alpha") && !version.contains("beta");
        let mut own = catalog.group_versions().filter(|(own, _)| *own == group);
        match version {
            "" => group.is_empty() || own.next().is_some(),
            version => stable || own.any(|(_, own)| own == version),
        }
    };
    kept["paths"].as_object_mut().unwrap().retain(|path, _| is_served(path));
    kept["definitions"] = merge::below(&kept, "/")["definitions"].clone();
    kept
}

/// The list may only shrink; `UPDATE_EXPECT=1` writes it.
#[test]
fn version_2_differs_from_upstream_only_where_it_is_listed() {
    let Some(theirs) = upstream() else { return };
    let mut theirs = served(&theirs);
    theirs["info"] = V2["info"].clone();
    let mut found = Vec::new();
    differences("", &V2, &theirs, &mut found);
    let found = found.iter().map(|line| format!("{}\n", line.trim())).collect::<String>();
    expect_test::expect_file!["../../../tests/output/openapi-v2.txt"].assert_eq(&found);
}

#[test]
fn every_reference_of_v3_leads_to_a_schema_and_stands_alone() {
    for (group, version) in [("", "v1"), ("apps", "v1"), ("apiextensions.k8s.io", "v1")] {
        let document = document(&Catalog::built_in(), group, version);
        check_references(&document, &document);
    }
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| check_references(item, document)),
        Value::Object(fields) => {
            if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                assert_eq!(fields.len(), 1, "{value}");
            }
            fields.values().for_each(|value| check_references(value, document));
        }
        _ => {}
    }
}

#[test]
fn version_3_says_defaults_and_permitted_values() {
    let document = document(&Catalog::built_in(), "apps", "v1");
    let schemas = &document["components"]["schemas"];
    let field = |definition: &str, name: &str| {
        let mut field = schemas[format!("io.k8s.{definition}")]["properties"][name].clone();
        field.as_object_mut().expect("a schema").remove("description");
        field
    };
    let reference = |name: &str| json!([{"$ref": format!("#/components/schemas/io.k8s.{name}")}]);
    assert_eq!(
        field("api.apps.v1.ControllerRevision", "metadata"),
        json!({"allOf": reference("apimachinery.pkg.apis.meta.v1.ObjectMeta"), "default": {}}),
    );
    assert_eq!(
        field("api.apps.v1.ControllerRevision", "revision"),
        json!({"type": "integer", "format": "int64", "default": 0}),
    );
    assert_eq!(
        field("api.apps.v1.DaemonSetCondition", "lastTransitionTime"),
        json!({"allOf": reference("apimachinery.pkg.apis.meta.v1.Time")}),
    );
    assert_eq!(field("api.core.v1.ContainerPort", "protocol")["default"], "TCP");
    assert_eq!(field("api.core.v1.ContainerPort", "protocol")["enum"], json!(["SCTP", "TCP", "UDP"]));
    assert_eq!(field("api.core.v1.Container", "command")["items"], json!({"type": "string", "default": ""}));
    assert_eq!(field("api.apps.v1.DaemonSetSpec", "minReadySeconds").get("default"), None);
}

#[test]
fn version_3_answers_in_every_form() {
    let document = document(&Catalog::built_in(), "apps", "v1");
    let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"];
    let list = &item["get"]["responses"]["200"]["content"]["application/vnd.kubernetes.protobuf;stream=watch"];
    assert_eq!(list["schema"]["$ref"], "#/components/schemas/io.k8s.api.apps.v1.DeploymentList");
    assert_eq!(item["post"]["requestBody"]["required"], true);
    assert_eq!(item["delete"]["requestBody"].get("required"), None);
    assert_eq!(item["get"]["tags"], json!(["apps_v1"]));
    let index = built_in();
    for path in ["version", "api", "apis", "apis/apps", "apis/apps/v1", "openid/v1/jwks"] {
        assert!(index.contains_key(path), "{path}");
    }
    let hashes = |pages: &BTreeMap<String, Arc<Page>>| pages.values().map(|page| page.hash.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(&index), hashes(&built_in()));
}

#[test]
fn definitions_and_fields_say_what_they_are() {
    let described = |schemas: &Value| {
        for (name, schema) in schemas.as_object().unwrap() {
            let Some(properties) = schema["properties"].as_object() else { continue };
            assert!(schema["description"].is_string(), "{name}");
            for (field, property) in properties {
                assert!(property["description"].is_string(), "{name}.{field}");
            }
        }
    };
    described(&V2["definitions"]);
    let v3 = document(&Catalog::built_in(), "apps", "v1");
    described(&v3["components"]["schemas"]);
    let spec = &v3["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert!(spec["allOf"][0]["$ref"].is_string());
}
