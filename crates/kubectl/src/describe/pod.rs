//! A pod; and the template of one.

use apimachinery::Quantity;
use serde_json::Value;

use super::containers::{Containers, resources, seccomp};
use super::page::{Page, date, list, number, text};
use super::volumes;

pub fn describe(pod: &Value, page: &mut Page) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    head(pod, page);
    for (field, label) in [("reason", "Reason"), ("message", "Message")] {
        page.field_if(0, label, &status[field]);
    }
    seccomp(&spec["securityContext"], 0, page);
    page.field(0, "IP", text(&status["podIP"]));
    addresses(status, page);
    page.controlled_by(pod);
    page.field_if(0, "NominatedNodeName", &status["nominatedNodeName"]);
    if !spec["resources"].is_null() {
        page.line(0, "Resources:");
        resources(&spec["resources"], 1, page);
    }
    containers(pod, page);
    conditions(spec, status, page);
    volumes::describe(&spec["volumes"], "", page);
    page.field(0, "QoS Class", qos(pod));
    page.labels("Node-Selectors", &spec["nodeSelector"]);
    tolerations("Tolerations", &spec["tolerations"], page);
    spread(&spec["topologySpreadConstraints"], "", page);
}

fn head(pod: &Value, page: &mut Page) {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Namespace", text(&metadata["namespace"]));
    if !spec["priority"].is_null() {
        page.field(0, "Priority", number(&spec["priority"]).to_string());
    }
    page.field_if(0, "Priority Class Name", &spec["priorityClassName"]);
    page.field_if(0, "Runtime Class Name", &spec["runtimeClassName"]);
    page.field_if(0, "Service Account", &spec["serviceAccountName"]);
    match text(&spec["nodeName"]) {
        "" => page.field(0, "Node", "<none>"),
        node => page.field(0, "Node", format!("{node}/{}", text(&status["hostIP"]))),
    }
    if !status["startTime"].is_null() {
        page.field(0, "Start Time", date(&status["startTime"]));
    }
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    let (phase, deleted) = (text(&status["phase"]), &metadata["deletionTimestamp"]);
    if !deleted.is_null() && !["Failed", "Succeeded"].contains(&phase) {
        let since = page.since(deleted);
        page.field(0, "Status", format!("Terminating (lasts {since})"));
        page.field(0, "Termination Grace Period", format!("{}s", number(&metadata["deletionGracePeriodSeconds"])));
    } else {
        page.field(0, "Status", phase);
    }
}

fn addresses(status: &Value, page: &mut Page) {
    let addresses = list(&status["podIPs"]);
    if addresses.is_empty() {
        return page.line(0, "IPs:\t<none>");
    }
    page.line(0, "IPs:");
    addresses.iter().for_each(|address| page.field(1, "IP", text(&address["ip"])));
}

fn containers(pod: &Value, page: &mut Page) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    for (label, field, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        let containers = &spec[field];
        if field == "containers" || !list(containers).is_empty() {
            Containers { label, containers, statuses: &status[statuses], pod: Some(pod), indent: "" }.describe(page);
        }
    }
}

fn conditions(spec: &Value, status: &Value, page: &mut Page) {
    let conditions = list(&status["conditions"]);
    let gates = list(&spec["readinessGates"]);
    if !gates.is_empty() {
        page.line(0, "Readiness Gates:");
        page.line(1, "Type\tStatus");
    }
    for gate in gates {
        let kind = text(&gate["conditionType"]);
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let state = found.map_or("<none>", |condition| text(&condition["status"]));
        page.line(1, format!("{kind} \t{state} "));
    }
    if conditions.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus");
    for condition in conditions {
        page.line(1, format!("{} \t{} ", text(&condition["type"]), text(&condition["status"])));
    }
}

pub fn tolerations(title: &str, tolerations: &Value, page: &mut Page) {
    let mut tolerations: Vec<&Value> = list(tolerations).iter().collect();
    tolerations.sort_by_key(|toleration| text(&toleration["key"]));
    let lines: Vec<String> = tolerations.into_iter().map(toleration).collect();
    page.values(title, &lines);
}

