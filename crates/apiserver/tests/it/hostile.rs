//! Whatever is sent, the server answers with a refusal of the 4xx kind, goes on, and does not grow.

use std::sync::Arc;
use std::time::Duration;

use apiserver::{Config, Server};
use auth::UserInfo;
use http::{Method, Request};
use http_body_util::BodyExt;
use rt::TaskSet;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Answer, Bench, whole};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// What one request may take at the very most, in a debug build on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// How far memory may grow, in KiB. Other tests live in the same process, hence the width; a bomb that unfolds is a
/// thousand times larger.
const GROWTH_MAX: u64 = 1 << 20;

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

struct Attack<'a> {
    bench: &'a Bench,
}

impl Attack<'_> {
    async fn send(&self, method: Method, path: &str, media: &str, body: impl Into<bytes::Bytes>) -> Answer {
        let what = format!("{method} {} {media}", path.chars().take(120).collect::<String>());
        let builder = Request::builder().method(method).uri(path).header("content-type", media);
        let request = builder.body(whole(body)).expect("a request");
        let answered = tokio::time::timeout(LONG, self.bench.send(request, Some(&UserInfo::master("admin")))).await;
        let response = answered.unwrap_or_else(|_| panic!("{what} hangs"));
        let code = response.status().as_u16();
        let bytes = tokio::time::timeout(LONG, response.into_body().collect()).await.expect("a body that ends");
        let bytes = bytes.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        // A revision that is not reached yet is upstream's 504.
        let fault = code >= 500 && body.pointer("/details/causes/0/reason") != Some(&json!("ResourceVersionTooLarge"));
        assert!(!fault, "{what}: {code} {}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
        Answer { code, body }
    }

    /// It is refused.
    async fn refused(&self, method: Method, path: &str, media: &str, body: impl Into<bytes::Bytes>) -> u16 {
        let answer = self.send(method.clone(), path, media, body).await;
        let shown: String = answer.body.to_string().chars().take(400).collect();
        assert!((400..500).contains(&answer.code), "{method} {path:.80} as {media}: {} {shown}", answer.code);
        answer.code
    }

    async fn create(&self, media: &str, body: impl Into<bytes::Bytes>) -> u16 {
        self.refused(Method::POST, MAPS, media, body).await
    }

    /// The server serves on.
    async fn unharmed(&self) {
        assert_eq!(self.bench.get("/api/v1/namespaces/default").await.code, 200);
    }
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x"}},"data":{}{}}}"#,
        open.repeat(depth),
        close.repeat(depth)
    )
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[tokio::test]
async fn bodies_that_are_too_large_too_deep_cut_off_or_wrong_are_refused() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    assert_eq!(attack.create(JSON, vec![b' '; 4 << 20]).await, 413);
    let large = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(2 << 20)}}).to_string();
    attack.create(JSON, large).await;
    for depth in [200, 10_000, 500_000] {
        attack.create(JSON, nested("[", "]", depth)).await;
        attack.create(JSON, nested(r#"{"a":"#, "", depth)).await;
        attack.create(YAML, nested("[", "]", depth)).await;
        attack.create(YAML, nested("{a: ", "}", depth)).await;
    }
    let good =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}).to_string();
    for end in 0..good.len() {
        attack.create(JSON, good.as_bytes()[..end].to_vec()).await;
    }
    for media in ["text/plain", "application/xml", "application/cbor", "", "application/json;charset=utf-16", "\u{7f}"]
    {
        if let Ok(value) = http::HeaderValue::from_str(media) {
            attack.send(Method::POST, &format!("{MAPS}?dryRun=All"), value.to_str().unwrap_or(""), good.clone()).await;
        }
    }
    let wrong: &[&[u8]] = &[
        b"",
        b"null",
        b"[]",
        b"1",
        b"\"x\"",
        b"{",
        b"\xff\xfe",
        b"{\"metadata\":[]}",
        b"{\"metadata\":{\"name\":1}}",
        b"{\"kind\":{},\"apiVersion\":[]}",
        b"{\"metadata\":{\"name\":\"\\ud800\"}}",
        b"{\"data\":{\"a\":1e999999}}",
        b"{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":null,\"a\":{}}}}",
        b"\x00",
        b"{\"metadata\":{\"name\":\"\xc3\x28\"}}",
    ];
    for body in wrong {
        attack.create(JSON, body.to_vec()).await;
        attack.create(YAML, body.to_vec()).await;
        attack.create(PROTOBUF, body.to_vec()).await;
        attack.create(PROTOBUF, [b"k8s\0", *body].concat()).await;
    }
    attack
        .refused(
            Method::POST,
            &format!("{MAPS}?fieldValidation=Strict"),
            JSON,
            r#"{"metadata":{"name":"x","name":"y"}}"#,
        )
        .await;
    attack.unharmed().await;
}

