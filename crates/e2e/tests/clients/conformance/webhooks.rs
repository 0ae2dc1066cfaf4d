//! AdmissionWebhook: what webhooks are asked, what they change, and what becomes of their refusals, silence and failure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::api::{Api, CORE, DEFINITIONS, definition, names, pod};
use super::https::Https;
use super::webhook_configurations::{MUTATING, VALIDATING, configuration, hook};

const RAFTS: &str = "/apis/conformance.example.org/v1/namespaces/default/rafts";

fn allow() -> Value {
    json!({"allowed": true})
}

fn deny(reason: &str) -> Value {
    json!({"allowed": false, "status": {"code": 403, "message": reason, "reason": "because"}})
}

fn change(patch: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
}

/// Refuses objects whose data say `key: disallowed`, before and after.
fn judge(_: &str, request: &Value) -> Value {
    let unwanted = |object: &Value| object.pointer("/data/key") == Some(&json!("disallowed"));
    let judged = if request["operation"] == "DELETE" { &request["oldObject"] } else { &request["object"] };
    if unwanted(judged) { deny("the object contains an unwanted key") } else { allow() }
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"key": value}})
}

/// Makes a configuration of one webhook and waits until it is in force.
async fn configure(api: &Api, path: &str, name: &str, hooks: Vec<Value>) {
    api.post(path, &configuration(name, hooks)).await.ok();
}

/// The rule for one resource.
fn rule(group: &str, resource: &str, operations: &[&str]) -> Value {
    json!([{"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]}])
}

#[tokio::test]
async fn a_webhook_denies_pods_and_config_maps_but_not_where_its_selectors_look_away() {
    let api = Api::start("webhooks-deny").await;
    let server = Https::reviewing(judge).await;
    let mut one = hook("maps.example.org", server.client_config("/judge"), rule("", "configmaps", &["*"]));
    one["namespaceSelector"] = json!({"matchExpressions": [{"key": "exempt", "operator": "DoesNotExist"}]});
    configure(&api, VALIDATING, "maps", vec![one]).await;
    let maps = format!("{CORE}/configmaps");
    let reason = "admission webhook \"maps.example.org\" denied the request: the object contains an unwanted key";
    api.post(&maps, &map("one", "disallowed")).await.refused(403, reason);
    api.post(&maps, &map("one", "allowed")).await.ok();
    api.put(&format!("{maps}/one"), &map("one", "disallowed")).await.refused(403, reason);
    api.merge(&format!("{maps}/one"), &map("one", "disallowed")).await.refused(403, reason);
    assert_eq!(api.get(&format!("{maps}/one")).await.ok()["data"]["key"], "allowed");
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "exempt", "labels": {"exempt": "yes"}}})).await.ok();
    api.post("/api/v1/namespaces/exempt/configmaps", &map("one", "disallowed")).await.ok();
    denied_pods(&api).await;
}

/// Also one whose webhook is silent for longer than it may be.
async fn denied_pods(api: &Api) {
    let server = Https::reviewing(|_, request| match request["name"].as_str() {
        Some("unwanted") => deny("the pod has an unwanted name"),
        _ => allow(),
    })
    .await;
    let create = rule("", "pods", &["CREATE"]);
    let refuses = hook("pods.example.org", server.client_config("/pods"), create.clone());
    let mut hangs = hook("hangs.example.org", server.client_config("/slow"), create);
    hangs["timeoutSeconds"] = json!(1);
    hangs["objectSelector"] = json!({"matchLabels": {"hang": "yes"}});
    configure(api, VALIDATING, "pods", vec![refuses, hangs]).await;
    let pods = format!("{CORE}/pods");
    api.post(&pods, &pod("unwanted")).await.refused(403, "the pod has an unwanted name");
    let mut hanging = pod("hanging");
    hanging["metadata"]["labels"] = json!({"hang": "yes"});
    api.post(&pods, &hanging)
        .await
        .refused(500, "failed calling webhook \"hangs.example.org\": failed to call webhook");
    api.post(&pods, &pod("wanted")).await.ok();
}

