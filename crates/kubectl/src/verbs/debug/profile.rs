//! What a profile makes of the pod in which the debugging container is.

use serde_json::{Value, json};

use crate::failure::{Failure, fail};
use crate::flags::Parsed;

/// Whom the container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Ephemeral,
    Copy,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Legacy,
    General,
    Baseline,
    Restricted,
    NetAdmin,
    SysAdmin,
}

#[derive(Clone, Debug)]
pub struct Profile {
    name: Name,
    /// What a copy keeps: labels, annotations, probes by their field, init containers.
    keeps: Vec<&'static str>,
}

const KEPT: &[(&str, &str)] = &[
    ("keep-labels", "labels"),
    ("keep-annotations", "annotations"),
    ("keep-liveness", "livenessProbe"),
    ("keep-readiness", "readinessProbe"),
    ("keep-startup", "startupProbe"),
    ("keep-init-containers", "initContainers"),
];

impl Profile {
    pub fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let name = match parsed.text("profile") {
            "legacy" => Name::Legacy,
            "general" => Name::General,
            "baseline" => Name::Baseline,
            "restricted" => Name::Restricted,
            "netadmin" => Name::NetAdmin,
            "sysadmin" => Name::SysAdmin,
            other => return fail!("unknown profile: {other}"),
        };
        let keeps = KEPT.iter().filter(|(flag, _)| parsed.on(flag)).map(|(_, what)| *what).collect();
        Ok(Self { name, keeps })
    }

    pub fn is_legacy(&self) -> bool {
        self.name == Name::Legacy
    }

    /// Changes the pod, and the container of this name in it.
    pub fn apply(&self, pod: &mut Value, container: &str, style: Style) {
        if style == Style::Copy {
            self.strip(pod);
        }
        if style == Style::Node {
            self.open_node(pod, container);
        }
        if style == Style::Copy && self.name != Name::Legacy {
            let shares = &mut pod["spec"]["shareProcessNamespace"];
            if shares.is_null() {
                *shares = true.into();
            }
        }
        for one in containers_mut(pod).filter(|one| one["name"] == container) {
            self.equip(one, style);
        }
    }

    /// A copy shall not be taken for the original, and shall not be ended by probes.
    fn strip(&self, pod: &mut Value) {
        let removes = |what: &str| !self.keeps.contains(&what);
        if self.name == Name::Legacy {
            remove(&mut pod["metadata"], "labels");
            return;
        }
        for what in ["labels", "annotations"].into_iter().filter(|what| removes(what)) {
            remove(&mut pod["metadata"], what);
        }
        for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter(|what| removes(what)) {
                remove(container, probe);
            }
        }
        if removes("initContainers") {
            remove(&mut pod["spec"], "initContainers");
        }
    }

    fn open_node(&self, pod: &mut Value, container: &str) {
        if matches!(self.name, Name::Legacy | Name::General | Name::NetAdmin | Name::SysAdmin) {
            for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
                pod["spec"][namespace] = true.into();
            }
        }
        if matches!(self.name, Name::Legacy | Name::General | Name::SysAdmin) {
            push(&mut pod["spec"]["volumes"], json!({"name": "host-root", "hostPath": {"path": "/"}}));
            for one in containers_mut(pod).filter(|one| one["name"] == container) {
                push(&mut one["volumeMounts"], json!({"name": "host-root", "mountPath": "/host"}));
            }
        }
    }

    fn equip(&self, container: &mut Value, style: Style) {
        match self.name {
            Name::Legacy => {}
            Name::General if style == Style::Node => remove(container, "securityContext"),
            Name::General => add_capabilities(container, &["SYS_PTRACE"]),
            Name::Baseline => remove(container, "securityContext"),
            Name::Restricted => {
                container["securityContext"] = json!({
                    "runAsNonRoot": true,
                    "capabilities": {"drop": ["ALL"]},
                    "allowPrivilegeEscalation": false,
                    "seccompProfile": {"type": "RuntimeDefault"},
                });
            }
            Name::NetAdmin => add_capabilities(container, &["NET_ADMIN", "NET_RAW"]),
            Name::SysAdmin => container["securityContext"]["privileged"] = true.into(),
        }
    }
}