#[tokio::test]
async fn protobuf_that_lies_about_lengths_and_nesting_is_refused() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "v"}});
    let good = protobuf::encode(&object).unwrap().to_vec();
    for end in 0..good.len() {
        attack.send(Method::POST, &format!("{MAPS}?dryRun=All"), PROTOBUF, good[..end].to_vec()).await;
    }
    for index in 4..good.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[index] ^= bits;
            attack.send(Method::POST, &format!("{MAPS}?dryRun=All"), PROTOBUF, bad).await;
        }
    }
    attack.unharmed().await;
}

/// Each line refers nine times to the one before.
fn yaml_bomb() -> String {
    let mut text =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(", "));
    }
    text
}

#[tokio::test]
async fn yaml_bombs_do_not_unfold() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let before = resident();
    attack.create(YAML, yaml_bomb()).await;
    attack.create(YAML, "a: &a [*a]\nmetadata: {name: x}\n").await;
    attack.create(YAML, "&a ".repeat(50_000)).await;
    attack.create(YAML, "- ".repeat(50_000)).await;
    attack.create(YAML, "? ".repeat(50_000)).await;
    attack
        .refused(Method::PATCH, &format!("{MAPS}/x?fieldManager=m"), "application/apply-patch+yaml", yaml_bomb())
        .await;
    assert!(resident() < before + GROWTH_MAX, "{} KiB after {before}", resident());
    attack.unharmed().await;
}

