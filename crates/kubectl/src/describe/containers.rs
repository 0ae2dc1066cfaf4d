//! Containers of a pod or of a template.

use apimachinery::Quantity;
use serde_json::Value;

use super::page::{Page, date, list, map, number, scalar, text, title_case};

/// `pod` resolves what environment variables take from it; a template has none.
pub struct Containers<'a> {
    pub label: &'a str,
    pub containers: &'a Value,
    pub statuses: &'a Value,
    pub pod: Option<&'a Value>,
    /// A template's are indented.
    pub indent: &'a str,
}

impl Containers<'_> {
    pub fn describe(&self, page: &mut Page) {
        let containers = list(self.containers);
        let none = if containers.is_empty() { " <none>" } else { "" };
        page.line(0, format!("{}{}:{none}", self.indent, self.label));
        for container in containers {
            let status = list(self.statuses).iter().find(|status| status["name"] == container["name"]);
            self.basics(container, status, page);
            words("Command", &container["command"], page);
            words("Args", &container["args"], page);
            if let Some(status) = status {
                state(status, page);
            }
            resources(&container["resources"], 2, page);
            for (field, label) in
                [("livenessProbe", "Liveness"), ("readinessProbe", "Readiness"), ("startupProbe", "Startup")]
            {
                if !container[field].is_null() {
                    page.field(2, label, probe(&container[field]));
                }
            }
            environment_from(container, page);
            environment(container, self.pod, page);
            mounts(container, page);
        }
    }

    fn basics(&self, container: &Value, status: Option<&Value>, page: &mut Page) {
        let indent = if self.indent.is_empty() { "" } else { " " };
        page.line(1, format!("{indent}{}:", text(&container["name"])));
        if let Some(status) = status {
            page.field(2, "Container ID", text(&status["containerID"]));
        }
        page.field(2, "Image", text(&container["image"]));
        if let Some(status) = status {
            page.field(2, "Image ID", text(&status["imageID"]));
        }
        for (label, field) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
            let ports = ports(container, field);
            match ports.len() {
                0 => page.field(2, label, "<none>"),
                1 => page.field(2, label, &ports[0]),
                _ => page.field(2, &format!("{label}s"), ports.join(", ")),
            }
        }
        seccomp(&container["securityContext"], 2, page);
    }
}

pub fn seccomp(context: &Value, level: usize, page: &mut Page) {
    let profile = &context["seccompProfile"];
    if profile.is_null() {
        return;
    }
    page.field(level, "SeccompProfile", text(&profile["type"]));
    if profile["type"] == "Localhost" {
        let level = if level == 0 { 0 } else { level + 1 };
        page.field(level, "LocalhostProfile", text(&profile["localhostProfile"]));
    }
}

fn ports(container: &Value, field: &str) -> Vec<String> {
    let port = |port: &Value| {
        let text_of = format!("{}/{}", number(&port[field]), text(&port["protocol"]));
        match text(&port["name"]) {
            "" => text_of,
            name => format!("{text_of} ({name})"),
        }
    };
    list(&container["ports"]).iter().map(port).collect()
}

fn words(label: &str, words: &Value, page: &mut Page) {
    if list(words).is_empty() {
        return;
    }
    page.line(2, format!("{label}:"));
    for line in list(words).iter().flat_map(|word| text(word).split('\n')) {
        page.line(3, line);
    }
}

fn state(status: &Value, page: &mut Page) {
    one_state("State", &status["state"], page);
    if !status["lastState"]["terminated"].is_null() {
        one_state("Last State", &status["lastState"], page);
    }
    page.field(2, "Ready", title_case(status["ready"] == true));
    page.field(2, "Restart Count", number(&status["restartCount"]).to_string());
}

fn one_state(label: &str, state: &Value, page: &mut Page) {
    let (running, terminated) = (&state["running"], &state["terminated"]);
    if !running.is_null() {
        page.field(2, label, "Running");
        page.field(3, "Started", date(&running["startedAt"]));
    } else if !terminated.is_null() {
        page.field(2, label, "Terminated");
        page.field_if(3, "Reason", &terminated["reason"]);
        page.field_if(3, "Message", &terminated["message"]);
        page.field(3, "Exit Code", number(&terminated["exitCode"]).to_string());
        if number(&terminated["signal"]) > 0 {
            page.field(3, "Signal", number(&terminated["signal"]).to_string());
        }
        page.field(3, "Started", date(&terminated["startedAt"]));
        page.field(3, "Finished", date(&terminated["finishedAt"]));
    } else {
        page.field(2, label, "Waiting");
        page.field_if(3, "Reason", &state["waiting"]["reason"]);
    }
}

pub fn resources(resources: &Value, level: usize, page: &mut Page) {
    for (field, label) in [("limits", "Limits"), ("requests", "Requests")] {
        let quantities = &resources[field];
        if map(quantities).next().is_some() {
            page.line(level, format!("{label}:"));
        }
        map(quantities).for_each(|(name, quantity)| page.field(level + 1, name, Quantity::of(quantity).to_string()));
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str| number(&probe[field]);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    );
    let (exec, http, tcp, grpc) = (&probe["exec"], &probe["httpGet"], &probe["tcpSocket"], &probe["grpc"]);
    let what = if !exec.is_null() {
        format!("exec {}", scalar(&exec["command"]))
    } else if !http.is_null() {
        let host = text(&http["host"]);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let path = text(&http["path"]);
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        format!("http-get {}://{host}:{}{slash}{path}", text(&http["scheme"]).to_lowercase(), scalar(&http["port"]))
    } else if !tcp.is_null() {
        format!("tcp-socket {}:{}", text(&tcp["host"]), scalar(&tcp["port"]))
    } else if !grpc.is_null() {
        format!("grpc <pod>:{} {}", scalar(&grpc["port"]), text(&grpc["service"]))
    } else {
        "unknown".into()
    };
    format!("{what} {attributes}")
}

