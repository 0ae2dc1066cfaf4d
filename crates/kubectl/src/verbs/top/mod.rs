//! `top`: what nodes and pods use, as the metrics API knows it.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use apimachinery::quantity::{Format, Quantity};
use serde_json::{Value, json};

use self::table::{Layout, Usage, node_table, pod_table};
use crate::command::{Command, runs};
use crate::duration;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Call;
use crate::print::TabWriter;
use crate::session::Session;

const GROUP: &str = "metrics.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// Younger pods may well have no metrics yet.
const CREATION_DELAY: i64 = 120;

pub const COMMAND: Command = Command {
    name: "top",
    about: "Display resource (CPU/memory) usage",
    usage: "[flags] [options]",
    children: &[&NODE, &POD],
    ..Command::EMPTY
};

const NODE: Command = Command {
    name: "node",
    aliases: &["nodes", "no"],
    about: "Display resource (CPU/memory) usage of nodes",
    usage: "[NAME | -l label] [options]",
    flags: &[FLAGS, NODE_FLAGS],
    run: runs!(node),
    ..Command::EMPTY
};

const POD: Command = Command {
    name: "pod",
    aliases: &["pods", "po"],
    about: "Display resource (CPU/memory) usage of pods",
    flags: &[FLAGS, POD_FLAGS],
    run: runs!(pod),
    ..NODE
};

const FLAGS: &[Flag] = &[
    Flag::switch("no-headers", "If present, print output without headers"),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::switch("show-swap", "Print resources related to swap memory."),
    Flag::text("sort-by", "If non-empty, sort the list using specified field: 'cpu' or 'memory'."),
    Flag::switch("use-protocol-buffers", "Accepted for compatibility.").or("true"),
];

const NODE_FLAGS: &[Flag] =
    &[Flag::switch("show-capacity", "Print node resources based on Capacity instead of Allocatable(default).")];

const POD_FLAGS: &[Flag] = &[
    Flag::switch("all-namespaces", "If present, list the requested object(s) across all namespaces.").short('A'),
    Flag::switch("containers", "If present, print usage of containers within a pod."),
    Flag::text("field-selector", "Selector (field query) to filter on."),
    Flag::switch("sum", "Print the sum of the resource usage"),
];

/// The one name, and that the flags agree.
fn check<'p>(session: &Session, parsed: &'p Parsed, kind: &str, what: &str) -> Result<Option<&'p str>, Failure> {
    let name = match parsed.arguments.as_slice() {
        [] => None,
        [name] => Some(name.as_str()),
        _ => return Err(session.usage(format!("{kind} [NAME | -l label]"))),
    };
    if !["", "cpu", "memory"].contains(&parsed.text("sort-by")) {
        return fail!("--sort-by accepts only cpu or memory");
    }
    let by_fields = parsed.has("field-selector") && parsed.some("field-selector").is_some();
    if name.is_some() && (parsed.some("selector").is_some() || by_fields) {
        return fail!("only one of NAME or {what} can be provided");
    }
    apimachinery::labels::Selector::parse(parsed.text("selector")).map_err(|error| error.to_string())?;
    Ok(name)
}

/// The path of the metrics API, if the server has one.
async fn api(session: &Session) -> Result<String, Failure> {
    let groups = Call::get("/apis").value(session.client()?).await?;
    let group = items(&groups["groups"]).iter().find(|group| group["name"] == GROUP);
    let mut versions = group.into_iter().flat_map(|group| items(&group["versions"]));
    let found = versions.find_map(|version| VERSIONS.into_iter().find(|known| version["version"] == *known));
    match found {
        Some(version) => Ok(format!("/apis/{GROUP}/{version}")),
        None => fail!("Metrics API not available"),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// One object by its name, or all that match.
async fn read(
    session: &Session,
    path: String,
    name: Option<&str>,
    selectors: [&str; 2],
) -> Result<Vec<Value>, Failure> {
    let client = session.client()?;
    match name {
        Some(name) => Ok(vec![Call::get(format!("{path}/{name}")).value(client).await?]),
        None => {
            let [labels, fields] = selectors;
            let call = Call::get(path).maybe("labelSelector", Some(labels)).maybe("fieldSelector", Some(fields));
            Ok(items(&call.value(client).await?["items"]).to_vec())
        }
    }
}

fn layout(parsed: &Parsed) -> Layout<'_> {
    Layout {
        sort_by: parsed.text("sort-by"),
        headers: !parsed.on("no-headers"),
        swap: parsed.on("show-swap"),
        namespace: parsed.has("all-namespaces") && parsed.on("all-namespaces"),
        containers: parsed.has("containers") && parsed.on("containers"),
        sum: parsed.has("sum") && parsed.on("sum"),
    }
}

fn show(session: &Session, text: &str) -> Result<(), Failure> {
    let mut writer = TabWriter::table();
    writer.write(text);
    session.streams.print(writer.flush())
}

async fn node(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = check(session, &parsed, "node", "--selector")?;
    let selectors = [parsed.text("selector"), ""];
    let metrics = read(session, api(session).await? + "/nodes", name, selectors).await?;
    if metrics.is_empty() {
        return fail!("metrics not available yet");
    }
    let nodes = read(session, "/api/v1/nodes".to_owned(), name, selectors).await?;
    let field = if parsed.on("show-capacity") { "capacity" } else { "allocatable" };
    let available: BTreeMap<String, Value> =
        nodes.iter().map(|node| (apimachinery::object::name(node).to_owned(), available(node, field))).collect();
    let usages = metrics.iter().map(Usage::of_node).collect();
    show(session, &node_table(usages, available, &layout(&parsed)))
}

/// What the node has; `swap` only if it has any.
fn available(node: &Value, field: &str) -> Value {
    let mut available = json!({});
    if let Value::Object(_) = &node["status"][field] {
        available.clone_from(&node["status"][field]);
    }
    if let Some(capacity) = node["status"]["nodeInfo"]["swap"]["capacity"].as_i64() {
        available["swap"] = Quantity::from_units(capacity, Format::BinarySi).to_string().into();
    }
    available
}

async fn pod(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = check(session, &parsed, "pod", "selector")?;
    let (all, here) = (parsed.on("all-namespaces"), session.namespace());
    let place = if all { String::new() } else { format!("/namespaces/{here}") };
    let selectors = [parsed.text("selector"), parsed.text("field-selector")];
    let metrics_api = api(session).await?;
    let metrics = read(session, format!("{metrics_api}{place}/pods"), name, selectors).await?;
    if metrics.is_empty() {
        let pods = read(session, format!("/api/v1/namespaces/{here}/pods"), name, selectors).await?;
        explain_nothing(&pods)?;
        let place = if all { String::new() } else { format!(" in {here} namespace.") };
        session.streams.note(format!("No resources found{place}"));
        return Ok(());
    }
    show(session, &pod_table(metrics, &layout(&parsed)))
}

/// Pods without metrics are too young for them, or something is wrong.
fn explain_nothing(pods: &[Value]) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    for pod in pods {
        let created = apimachinery::time::parse(apimachinery::object::creation_timestamp(pod)).unwrap_or_default();
        let age = now.duration_since(created);
        if age.as_secs() > CREATION_DELAY {
            let (namespace, name) = (apimachinery::object::namespace(pod), apimachinery::object::name(pod));
            let age = duration::format(Duration::try_from(age).unwrap_or_default());
            return fail!("Metrics not available for pod {namespace}/{name}, age: {age}");
        }
    }
    if pods.is_empty() { Ok(()) } else { fail!("metrics not available yet") }
}