#[tokio::test]
async fn patches_that_double_or_never_end_are_refused() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(1000)}})).await.code, 201);
    let (path, before) = (format!("{MAPS}/x"), resident());
    let patch = "application/json-patch+json";
    // Each copy holds all copies before it.
    let doubling: Vec<Value> =
        (0..40).map(|index| json!({"op": "copy", "from": "/data", "path": format!("/data/c{index}")})).collect();
    attack.refused(Method::PATCH, &path, patch, json!(doubling).to_string()).await;
    let many: Vec<Value> = (0..20_000).map(|_| json!({"op": "test", "path": "/kind", "value": "ConfigMap"})).collect();
    assert_eq!(attack.refused(Method::PATCH, &path, patch, json!(many).to_string()).await, 413);
    let long = json!([{"op": "add", "path": "/a".repeat(100_000), "value": 1}]).to_string();
    attack.refused(Method::PATCH, &path, patch, long).await;
    let odd = [
        r#"[{"op":"add","path":"/data/~2","value":1}]"#,
        r#"[{"op":"remove","path":"/data/99999999999999999999"}]"#,
        r#"[{"op":"move","from":"/data","path":"/data/a/b"}]"#,
        r#"[{"op":"nothing","path":""}]"#,
        r#"[{}]"#,
        r#"{}"#,
        r#"[[]]"#,
    ];
    for body in odd {
        attack.refused(Method::PATCH, &path, patch, body).await;
    }
    for media in
        ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"]
    {
        let path = format!("{path}?fieldManager=m");
        attack.refused(Method::PATCH, &path, media, format!(r#"{{"data":{}"#, r#"{"a":"#.repeat(100_000))).await;
        for body in ["", "[]", "1", "\"\"", r#"{"metadata":[]}"#, r#"{"metadata":{"name":{}}}"#] {
            attack.refused(Method::PATCH, &path, media, body).await;
        }
    }
    for directive in [
        r#"{"$patch":7}"#,
        r#"{"data":{"$patch":"unknown"}}"#,
        r#"{"$setElementOrder/x":{}}"#,
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":{}}}"#,
    ] {
        // Upstream answers 500 to directives that contradict themselves.
        let answer = bench.patch(&path, "strategic-merge", &serde_json::from_str(directive).unwrap()).await;
        assert!(answer.code == 200 || answer.code >= 400, "{directive}");
    }
    assert!(resident() < before + GROWTH_MAX, "{} KiB after {before}", resident());
    attack.unharmed().await;
}

#[tokio::test]
async fn queries_that_are_nonsense_are_refused_or_ignored() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let get = async |query: &str| attack.send(Method::GET, &format!("{MAPS}?{query}"), JSON, "").await;
    let long = "a%2C".repeat(15_000);
    let values = [
        "%",
        "%00",
        "%FF",
        "-1",
        "18446744073709551616",
        "999999999999999999",
        "1e9",
        "x",
        "!!",
        "%28%28",
        "a%20in%20%28",
        "a%3D%3D%3D%3Db",
        "a%3E99999999999999999999",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTksInN0YXJ0IjoiLi4vLi4ifQ",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OTk5OTk5LCJzdGFydCI6ImEifQ",
        "e30",
        "AAAA",
        &long,
    ];
    let keys = [
        "labelSelector",
        "fieldSelector",
        "continue",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "sendInitialEvents",
        "dryRun",
        "pretty",
    ];
    for key in keys {
        for value in values {
            let one = get(&format!("{key}={value}")).await;
            assert!(one.code == 200 || one.code >= 400, "{key}={value:.60}");
            get(&format!("{key}={value}&limit=1")).await;
            get(&format!("{key}={value}&watch=1&timeoutSeconds=1&resourceVersion=x")).await;
        }
    }
    let terms: Vec<String> = (0..3000).map(|index| format!("l{index}%21%3Dv")).collect();
    assert_eq!(get(&format!("labelSelector={}", terms.join("%2C"))).await.code, 200);
    for path in [
        "/api/v1/namespaces/%2e%2e/pods",
        "/api/v1//pods",
        "/apis/%00/v1/x",
        "/api/v1/namespaces/default/pods/%2f",
        "/api/v1/watch/watch/watch/pods",
        "/apis/a/b/c/d/e/f/g/h/i",
    ] {
        attack.send(Method::GET, path, JSON, "").await;
    }
    attack.unharmed().await;
}

#[tokio::test]
async fn objects_with_far_too_many_parts_are_refused_or_stored_in_time() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let labels: serde_json::Map<String, Value> = (0..100_000).map(|index| (format!("l{index}"), "v".into())).collect();
    attack.send(Method::POST, MAPS, JSON, json!({"metadata": {"name": "labels", "labels": labels}}).to_string()).await;
    let annotations: serde_json::Map<String, Value> =
        (0..100_000).map(|index| (format!("a{index}"), "v".into())).collect();
    attack.create(JSON, json!({"metadata": {"name": "x", "annotations": annotations}}).to_string()).await;
    let owners: Vec<Value> = (0..10_000).map(|index| json!({"apiVersion": "v1", "kind": "Pod", "name": format!("o{index}"), "uid": "u", "controller": true})).collect();
    attack.create(JSON, json!({"metadata": {"name": "x", "ownerReferences": owners}}).to_string()).await;
    let containers: Vec<Value> = (0..5_000).map(|index| json!({"name": format!("c{index}"), "image": "i", "resources": {"limits": {"cpu": "9".repeat(400)}}})).collect();
    attack
        .send(
            Method::POST,
            "/api/v1/namespaces/default/pods",
            JSON,
            json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}).to_string(),
        )
        .await;
    attack.unharmed().await;
}