#[tokio::test]
async fn a_webhook_denies_attaching_to_a_pod() {
    let api = Api::start("webhooks-attach").await;
    let server = Https::reviewing(|_, request| {
        let attaches = request["subResource"] == "attach" && request["object"]["kind"] == "PodAttachOptions";
        if attaches && request["operation"] == "CONNECT" { deny("attaching is not allowed") } else { allow() }
    })
    .await;
    let one = hook("attach.example.org", server.client_config("/attach"), rule("", "pods/attach", &["CONNECT"]));
    configure(&api, VALIDATING, "attach", vec![one]).await;
    api.post(&format!("{CORE}/pods"), &pod("one")).await.ok();
    let path = format!("{CORE}/pods/one/attach?stdout=true&container=main");
    api.post(&path, &json!(null)).await.refused(403, "attaching is not allowed");
    let review = &server.asked()[0].body["request"];
    assert_eq!(review["object"]["container"], "main", "{review}");
}

#[tokio::test]
async fn what_fails_closed_is_refused_and_deadlines_are_kept() {
    let api = Api::start("webhooks-fail").await;
    let maps = format!("{CORE}/configmaps");
    let nobody = json!({"url": "https://127.0.0.1:1/nobody"});
    let closed = hook("closed.example.org", nobody, rule("", "configmaps", &["CREATE"]));
    configure(&api, VALIDATING, "closed", vec![closed]).await;
    let refused = api.post(&maps, &map("one", "x")).await.refused(500, "failed calling webhook \"closed.example.org\"");
    assert_eq!(refused["reason"], "InternalError");
    api.delete(&format!("{VALIDATING}/closed")).await.ok();
    deadlines(&api, &maps).await;
}

async fn deadlines(api: &Api, maps: &str) {
    let server = Https::reviewing(|_, _| allow()).await;
    let cases =
        [("short", json!(1), "Fail", false), ("ignored", json!(1), "Ignore", true), ("long", json!(10), "Fail", true)];
    for (name, seconds, policy, passes) in cases.into_iter().chain([("default", Value::Null, "Fail", true)]) {
        let mut one = hook("slow.example.org", server.client_config("/slow"), rule("", "configmaps", &["CREATE"]));
        one["failurePolicy"] = json!(policy);
        if !seconds.is_null() {
            one["timeoutSeconds"] = seconds;
        }
        configure(api, VALIDATING, name, vec![one]).await;
        let answer = api.post(maps, &map(name, "x")).await;
        if passes {
            drop(answer.ok())
        } else {
            drop(answer.refused(500, "context deadline exceeded"))
        }
        api.delete(&format!("{VALIDATING}/{name}")).await.ok();
    }
    assert!(server.asked().iter().any(|asked| asked.path == "/slow?timeout=1s"), "the webhook is told its deadline");
}

/// Adds a stage to the data of what is started.
fn stages(path: &str, request: &Value) -> Value {
    let data = &request["object"]["data"];
    match path.split('?').next() {
        Some("/one") if data["start"] == "yes" => change(&json!([{"op": "add", "path": "/data/one", "value": "yes"}])),
        Some("/two") if data["one"] == "yes" => change(&json!([{"op": "add", "path": "/data/two", "value": "yes"}])),
        _ => allow(),
    }
}

/// Two webhooks, of which the later sees what the earlier did.
fn staged(server: &Https, rules: &Value) -> Vec<Value> {
    let one =
        |stage: &str| hook(&format!("{stage}.example.org"), server.client_config(&format!("/{stage}")), rules.clone());
    vec![one("one"), one("two")]
}

