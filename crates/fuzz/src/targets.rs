//! The targets.

use apiextensions::checks;
use apiextensions::json_path::JsonPath;
use apiextensions::structural::{self, Structural};
use apimachinery::quantity::Quantity;
use apimachinery::{fields, labels, patch, strict};
use expressions::{Bindings, Budget, Environment, Type, compile};
use httpstream::spdy::Connection;
use rt::TaskSet;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::{files, pipeline, wire};

/// What a rule of a definition may cost at run time; more than any input of this length needs.
const COST_MAX: u64 = 1_000_000;

/// One parser, with inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: &'static [&'static [u8]],
}

const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"100m"}},"ports":[{"containerPort":80}]}]}}"#;

/// For `system:node:a`, of `system:nodes`.
const CERTIFICATE_REQUEST: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----
MIHpMIGRAgEAMC8xFTATBgNVBAoMDHN5c3RlbTpub2RlczEWMBQGA1UEAwwNc3lz
dGVtOm5vZGU6YTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCRwzPnCMwD8B9KD
mWmzTkvbpyYUCuXMbsHETeX4YEbwOB9tQbYKSfjt5POBPm6YrlxxGqRBzg1k8g00
0g+pzgigADAKBggqhkjOPQQDAgNHADBEAiBDTwlhPX2xgNBKc0AmpvVXSX6Rl95C
oMPPHFuz3XGRmQIgA7gXCEirSAVxmv7rO50dJ5ASAh7a3nZDZ1qoX+tXBZ4=
-----END CERTIFICATE REQUEST-----
";

