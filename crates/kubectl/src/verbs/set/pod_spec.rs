//! The pod template of an object, and some of its containers.

use serde_json::Value;

use crate::objects::Info;

const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// The pod's specification in an object of this kind.
pub fn pod_spec<'v>(info: &Info, object: &'v mut Value) -> Result<&'v mut Value, String> {
    let mapping = &info.mapping;
    let spec = &mut object["spec"];
    match (mapping.group.as_str(), mapping.kind.as_str()) {
        ("", "Pod") => Ok(spec),
        ("", "ReplicationController")
        | ("apps" | "extensions", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet")
        | ("batch", "Job") => Ok(&mut spec["template"]["spec"]),
        ("batch", "CronJob") => Ok(&mut spec["jobTemplate"]["spec"]["template"]["spec"]),
        _ => Err(format!(
            "the object is not a pod or does not have a pod template: *{}.{}",
            mapping.version, mapping.kind
        )),
    }
}

/// Whether the object has a pod template at all.
pub fn check(info: &Info) -> Result<(), String> {
    pod_spec(info, &mut info.object.clone()).map(drop)
}

/// Does something with each container whose name matches; the answer is how many did.
pub fn each_container(spec: &mut Value, names: &str, mut change: impl FnMut(&mut Value)) -> usize {
    let mut count = 0;
    for field in CONTAINERS {
        let Some(containers) = spec.get_mut(field).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter(|container| matches(name_of(container), names)) {
            change(container);
            count += 1;
        }
    }
    count
}

pub fn name_of(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

/// `*` stands for anything. What stands between two of them is looked for as upstream looks for it: from the place where
/// the part before began.
fn matches(name: &str, pattern: &str) -> bool {
    if pattern == "*" || !pattern.contains('*') {
        return pattern == "*" || name == pattern;
    }
    let parts: Vec<&str> = pattern.split('*').collect();
    let mut at = 0;
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        let found = name[at..].find(part);
        let Some(next) = found.filter(|next| *next >= at) else { return false };
        let overshoots = index == parts.len() - 1 && name.len() != part.len() + next;
        if (index == 0 && at != 0) || overshoots {
            return false;
        }
        at = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_matched_by_patterns() {
        for (name, pattern) in [("a", "*"), ("abc", "abc"), ("abc", "a*"), ("abc", "*c"), ("abc", "*b*")] {
            assert!(matches(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a", "b"), ("abc", "a*b"), ("abc", "*d*"), ("abc", "ab")] {
            assert!(!matches(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn all_kinds_of_containers_are_visited() {
        let mut spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "ai"}]});
        let mut seen = Vec::new();
        assert_eq!(each_container(&mut spec, "a*", |container| seen.push(name_of(container).to_owned())), 2);
        assert_eq!(seen, ["a", "ai"]);
    }
}
