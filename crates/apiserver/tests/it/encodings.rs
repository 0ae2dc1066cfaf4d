//! What is said in other formats than JSON.

use std::io::Read;

use auth::UserInfo;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use apiserver::Body;

use crate::{Bench, whole};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn respond(bench: &Bench, method: Method, path: &str, accept: &str, body: Vec<u8>) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header("accept", accept);
    let request = request.header("content-type", PROTOBUF).body(whole(body)).expect("a request");
    bench.send(request, Some(&UserInfo::master("admin"))).await
}

/// Code, media type and body.
async fn ask(bench: &Bench, method: Method, path: &str, accept: &str, body: Vec<u8>) -> (u16, String, Bytes) {
    let response = respond(bench, method, path, accept, body).await;
    let media = response.headers()["content-type"].to_str().expect("text").to_owned();
    let code = response.status().as_u16();
    (code, media, response.into_body().collect().await.expect("a whole body").to_bytes())
}

async fn read(bench: &Bench, path: &str) -> Value {
    let (code, media, body) = ask(bench, Method::GET, path, PROTOBUF, Vec::new()).await;
    assert_eq!((code, media.as_str()), (200, PROTOBUF), "{path}");
    protobuf::decode(&body, ("", "")).expect("an envelope")
}

fn config_map(name: &str) -> Vec<u8> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}});
    protobuf::encode(&map).expect("a message")
}

#[tokio::test]
async fn an_object_goes_in_and_out_in_protobuf() {
    let bench = Bench::new().await;
    let (code, media, body) = ask(&bench, Method::POST, MAPS, PROTOBUF, config_map("a")).await;
    assert_eq!((code, media.as_str()), (201, PROTOBUF));
    let created = protobuf::decode(&body, ("", "")).unwrap();
    assert_eq!(created, bench.get(&format!("{MAPS}/a")).await.body);
    assert_eq!(read(&bench, &format!("{MAPS}/a")).await, created);
}

#[tokio::test]
async fn a_list_and_its_json_are_the_same() {
    let bench = Bench::new().await;
    for name in ["a", "b"] {
        ask(&bench, Method::POST, MAPS, PROTOBUF, config_map(name)).await;
    }
    for path in [MAPS, "/api/v1/namespaces/default/serviceaccounts", "/apis/rbac.authorization.k8s.io/v1/clusterroles"]
    {
        // Of one version: the server writes things of its own meanwhile.
        let newest = bench.get(path).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let path = &format!("{path}?resourceVersion={newest}&resourceVersionMatch=Exact");
        assert_eq!(read(&bench, path).await, bench.get(path).await.body, "{path}");
    }
}

#[tokio::test]
async fn discovery_is_the_same_in_protobuf() {
    let bench = Bench::new().await;
    for path in ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"] {
        let (mut wire, mut json) = (read(&bench, path).await, bench.get(path).await.body);
        // The oldest documents do not say their version in JSON.
        wire.as_object_mut().unwrap().remove("apiVersion");
        json.as_object_mut().unwrap().remove("apiVersion");
        assert_eq!(wire["kind"], json["kind"], "{path}");
        assert_eq!(wire["resources"], json["resources"], "{path}");
    }
    let aggregated = format!("{PROTOBUF};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let (code, media, body) = ask(&bench, Method::GET, "/apis", &aggregated, Vec::new()).await;
    assert_eq!((code, media), (200, aggregated));
    assert_eq!(protobuf::decode(&body, ("", "")).unwrap()["kind"], "APIGroupDiscoveryList");
}

#[tokio::test]
async fn failures_are_told_in_protobuf() {
    let bench = Bench::new().await;
    let (code, media, body) = ask(&bench, Method::GET, &format!("{MAPS}/none"), PROTOBUF, Vec::new()).await;
    assert_eq!((code, media.as_str()), (404, PROTOBUF));
    assert_eq!(protobuf::decode(&body, ("", "")).unwrap()["reason"], "NotFound");
    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
    assert_eq!(ask(&bench, Method::GET, MAPS, &table, Vec::new()).await.0, 406);
    let (code, _, body) = ask(&bench, Method::POST, MAPS, PROTOBUF, b"nothing".to_vec()).await;
    let message = protobuf::decode(&body, ("", "")).unwrap()["message"].take();
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a \
         protobuf message, expected prefix [107 56 115 0] (6e6f7468696e67)"
    );
}