#[tokio::test]
async fn webhooks_change_config_maps_in_turn_and_pods_before_their_defaults() {
    let api = Api::start("webhooks-mutate").await;
    let server = Https::reviewing(stages).await;
    configure(&api, MUTATING, "stages", staged(&server, &rule("", "configmaps", &["CREATE"]))).await;
    let made =
        api.post(&format!("{CORE}/configmaps"), &json!({"metadata": {"name": "one"}, "data": {"start": "yes"}})).await;
    assert_eq!(made.ok()["data"], json!({"start": "yes", "one": "yes", "two": "yes"}));
    let init = json!({"name": "added", "image": "example.org/added:1", "resources": {}});
    let patch = json!([{"op": "add", "path": "/spec/initContainers", "value": [init]}]);
    let adds = Https::reviewing(move |_, _| change(&patch)).await;
    let one = hook("adds.example.org", adds.client_config("/"), rule("", "pods", &["CREATE"]));
    configure(&api, MUTATING, "adds", vec![one]).await;
    let made = api.post(&format!("{CORE}/pods"), &pod("one")).await.ok();
    let added = &made["spec"]["initContainers"][0];
    assert_eq!(added["name"], "added");
    assert_eq!(added["terminationMessagePolicy"], "File", "defaults follow: {added}");
    assert_eq!(added["terminationMessagePath"], "/dev/termination-log", "{added}");
    assert_eq!(added["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount", "{added}");
}

#[tokio::test]
async fn a_webhook_for_everything_changes_all_but_what_its_object_selector_leaves_out() {
    let api = Api::start("webhooks-everything").await;
    let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"touched": "yes"}}]);
    let server = Https::reviewing(move |_, _| change(&patch)).await;
    let mut one = hook("all.example.org", server.client_config("/all"), rule("*", "*/*", &["CREATE"]));
    one["objectSelector"] = json!({"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]});
    configure(&api, MUTATING, "all", vec![one]).await;
    let maps = format!("{CORE}/configmaps");
    let skipped = json!({"metadata": {"name": "skipped", "labels": {"skip": "yes"}}});
    assert_eq!(api.post(&maps, &skipped).await.ok()["metadata"]["labels"], json!({"skip": "yes"}));
    assert_eq!(api.post(&maps, &map("taken", "x")).await.ok()["metadata"]["labels"], json!({"touched": "yes"}));
    let lease = json!({"metadata": {"name": "one"}});
    let made = api.post("/apis/coordination.k8s.io/v1/namespaces/default/leases", &lease).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"touched": "yes"}));
}

#[tokio::test]
async fn webhooks_can_neither_change_nor_keep_configurations_of_webhooks() {
    let api = Api::start("webhooks-themselves").await;
    let server = Https::reviewing(|path, _| match path.starts_with("/deny") {
        true => deny("nothing may go"),
        false => change(&json!([{"op": "add", "path": "/metadata/labels", "value": {"touched": "yes"}}])),
    })
    .await;
    let rules = rule("admissionregistration.k8s.io", "*", &["*"]);
    configure(&api, VALIDATING, "denies", vec![hook("d.example.org", server.client_config("/deny"), rules.clone())])
        .await;
    configure(&api, MUTATING, "labels", vec![hook("l.example.org", server.client_config("/label"), rules)]).await;
    for path in [VALIDATING, MUTATING] {
        let made = api.post(path, &configuration("dummy", vec![])).await.ok();
        assert_eq!(made["metadata"]["labels"], Value::Null);
        api.delete(&format!("{path}/dummy")).await.ok();
    }
    assert!(server.asked().is_empty());
}

