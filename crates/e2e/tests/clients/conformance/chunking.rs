//! Servers with support for API chunking and for Table transformation.

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, CORE, names};

const TEMPLATES: &str = "/api/v1/namespaces/default/podtemplates";

async fn templates(api: &Api, count: usize) {
    for index in 0..count {
        let spec = json!({"containers": [{"name": "test", "image": "example.org/test:1"}]});
        let template = json!({"metadata": {"name": format!("template-{index:04}")}, "template": {"spec": spec}});
        api.post(TEMPLATES, &template).await.ok();
    }
}

fn token(list: &Value) -> String {
    list["metadata"]["continue"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_list_comes_in_chunks_of_one_version() {
    let api = Api::start("chunking").await;
    templates(&api, 40).await;
    let first = api.get(&format!("{TEMPLATES}?limit=7")).await.ok();
    // What comes later is in no chunk.
    api.post(TEMPLATES, &json!({"metadata": {"name": "template-0007a"}, "template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}})).await.ok();
    let (mut seen, mut list) = (0, first.clone());
    loop {
        for name in names(&list) {
            assert_eq!(name, format!("template-{seen:04}"));
            seen += 1;
        }
        assert_eq!(list["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        let token = token(&list);
        if token.is_empty() {
            break;
        }
        assert_eq!(list["metadata"]["remainingItemCount"], json!(40 - seen));
        list = api.get(&format!("{TEMPLATES}?limit=7&continue={token}")).await.ok();
    }
    assert_eq!(seen, 40);
    assert_eq!(names(&api.get(TEMPLATES).await.ok()).len(), 41);
}

#[tokio::test]
async fn a_list_whose_version_is_gone_goes_on_from_its_last_key() {
    let api = Api::start("chunking-expired").await;
    templates(&api, 4).await;
    let first = api.get(&format!("{TEMPLATES}?limit=2")).await.ok();
    let old = token(&first);
    let gone = compacted(&api, &old).await;
    assert_eq!(gone["reason"], "Expired");
    let fresh = gone["metadata"]["continue"].as_str().expect("a token to go on with").to_owned();
    assert_ne!(fresh, old);
    api.delete(&format!("{TEMPLATES}/template-0002")).await.ok();
    let rest = api.get(&format!("{TEMPLATES}?limit=1&continue={fresh}")).await.ok();
    assert_eq!(names(&rest), ["template-0003"]);
    assert_ne!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(token(&rest).is_empty());
}

/// Writes until the server no longer holds the version of the token.
async fn compacted(api: &Api, token: &str) -> Value {
    let map = format!("{CORE}/configmaps/writes");
    api.post(&format!("{CORE}/configmaps"), &json!({"metadata": {"name": "writes"}})).await.ok();
    for batch in 0..1000 {
        let writes = (0..50).map(|index| write(api, &map, index, batch));
        futures::future::join_all(writes).await;
        let answer = api.get(&format!("{TEMPLATES}?limit=2&continue={token}")).await;
        if answer.code == 410 {
            return answer.refused(410, "The provided continue parameter is too old");
        }
    }
    panic!("the version is still there");
}

async fn write(api: &Api, map: &str, index: u32, batch: u32) {
    api.merge(map, &json!({"data": {format!("key-{index}"): batch.to_string()}})).await.ok();
}

#[tokio::test]
async fn tables_are_made_of_what_has_metadata_and_of_nothing_else() {
    let api = Api::start("tables").await;
    templates(&api, 2).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = api.send(Method::GET, &format!("{TEMPLATES}?limit=1"), &accept, Vec::new()).await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][0], "template-0000");
    assert!(!token(&table).is_empty());
    let text = [accept[0], ("content-type", "application/json")];
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string().into_bytes();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    api.send(Method::POST, path, &text, review).await.refused(406, "only the following media types are accepted");
}