#[tokio::test]
async fn metadata_alone_is_served_in_protobuf() {
    let bench = Bench::new().await;
    ask(&bench, Method::POST, MAPS, PROTOBUF, config_map("a")).await;
    let accept = |kind: &str| format!("{PROTOBUF};as={kind};g=meta.k8s.io;v=v1");
    let (_, _, one) =
        ask(&bench, Method::GET, &format!("{MAPS}/a"), &accept("PartialObjectMetadata"), Vec::new()).await;
    let one = protobuf::decode(&one, ("", "")).unwrap();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    let (_, _, all) = ask(&bench, Method::GET, MAPS, &accept("PartialObjectMetadataList"), Vec::new()).await;
    let all = protobuf::decode(&all, ("", "")).unwrap();
    assert_eq!(all["items"][0]["metadata"]["name"], "a");
}

/// The first frame of a watch: type and object.
async fn first_event(bench: &Bench, path: &str, accept: &str) -> (String, Value) {
    let response = respond(bench, Method::GET, path, accept, Vec::new()).await;
    assert_eq!(response.headers()["content-type"], format!("{PROTOBUF};stream=watch"));
    event_of(&response.into_body().frame().await.unwrap().unwrap().into_data().unwrap())
}

/// Type and object of a frame.
pub fn event_of(frame: &[u8]) -> (String, Value) {
    let (length, event) = frame.split_at(4);
    assert_eq!(usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap(), event.len());
    let fields: Vec<_> = protobuf::Reader::new(event).map(Result::unwrap).collect();
    let [(1, protobuf::Payload::Bytes(kind)), (2, protobuf::Payload::Bytes(raw))] = fields[..] else {
        panic!("no event: {fields:?}")
    };
    let Some(Ok((1, protobuf::Payload::Bytes(object)))) = protobuf::Reader::new(raw).next() else { panic!("{raw:?}") };
    (String::from_utf8(kind.to_vec()).unwrap(), protobuf::decode(object, ("", "")).unwrap())
}

#[tokio::test]
async fn a_watch_is_a_stream_of_frames() {
    let bench = Bench::new().await;
    ask(&bench, Method::POST, MAPS, PROTOBUF, config_map("a")).await;
    let (kind, object) = first_event(&bench, &format!("{MAPS}?watch=1"), PROTOBUF).await;
    assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("ADDED", &json!("a")));
    let stored = bench.get(&format!("{MAPS}/a")).await.body;
    assert_eq!(object, stored);
    let stream = format!("{PROTOBUF};stream=watch");
    assert_eq!(first_event(&bench, &format!("{MAPS}?watch=1"), &stream).await.1, stored);
    let (code, ..) = ask(&bench, Method::GET, &format!("{MAPS}?watch=1"), "application/yaml", Vec::new()).await;
    assert_eq!(code, 406);
}

#[tokio::test]
async fn options_of_a_deletion_are_read_in_protobuf() {
    let bench = Bench::new().await;
    ask(&bench, Method::POST, MAPS, PROTOBUF, config_map("a")).await;
    let options = |uid: &str| {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        protobuf::encode(&options).expect("a message")
    };
    let path = format!("{MAPS}/a");
    assert_eq!(ask(&bench, Method::DELETE, &path, PROTOBUF, options("other")).await.0, 409);
    let uid = bench.get(&path).await.body["metadata"]["uid"].as_str().unwrap().to_owned();
    let (code, _, body) = ask(&bench, Method::DELETE, &path, PROTOBUF, options(&uid)).await;
    assert_eq!((code, protobuf::decode(&body, ("", "")).unwrap()["status"].take()), (200, json!("Success")));
}