fn containers_mut(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = pod["spec"].as_object_mut();
    let lists = spec.into_iter().flatten().filter(|(key, _)| key.to_lowercase().ends_with("containers"));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten()
}

fn remove(object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        none => *none = json!([item]),
    }
}

fn add_capabilities(container: &mut Value, names: &[&str]) {
    for name in names {
        push(&mut container["securityContext"]["capabilities"]["add"], (*name).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(profile: &str, style: Style, expected: Expect) {
        let line = [format!("--profile={profile}")];
        let parsed = crate::flags::parse(&[super::super::FLAGS], &line).expect("good flags");
        let list = if style == Style::Ephemeral { "ephemeralContainers" } else { "containers" };
        let mut pod = json!({
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {list: [{"name": "x", "securityContext": {"runAsUser": 1}, "livenessProbe": {}}, {"name": "y"}],
                     "initContainers": [{"name": "i"}]},
        });
        Profile::of(&parsed).expect("a profile").apply(&mut pod, "x", style);
        expected.assert_eq(&pod.to_string());
    }

    #[test]
    fn an_ephemeral_container_gets_what_it_needs() {
        check(
            "general",
            Style::Ephemeral,
            expect![[
                r#"{"metadata":{"annotations":{"c":"d"},"labels":{"a":"b"}},"spec":{"ephemeralContainers":[{"livenessProbe":{},"name":"x","securityContext":{"capabilities":{"add":["SYS_PTRACE"]},"runAsUser":1}},{"name":"y"}],"initContainers":[{"name":"i"}]}}"#
            ]],
        );
        check(
            "restricted",
            Style::Ephemeral,
            expect![[
                r#"{"metadata":{"annotations":{"c":"d"},"labels":{"a":"b"}},"spec":{"ephemeralContainers":[{"livenessProbe":{},"name":"x","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}},{"name":"y"}],"initContainers":[{"name":"i"}]}}"#
            ]],
        );
    }

    #[test]
    fn a_copy_is_stripped() {
        check(
            "netadmin",
            Style::Copy,
            expect![[
                r#"{"metadata":{},"spec":{"containers":[{"name":"x","securityContext":{"capabilities":{"add":["NET_ADMIN","NET_RAW"]},"runAsUser":1}},{"name":"y"}],"initContainers":[{"name":"i"}],"shareProcessNamespace":true}}"#
            ]],
        );
        check(
            "legacy",
            Style::Copy,
            expect![[
                r#"{"metadata":{"annotations":{"c":"d"}},"spec":{"containers":[{"livenessProbe":{},"name":"x","securityContext":{"runAsUser":1}},{"name":"y"}],"initContainers":[{"name":"i"}]}}"#
            ]],
        );
    }

    #[test]
    fn a_node_is_opened() {
        check(
            "sysadmin",
            Style::Node,
            expect![[
                r#"{"metadata":{"annotations":{"c":"d"},"labels":{"a":"b"}},"spec":{"containers":[{"livenessProbe":{},"name":"x","securityContext":{"privileged":true,"runAsUser":1},"volumeMounts":[{"mountPath":"/host","name":"host-root"}]},{"name":"y"}],"hostIPC":true,"hostNetwork":true,"hostPID":true,"initContainers":[{"name":"i"}],"volumes":[{"hostPath":{"path":"/"},"name":"host-root"}]}}"#
            ]],
        );
        check(
            "baseline",
            Style::Node,
            expect![[
                r#"{"metadata":{"annotations":{"c":"d"},"labels":{"a":"b"}},"spec":{"containers":[{"livenessProbe":{},"name":"x"},{"name":"y"}],"initContainers":[{"name":"i"}]}}"#
            ]],
        );
    }
}