fn definition(name: &str, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{name}.hostile.example.com")},
        "spec": {
            "group": "hostile.example.com", "scope": "Namespaced", "names": {"kind": format!("{}{}", name[..1].to_uppercase(), &name[1..]), "plural": name},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn with_rule(rule: &str) -> Value {
    let list = json!({"type": "array", "items": {"type": "string"}});
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"l": list, "s": {"type": "string"}}, "x-kubernetes-validations": [{"rule": rule}]}}})
}

#[tokio::test]
async fn rules_and_schemas_that_explode_are_refused() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let nested_loops = "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d != 'x'))))";
    let brackets = format!("{}1{} == 1", "(".repeat(20_000), ")".repeat(20_000));
    let chain = format!("{}true", "true && ".repeat(50_000));
    let rules = [
        nested_loops,
        &brackets,
        &chain,
        "self.s.matches('(((((a*)*)*)*)*)*b')",
        "self.s.matches('a{1000}{1000}')",
        "self.s.matches('[')",
        "1/0 == 1",
        "self",
        "[",
        "'\\",
        "x'''",
        "\u{0}",
        "self.missing == 1",
    ];
    for (index, rule) in rules.iter().enumerate() {
        let body = definition(&format!("rules{index}x"), &with_rule(rule)).to_string();
        let answer = attack.send(Method::POST, DEFINITIONS, JSON, body).await;
        // Regular expressions are no reason: they run in linear time.
        let harmless = rule.contains("matches") || rule.starts_with("1/0") || rule.starts_with("true");
        assert!(harmless || (400..500).contains(&answer.code), "{rule:.60}: {}", answer.code);
    }
    for pattern in ["(a*)*b", "a{99999}", "[", "(?=a)", "\\1"] {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "string", "pattern": pattern}}});
        attack.send(Method::POST, DEFINITIONS, JSON, definition("patterns", &schema).to_string()).await;
        attack.send(Method::DELETE, &format!("{DEFINITIONS}/patterns.hostile.example.com"), JSON, "").await;
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..55 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    attack.send(Method::POST, DEFINITIONS, JSON, definition("deeps", &deep).to_string()).await;
    let reference = json!({"type": "object", "properties": {"spec": {"$ref": "#/properties/spec"}}});
    attack.refused(Method::POST, DEFINITIONS, JSON, definition("refs", &reference).to_string()).await;
    attack.unharmed().await;
}

#[tokio::test]
async fn a_rule_that_runs_too_long_ends_with_a_refusal() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    // The estimate trusts the bounds of the schema; what runs is metered all the same.
    let list = json!({"type": "array", "maxItems": 300, "items": {"type": "string", "maxLength": 10}});
    let rule = "self.l.all(a, self.l.all(b, a + b != 'x'))";
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"l": list}, "x-kubernetes-validations": [{"rule": rule}]}}});
    let made = attack.send(Method::POST, DEFINITIONS, JSON, definition("loops", &schema).to_string()).await;
    if made.code == 201 {
        crate::established(&bench, "loops.hostile.example.com").await;
        let body = json!({"apiVersion": "hostile.example.com/v1", "kind": "Loops", "metadata": {"name": "x"}, "spec": {"l": vec!["x"; 300]}});
        attack
            .send(Method::POST, "/apis/hostile.example.com/v1/namespaces/default/loops", JSON, body.to_string())
            .await;
    }
    attack.unharmed().await;
}

/// Repeats the worst requests: what they take is given back.
#[tokio::test]
async fn memory_does_not_grow_with_refused_requests() {
    let bench = Bench::new().await;
    let attack = Attack { bench: &bench };
    let round = async || {
        attack.create(YAML, yaml_bomb()).await;
        attack.create(JSON, nested("[", "]", 100_000)).await;
        attack.create(JSON, vec![b' '; 4 << 20]).await;
        attack.refused(Method::GET, &format!("{MAPS}?labelSelector=%28"), JSON, "").await;
    };
    for _ in 0..3 {
        round().await;
    }
    let before = resident();
    for _ in 0..12 {
        round().await;
    }
    // Tests of other threads live in this process as well.
    assert!(resident() < before + GROWTH_MAX, "{} KiB after {before}", resident());
}