async fn long_list(bench: &Bench, path: &str, accept: &str, encoding: &str) -> (Response<()>, Value) {
    let request = Request::builder().uri(path).header("accept", accept).header("accept-encoding", encoding);
    let response = bench.send(request.body(whole("")).expect("a request"), Some(&UserInfo::master("admin"))).await;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    let mut text = Vec::new();
    match head.headers.contains_key("content-encoding") {
        true => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).expect("gzip"),
        false => bytes.as_ref().read_to_end(&mut text).expect("bytes"),
    };
    let value = match head.headers["content-type"].to_str().expect("text") {
        "application/json" => serde_json::from_slice(&text).expect("JSON"),
        "application/yaml" => serde_saphyr::from_slice(&text).expect("YAML"),
        _ => protobuf::decode(&text, ("", "")).expect("an envelope"),
    };
    (Response::from_parts(head, ()), value)
}

/// A list that is sent in pieces says what its pages say.
#[tokio::test]
async fn a_long_list_is_the_same_in_every_form() {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let bench = Bench::new().await;
    let filling = "x".repeat(8000);
    for index in 0..60 {
        let map = json!({"metadata": {"name": format!("m{index}")}, "data": {"filling": filling}});
        assert_eq!(bench.post(MAPS, &map).await.code, 201);
    }
    let (mut items, mut path) = (Vec::new(), format!("{MAPS}?limit=7"));
    loop {
        let page = bench.get(&path).await.body;
        items.extend(page["items"].as_array().expect("a list").clone());
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        path = format!("{MAPS}?limit=7&continue={token}");
    }
    assert!(items.len() >= 60);
    for encoding in ["identity", "gzip"] {
        let (head, list) = long_list(&bench, MAPS, "application/json", encoding).await;
        assert_eq!(head.headers().contains_key("content-encoding"), encoding == "gzip");
        assert_eq!((&list["kind"], &list["items"]), (&json!("ConfigMapList"), &json!(items)));
        let (_, table) = long_list(&bench, MAPS, TABLE, encoding).await;
        let rows = table["rows"].as_array().expect("rows");
        let named = rows.iter().map(|row| (&row["cells"][0], &row["object"]["metadata"]));
        assert!(named.eq(items.iter().map(|item| (&item["metadata"]["name"], &item["metadata"]))));
        assert_eq!((&table["kind"], &table["columnDefinitions"][0]["name"]), (&json!("Table"), &json!("Name")));
        let (_, metadata) = long_list(&bench, MAPS, METADATA, encoding).await;
        let metadata = metadata["items"].as_array().expect("items").iter().map(|item| &item["metadata"]);
        assert!(metadata.eq(items.iter().map(|item| &item["metadata"])));
    }
}

/// Items in protobuf do not say what they are, and none are nothing.
fn untyped(mut list: Value) -> Value {
    if list["items"].is_null() {
        list["items"] = json!([]);
    }
    for item in list["items"].as_array_mut().expect("a list").iter_mut().filter_map(Value::as_object_mut) {
        item.retain(|key, _| !["apiVersion", "kind"].contains(&key.as_str()));
    }
    list
}

/// JSON on lines, YAML and protobuf, long and short, of objects and of their metadata.
#[tokio::test]
async fn a_list_says_the_same_in_every_format() {
    let bench = Bench::new().await;
    for index in 0..40 {
        let map = json!({"metadata": {"name": format!("m{index}")}, "data": {"a": "x\ny\n".repeat(2000), "b": "{\"}"}});
        assert_eq!(bench.post(MAPS, &map).await.code, 201);
    }
    let newest = bench.get(MAPS).await.body["metadata"]["resourceVersion"].take();
    let exact = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", newest.as_str().unwrap());
    for path in [exact.clone(), format!("{exact}&limit=3"), format!("{exact}&fieldSelector=metadata.name=none")] {
        for shape in ["", ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"] {
            let json = format!("application/json{shape}");
            let wanted = untyped(long_list(&bench, &path, &json, "identity").await.1);
            let on_lines = format!("{path}&pretty=true");
            for (path, format) in [(&on_lines, "application/json"), (&path, "application/yaml"), (&path, PROTOBUF)] {
                for encoding in ["identity", "gzip"] {
                    let accept = format!("{format}{shape}");
                    let (_, found) = long_list(&bench, path, &accept, encoding).await;
                    assert_eq!(untyped(found), wanted, "{path} as {accept}, {encoding}");
                }
            }
        }
    }
}
