//! The form of an audit event.

use apimachinery::Status;
use auth::UserInfo;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::policy::{Level, Stage};
use crate::call::Call;

const USER_AGENT_BYTES_MAX: usize = 1024;
const TRUNCATED: &str = "...TRUNCATED";
/// Larger answers are recorded without their object.
pub const RESPONSE_BYTES_MAX: usize = 10 << 20;

pub fn user(user: &UserInfo) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}

fn time(at: jiff::Timestamp) -> Value {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into()
}

/// What is known before the request is looked at.
pub fn base(call: &Call, level: Level, who: Option<&UserInfo>) -> Map<String, Value> {
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| drop(event.insert(key.to_string(), value));
    put("kind", "Event".into());
    put("apiVersion", "audit.k8s.io/v1".into());
    put("level", level.name().into());
    put("auditID", call.audit_id.as_str().into());
    put("requestURI", request_uri(call).into());
    put("verb", call.info.verb.into());
    put("user", who.map_or(json!({}), user));
    put("sourceIPs", source_ips(call).into());
    put("userAgent", user_agent(call).into());
    put("requestReceivedTimestamp", time(call.now));
    if call.info.is_resource {
        put("objectRef", object_ref(call));
    }
    event
}

fn request_uri(call: &Call) -> String {
    match call.query.raw() {
        Some(query) => format!("{}?{query}", call.info.path),
        None => call.info.path.clone(),
    }
}

fn user_agent(call: &Call) -> String {
    let agent = call.header("user-agent");
    if agent.len() <= USER_AGENT_BYTES_MAX {
        return agent.to_string();
    }
    let end = (0..=USER_AGENT_BYTES_MAX).rev().find(|end| agent.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{TRUNCATED}", &agent[..end])
}

/// What proxies say, then who is connected.
fn source_ips(call: &Call) -> Vec<String> {
    let forwarded = call.header("x-forwarded-for").split(',').map(str::trim);
    let claimed = forwarded.chain([call.header("x-real-ip").trim()]);
    let mut ips: Vec<String> =
        claimed.filter_map(|ip| ip.parse::<std::net::IpAddr>().ok()).map(|ip| ip.to_string()).collect();
    let own = call.peer.map_or("127.0.0.1".to_string(), |peer| peer.ip().to_canonical().to_string());
    if ips.last() != Some(&own) {
        ips.push(own);
    }
    ips
}

fn object_ref(call: &Call) -> Value {
    let info = &call.info;
    let fields = [
        ("resource", &info.resource),
        ("namespace", &info.namespace),
        ("name", &info.name),
        ("apiGroup", &info.group),
        ("apiVersion", &info.version),
        ("subresource", &info.subresource),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(given.map(|(key, value)| (key.to_string(), value.as_str().into())).collect())
}

/// Without the object that a failure would be.
pub fn response_status(code: StatusCode, failure: Option<&Status>) -> Value {
    let Some(failure) = failure else { return json!({"metadata": {}, "code": code.as_u16()}) };
    let mut value = failure.to_value();
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    value
}

pub fn panicked() -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": "APIServer panic'd"})
}

pub fn set_stage(event: &mut Map<String, Value>, stage: Stage) {
    event.insert("stage".into(), stage.name().into());
    event.insert("stageTimestamp".into(), time(jiff::Timestamp::now()));
}

pub fn annotate(event: &mut Map<String, Value>, key: &str, value: &str) {
    let annotations = event.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.to_string(), value.into());
    }
}

/// From an object, or from every item of a list.
pub fn drop_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        drop_managed_fields(item);
    }
}