mod connections {
    use super::*;

    struct Listening {
        server: Server,
        tls: tokio_rustls::TlsConnector,
        tasks: TaskSet,
    }

    impl Listening {
        async fn start() -> Listening {
            let tasks = TaskSet::new();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let config = Config { listeners: vec![Arc::new(listener)], ..Config::default() };
            let server = Server::start(config, &tasks).await.unwrap();
            let credentials = server.pki().admin().unwrap();
            let config = auth::pki::client_config(&server.pki().ca, &credentials).unwrap();
            Listening { tls: tokio_rustls::TlsConnector::from(config), server, tasks }
        }

        async fn plain(&self) -> TcpStream {
            TcpStream::connect(self.server.address().unwrap()).await.unwrap()
        }

        async fn secure(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
            let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
            self.tls.connect(name, self.plain().await).await.unwrap()
        }

        /// A whole request on a connection of its own.
        async fn answers(&self) {
            let mut stream = self.secure().await;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            // The peer may close without saying so.
            let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        }
    }

    fn slow_count() -> usize {
        std::env::var("HOSTILE_CONNECTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_slow_clients_keep_nobody_else_from_an_answer() {
        let listening = Listening::start().await;
        listening.answers().await;
        let before = resident();
        let (mut silent, mut slow) = (Vec::new(), Vec::new());
        for index in 0..slow_count() {
            // Most never say a word; some stop within the head of a request, some within its body.
            if index % 10 != 0 {
                silent.push(listening.plain().await);
                continue;
            }
            let mut stream = listening.secure().await;
            let head: &[u8] = match index % 20 {
                0 => b"GET /api/v1/pods HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
                _ => b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
            };
            stream.write_all(head).await.unwrap();
            stream.flush().await.unwrap();
            slow.push(stream);
        }
        listening.answers().await;
        let grown = resident().saturating_sub(before);
        let bound = 256 * slow_count() as u64 + GROWTH_MAX;
        assert!(grown < bound, "{grown} KiB for {} clients", slow_count());
        drop((silent, slow));
        listening.answers().await;
        listening.tasks.cancel();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heads_that_are_too_large_or_broken_are_refused() {
        let listening = Listening::start().await;
        let large = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(2 << 20));
        let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(50_000));
        for head in [
            large.as_str(),
            &many,
            "\0\0\0\0\r\n\r\n",
            "GET\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        ] {
            let mut stream = listening.secure().await;
            // It may hang up before it has all.
            let _cut = stream.write_all(head.as_bytes()).await;
            let mut answer = Vec::new();
            let _ended = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).to_string();
            assert!(answer.is_empty() || shown.starts_with("HTTP/1.1 4"), "{head:.40}: {shown}");
        }
        listening.answers().await;
        listening.tasks.cancel();
    }

    /// One frame of HTTP/2.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_that_are_opened_and_reset_at_once_end_the_connection_only() {
        let listening = Listening::start().await;
        let before = resident();
        let mut stream = listening.secure().await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        // :method GET, :scheme https, :path /, :authority localhost, from the static table.
        let head = [&[0x82, 0x87, 0x84, 0x41, 9][..], b"localhost"].concat();
        for index in 0..20_000u32 {
            let id = 2 * index + 1;
            bytes.extend(frame(1, 0x5, id, &head));
            bytes.extend(frame(3, 0, id, &8u32.to_be_bytes()));
        }
        let _cut = stream.write_all(&bytes).await;
        let mut answer = vec![0; 1 << 16];
        let _read = tokio::time::timeout(LONG, stream.read(&mut answer)).await;
        listening.answers().await;
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{grown} KiB");
        listening.tasks.cancel();
    }
}