fn optional(reference: &Value) -> bool {
    reference["optional"] == true
}

fn environment_from(container: &Value, page: &mut Page) {
    if list(&container["envFrom"]).is_empty() {
        return;
    }
    page.line(2, "Environment Variables from:");
    for source in list(&container["envFrom"]) {
        let (kind, reference) = match (&source["configMapRef"], &source["secretRef"]) {
            (Value::Null, Value::Null) => ("", &Value::Null),
            (Value::Null, secret) => ("Secret", secret),
            (config_map, _) => ("ConfigMap", config_map),
        };
        let prefix = match text(&source["prefix"]) {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        let (name, optional) = (text(&reference["name"]), optional(reference));
        page.line(3, format!("{name}\t{kind}{prefix}\tOptional: {optional}"));
    }
}

fn environment(container: &Value, pod: Option<&Value>, page: &mut Page) {
    let variables = list(&container["env"]);
    page.line(2, if variables.is_empty() { "Environment:\t<none>" } else { "Environment:" });
    for variable in variables {
        let (name, from) = (text(&variable["name"]), &variable["valueFrom"]);
        if from.is_null() {
            let mut lines = text(&variable["value"]).split('\n');
            page.field(3, name, lines.next().unwrap_or_default());
            lines.for_each(|line| page.line(3, format!("\t{line}")));
            continue;
        }
        let reference = |field: &str, of: &str, what: &str| {
            let reference = &from[field];
            let (key, name) = (text(&reference["key"]), text(&reference["name"]));
            format!("<set to the key '{key}' {of} {what} '{name}'>\tOptional: {}", optional(reference))
        };
        if !from["fieldRef"].is_null() {
            let field = &from["fieldRef"];
            let (version, path) = (text(&field["apiVersion"]), text(&field["fieldPath"]));
            let value = pod.map(|pod| pod_field(pod, path)).unwrap_or_default();
            page.field(3, name, format!("{value} ({version}:{path})"));
        } else if !from["resourceFieldRef"].is_null() {
            page.field(3, name, resource_field(container, &from["resourceFieldRef"]));
        } else if !from["secretKeyRef"].is_null() {
            page.field(3, name, reference("secretKeyRef", "in", "secret"));
        } else if !from["configMapKeyRef"].is_null() {
            page.field(3, name, reference("configMapKeyRef", "of", "config map"));
        }
    }
}

/// What kubectl resolves itself; the rest only the kubelet knows.
fn pod_field<'a>(pod: &'a Value, path: &str) -> &'a str {
    match path {
        "metadata.name" => text(&pod["metadata"]["name"]),
        "metadata.namespace" => text(&pod["metadata"]["namespace"]),
        _ => "",
    }
}

fn resource_field(container: &Value, field: &Value) -> String {
    let resource = text(&field["resource"]);
    let (list_name, name) = resource.split_once('.').unwrap_or((resource, ""));
    let quantity = Quantity::of(&container["resources"][list_name][name]);
    let divisor = Some(Quantity::of(&field["divisor"])).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or(Quantity::from_units(1, apimachinery::quantity::Format::DecimalSi));
    let value = if name == "cpu" {
        divided(quantity.milli_value(), divisor.milli_value())
    } else {
        divided(quantity.value(), divisor.value())
    };
    match (value, resource) {
        (0, "limits.cpu" | "limits.memory") => format!("node allocatable ({resource})"),
        (value, _) => format!("{value} ({resource})"),
    }
}

/// Rounded up.
fn divided(value: i64, divisor: i64) -> i64 {
    if divisor <= 0 { 0 } else { value / divisor + i64::from(value % divisor > 0) }
}

fn mounts(container: &Value, page: &mut Page) {
    let mut mounts: Vec<&Value> = list(&container["volumeMounts"]).iter().collect();
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    page.line(2, format!("Mounts:{none}"));
    mounts.sort_by_key(|mount| text(&mount["mountPath"]));
    for mount in mounts {
        let mut flags = if mount["readOnly"] == true { "ro".to_owned() } else { "rw".to_owned() };
        let path = text(&mount["subPath"]);
        if !path.is_empty() {
            flags.push_str(&format!(",path={path:?}"));
        }
        page.line(3, format!("{} from {} ({flags})", text(&mount["mountPath"]), text(&mount["name"])));
    }
    let mut devices: Vec<&Value> = list(&container["volumeDevices"]).iter().collect();
    if devices.is_empty() {
        return;
    }
    page.line(2, format!("Devices:{none}"));
    devices.sort_by_key(|device| text(&device["devicePath"]));
    for device in devices {
        page.line(3, format!("{} from {}", text(&device["devicePath"]), text(&device["name"])));
    }
}