pub fn all() -> Vec<Target> {
    let target = |name, run, seeds| Target { name, run, seeds };
    vec![
        target("json", json as fn(&[u8]), &[POD, br#"{"spec":{"replicas":"x","replicas":1}}"#]),
        target("protobuf", protobuf_body, &[b"k8s\0\n\x0b\n\x02v1\x12\x05Pods\x12\x05\n\x03\n\x01p", b"k8s\0"]),
        target("quantity", quantity, &[b"100m", b"1.5Gi", b"-12e3", b"0.000000001", b"9223372036854775807Ei"]),
        target("label-selector", label_selector, &[b"a=b,c!=d,e in (f,g),!h,i", b"x/y notin (z)"]),
        target("field-selector", field_selector, &[b"metadata.name=a,spec.nodeName!=b", b"a\\,b=c"]),
        target("json-patch", json_patch, &[br#"[{"op":"add","path":"/spec/a","value":1},{"op":"move","from":"/spec","path":"/x"}]"#]),
        target("merge-patch", merge_patch, &[br#"{"spec":{"containers":null},"a":[1]}"#]),
        target(
            "strategic-merge-patch",
            strategic_merge_patch,
            &[br#"{"spec":{"containers":[{"name":"c","$patch":"delete"}],"$setElementOrder/containers":[{"name":"c"}]}}"#],
        ),
        target("cel", cel, &[b"self.a.all(x, x > 1) && has(self.b)", b"'a'.matches('(a+)+') ? [1,2][0] : {'k': 3}.k"]),
        target("schema", schema, &[br#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","pattern":"^a+$"}}},"x-kubernetes-preserve-unknown-fields":true}"#]),
        target("pattern", pattern, &[b"^(a|b)*[a-z]{1,63}$", b"(?i)x(?P<n>y)"]),
        target("json-path", json_path, &[b".spec.containers[*].name", b".status.conditions[?(@.type==\"Ready\")].status"]),
        target("time", time, &[b"2026-01-02T03:04:05Z", b"2026-01-02T03:04:05.000006+07:00"]),
        target("image-reference", image_reference, &[b"registry.example.com:5000/a/b:tag@sha256:0123456789abcdef"]),
        target("spdy", spdy, &[b"\x80\x03\0\x01\x01\0\0\x0a\0\0\0\x01\0\0\0\0\0\0", b"\0\0\0\x01\x01\0\0\x03abc"]),
        target("request-body", pipeline::body, &[POD, b"\0metadata: {name: a}\ndata: &a {x: *a}", b"\x04{\"metadata\":{\"name\":\"p\"}}"]),
        target("request-line", pipeline::line, &[b"/api/v1/pods?limit=1&continue=abc", b"/apis/apps/v1/namespaces/x/deployments/y/scale?fieldSelector=a%3Db"]),
        target("certificate-request", pipeline::certificate_request, &[CERTIFICATE_REQUEST, b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"]),
        target("cron-schedule", pipeline::cron_schedule, &[b"*/5 0-12 1,15 JAN-MAR mon#2", b"@every 1h30m", b"TZ=Asia/Tokyo 0 0 L * *", b"0 0 29 2 *"]),
        target("go-template", files::go_template, &[b"{{range $i, $c := .spec.containers}}{{if eq $i 0}}{{$c.name | printf \"%5s|%-3q\"}}{{else with $c}}{{break}}{{end}}{{end}}", b"{{define \"t\"}}{{(index .items 0).name}}{{end}}{{template \"t\" .}}{{- /* c */ -}}", b"{{slice .kind 0 1}} {{'a'}} {{0x1F}} {{printf \"%[1]*.2f\" 3 1.5}}"]),
        target("kubectl-json-path", files::json_path, &[b"{range .spec.containers[*]}{.name}{\"\\n\"}{end}{..name}", b"{.spec.containers[?(@.name=='c')].ports[-1:0:2]['containerPort', 'x']}"]),
        target("manifest", files::manifest, &[POD, b"a: 0644\n---\n&a {kind: List, apiVersion: v1, items: [*a]}", b"\xff\xfea\0:\0b\0"]),
        target("kubeconfig", files::kubeconfig, &[b"{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: 'https://x:1', certificate-authority-data: YQ==}}], users: [{name: u, user: {token: t, exec: {command: x}}}]}"]),
        target("admission-configuration", files::admission_configuration, &[b"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: baseline, enforce-version: v1.20}}\n- {name: EventRateLimit, configuration: {limits: [{type: User, qps: 1, burst: 2}]}}"]),
        target("authentication-configuration", files::authentication_configuration, &[b"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {url: https://a, audiences: [b], audienceMatchPolicy: MatchAny}\n  claimValidationRules: [{expression: 'claims.x == 1'}]\n  claimMappings: {username: {expression: 'claims.sub'}, groups: {claim: g, prefix: 'p:'}}\nanonymous: {enabled: true, conditions: [{path: /livez}]}"]),
        target("image-archive", files::image_archive, &[b"[{\"Config\":\"config.json\",\"RepoTags\":[\"a:b\"],\"Layers\":[\"layer.tar\"]}]\0{\"config\":{\"Env\":[\"A=b\"],\"User\":\"1:2\",\"Entrypoint\":[\"/x\"]},\"rootfs\":{\"diff_ids\":[\"sha256:00\"]}}\0"]),
        target("netlink", wire::netlink, &[b"\x1c\0\0\0\x10\0\x05\0\x01\0\0\0\0\0\0\0\x0c\0\x01\x80\x08\0\x02\0abcd"]),
        target("websocket", wire::websocket, &[b"\x82\x83abcd\0hi", b"\x88\x82abcd\x03\xe8\x89\x80abcd", b"\x02\x81abcda\x80\xfe\0\x02abcdab"]),
        target("tunnel", wire::tunnel, &[b"\x82\x8eabcd\x80\x03\0\x01\x01\0\0\x0a\0\0\0\x01\0\0"]),
        target("bearer-token", pipeline::token, &[b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", b"abcdef.0123456789abcdef"]),
    ]
}

fn node(name: &str) -> api::schema::SchemaNode<'static> {
    api::schema::definition(name).expect("the tables have it").node()
}

fn pod() -> Value {
    serde_json::from_slice(POD).expect("it is JSON")
}

/// What was decoded is decoded from its own text without a word.
fn json(input: &[u8]) {
    let pod = node("io.k8s.api.core.v1.Pod");
    let Ok(decoded) = strict::decode(input, pod) else { return };
    let text = decoded.object.to_string();
    let again = strict::decode(text.as_bytes(), pod).expect("our own text is JSON of this kind");
    assert_eq!(again.object, decoded.object);
}

fn protobuf_body(input: &[u8]) {
    let Ok(object) = protobuf::decode(input, ("v1", "Pod")) else { return };
    let Ok(bytes) = protobuf::encode(&object) else { return };
    let again = protobuf::decode(&bytes, ("v1", "Pod")).expect("what was written can be read");
    assert_eq!(again, object);
}

/// The canonical form is its own canonical form.
fn quantity(input: &[u8]) {
    let Some(quantity) = text(input).and_then(|text| text.parse::<Quantity>().ok()) else { return };
    let canonical = quantity.to_string();
    let again: Quantity = canonical.parse().expect("a canonical form is a quantity");
    assert_eq!(again.to_string(), canonical);
}

fn label_selector(input: &[u8]) {
    let Some(Ok(selector)) = text(input).map(labels::Selector::parse) else { return };
    selector.matches_object(&pod());
}

fn field_selector(input: &[u8]) {
    let Some(Ok(selector)) = text(input).map(fields::Selector::parse) else { return };
    selector.matches(|_| Some("a"));
}

fn json_patch(input: &[u8]) {
    let _ = patch::json::apply(&pod(), input);
}

/// To merge twice is to merge once.
fn merge_patch(input: &[u8]) {
    let Ok(once) = patch::merge::apply(&pod(), input) else { return };
    assert_eq!(patch::merge::apply(&once, input).expect("it was a patch before"), once);
}

fn strategic_merge_patch(input: &[u8]) {
    let _ = patch::strategic::apply(&pod(), input, node("io.k8s.api.core.v1.Pod"));
}

/// Nothing costs more than its budget.
fn cel(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let environment = Environment::new().dynamic("self");
    let Ok(program) = compile(text, &environment, &Type::Dyn) else { return };
    let value = json!({"a": [1, 2, 3], "b": "text"});
    let bindings = Bindings::new().json("self", &value);
    let mut budget = Budget::new(COST_MAX);
    let _ = program.evaluate(&bindings, &mut budget);
}

/// A schema that can be used judges, defaults and prunes any object.
fn schema(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(schema) = Structural::compile(&value) else { return };
    let mut object = pod();
    structural::prune(&mut object, &schema, true);
    structural::default(&mut object, &schema);
}

fn pattern(input: &[u8]) {
    let Some(Ok(pattern)) = text(input).map(checks::pattern::compiled) else { return };
    pattern.is_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
}

fn json_path(input: &[u8]) {
    let Some(Some(path)) = text(input).map(JsonPath::parse) else { return };
    path.find(&pod());
}

/// What is written is read as the same moment.
fn time(input: &[u8]) {
    let Some(time) = text(input).and_then(apimachinery::time::parse) else { return };
    let written = apimachinery::time::format_micro(time);
    let again = apimachinery::time::parse(&written).expect("what was written can be read");
    assert_eq!(apimachinery::time::format_micro(again), written);
}

/// A name and its version are the reference again.
fn image_reference(input: &[u8]) {
    let Some(Ok(reference)) = text(input).map(image::Reference::parse) else { return };
    let mark = if reference.version().contains(':') { '@' } else { ':' };
    let whole = format!("{}{mark}{}", reference.name(), reference.version());
    let again = image::Reference::parse(&whole).expect("what was written can be read");
    assert_eq!((again.name(), again.version()), (reference.name(), reference.version()));
}

/// What another sends over a connection, to its end.
fn spdy(input: &[u8]) {
    let input = input.to_vec();
    pipeline::block_on(async move {
        let tasks = TaskSet::new();
        let (mut theirs, ours) = tokio::io::duplex(input.len().max(1));
        let mut connection = Connection::server(ours, &tasks);
        let sent = async move { theirs.write_all(&input).await.and(theirs.shutdown().await) };
        let (_, ()) = tokio::join!(sent, async { while connection.accept().await.is_some() {} });
        tasks.shutdown().await;
    });
}

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}