fn rafts() -> Value {
    let data = json!({"type": "object", "properties": {"start": {"type": "string"}, "one": {"type": "string"}, "key": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {"data": data}});
    definition("conformance.example.org", "Raft", &[("v1", schema.clone()), ("v2", schema)])
}

fn raft(name: &str, data: Value) -> Value {
    json!({"apiVersion": "conformance.example.org/v1", "kind": "Raft", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn webhooks_deny_custom_resources_and_definitions() {
    let api = Api::start("webhooks-custom").await;
    api.define(&rafts()).await;
    let server = Https::reviewing(judge).await;
    let rules = rule("conformance.example.org", "rafts", &["CREATE", "UPDATE", "DELETE"]);
    configure(&api, VALIDATING, "rafts", vec![hook("rafts.example.org", server.client_config("/"), rules)]).await;
    let reason = "the object contains an unwanted key";
    api.post(RAFTS, &raft("one", json!({"key": "disallowed"}))).await.refused(403, reason);
    api.post(RAFTS, &raft("one", json!({"key": "fine"}))).await.ok();
    let path = format!("{RAFTS}/one");
    api.merge(&path, &json!({"data": {"key": "disallowed"}})).await.refused(403, reason);
    api.delete(&format!("{VALIDATING}/rafts")).await.ok();
    api.merge(&path, &json!({"data": {"key": "disallowed"}})).await.ok();
    let rules = rule("conformance.example.org", "rafts", &["DELETE"]);
    configure(&api, VALIDATING, "rafts", vec![hook("rafts.example.org", server.client_config("/"), rules)]).await;
    api.delete(&path).await.refused(403, reason);
    assert_eq!(names(&api.get(RAFTS).await.ok()), ["one"]);
    denied_definitions(&api).await;
}

async fn denied_definitions(api: &Api) {
    let server = Https::reviewing(|_, _| deny("no more definitions")).await;
    let mut one = hook(
        "definitions.example.org",
        server.client_config("/"),
        rule("apiextensions.k8s.io", "customresourcedefinitions", &["CREATE"]),
    );
    one["objectSelector"] = json!({"matchLabels": {"unwanted": "yes"}});
    configure(api, VALIDATING, "definitions", vec![one]).await;
    let mut unwanted = definition("unwanted.example.org", "Raft", &[("v1", json!({"type": "object"}))]);
    api.post(&format!("{DEFINITIONS}?dryRun=All"), &unwanted).await.ok();
    unwanted["metadata"]["labels"] = json!({"unwanted": "yes"});
    api.post(DEFINITIONS, &unwanted).await.refused(403, "no more definitions");
    api.get(&format!("{DEFINITIONS}/rafts.unwanted.example.org")).await.refused(404, "not found");
}

#[tokio::test]
async fn webhooks_change_custom_resources_and_what_the_schema_lacks_is_pruned() {
    let api = Api::start("webhooks-prune").await;
    api.define(&rafts()).await;
    api.post(&format!("{CORE}/services"), &Https::service("hook")).await.ok();
    let server = Https::reviewing(stages).await;
    let rules = rule("conformance.example.org", "rafts", &["CREATE", "UPDATE"]);
    let one = |stage: &str| {
        hook(&format!("{stage}.example.org"), server.by_service("hook", &format!("/{stage}")), rules.clone())
    };
    configure(&api, MUTATING, "stages", vec![one("one"), one("two")]).await;
    let made = api.post(RAFTS, &raft("one", json!({"start": "yes"}))).await.ok();
    assert_eq!(made["data"], json!({"start": "yes", "one": "yes"}), "the schema has no second stage");
    // The other version is stored from now on; webhooks go on for the first.
    let definition = format!("{DEFINITIONS}/rafts.conformance.example.org");
    let mut stored = api.get(&definition).await.ok();
    stored["spec"]["versions"][0]["storage"] = json!(false);
    stored["spec"]["versions"][1]["storage"] = json!(true);
    api.put(&definition, &stored).await.ok();
    let changed = api.merge(&format!("{RAFTS}/one"), &json!({"data": {"one": null, "key": "x"}})).await.ok();
    assert_eq!(changed["data"], json!({"start": "yes", "one": "yes", "key": "x"}));
    let made = api.post(RAFTS, &raft("two", json!({"start": "yes"}))).await.ok();
    assert_eq!(made["data"], json!({"start": "yes", "one": "yes"}));
    let second = RAFTS.replace("/v1/", "/v2/");
    assert_eq!(api.get(&format!("{second}/two")).await.ok()["apiVersion"], "conformance.example.org/v2");
}