fn toleration(toleration: &Value) -> String {
    let (key, value, effect) = (text(&toleration["key"]), text(&toleration["value"]), text(&toleration["effect"]));
    let mut line = key.to_owned();
    if !value.is_empty() {
        line.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        line.push_str(&format!(":{effect}"));
    }
    if toleration["operator"] == "Exists" && value.is_empty() {
        line.push_str(if key.is_empty() && effect.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        line.push_str(&format!(" for {seconds}s"));
    }
    line
}

fn spread(constraints: &Value, indent: &str, page: &mut Page) {
    let mut constraints: Vec<&Value> = list(constraints).iter().collect();
    constraints.sort_by_key(|constraint| text(&constraint["topologyKey"]));
    let line = |constraint: &&Value| {
        let (key, when) = (text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        let mut line = format!("{key}:{when} when max skew {} is exceeded", number(&constraint["maxSkew"]));
        if !constraint["labelSelector"].is_null() {
            line.push_str(&format!(" for selector {}", selector(&constraint["labelSelector"])));
        }
        line
    };
    let lines: Vec<String> = constraints.iter().map(line).collect();
    if let Some((first, rest)) = lines.split_first() {
        page.line(0, format!("{indent}Topology Spread Constraints:\t{first}"));
        rest.iter().for_each(|line| page.line(0, format!("{indent}\t{line}")));
    }
}

/// A label selector, or `<none>`.
pub fn selector(selector: &Value) -> String {
    match crate::remote::selector_text(selector) {
        text if text.is_empty() => "<none>".into(),
        text => text,
    }
}

/// The template that a controller makes pods of.
pub fn template(template: &Value, page: &mut Page) {
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    page.line(0, "Pod Template:");
    page.labels("  Labels", &metadata["labels"]);
    if super::page::map(&metadata["annotations"]).next().is_some() {
        page.annotations("  Annotations", &metadata["annotations"]);
    }
    page.field_if(1, "Service Account", &spec["serviceAccountName"]);
    for (label, field) in [("Init Containers", "initContainers"), ("Containers", "containers")] {
        let containers = &spec[field];
        if field == "containers" || !list(containers).is_empty() {
            Containers { label, containers, statuses: &Value::Null, pod: None, indent: "  " }.describe(page);
        }
    }
    volumes::describe(&spec["volumes"], "  ", page);
    spread(&spec["topologySpreadConstraints"], "  ", page);
    page.field_if(1, "Priority Class Name", &spec["priorityClassName"]);
    page.labels("  Node-Selectors", &spec["nodeSelector"]);
    tolerations("  Tolerations", &spec["tolerations"], page);
}

/// The class that the server gave, or the one that the resources make.
fn qos(pod: &Value) -> &str {
    match text(&pod["status"]["qosClass"]) {
        "" => computed_qos(&pod["spec"]),
        given => given,
    }
}

fn computed_qos(spec: &Value) -> &'static str {
    let containers = list(&spec["initContainers"]).iter().chain(list(&spec["containers"]));
    let mut class = None;
    for container in containers {
        match (container_qos(&container["resources"]), class) {
            ("Burstable", _) => return "Burstable",
            (own, Some(other)) if own != other => return "Burstable",
            (own, _) => class = Some(own),
        }
    }
    class.unwrap_or("BestEffort")
}

fn container_qos(resources: &Value) -> &'static str {
    let shape = |name: &str| {
        let (request, limit) = (Quantity::of(&resources["requests"][name]), Quantity::of(&resources["limits"][name]));
        match (request == limit, request.is_zero()) {
            (false, _) => "Burstable",
            (true, true) => "BestEffort",
            (true, false) => "Guaranteed",
        }
    };
    let (cpu, memory) = (shape("cpu"), shape("memory"));
    if cpu == memory { cpu } else { "Burstable" }
}
