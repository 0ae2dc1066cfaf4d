//! Who sets a forbidden value: the words that the checks share.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::Pod;

pub fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`.
pub fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("{:?}", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"` or `containers "a", "b"`.
pub fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod`, `container "a"`, or both.
pub fn setters(pod: bool, names: &[&str]) -> String {
    let own = pod.then(|| "pod".to_owned());
    let theirs = (!names.is_empty()).then(|| containers(names));
    own.into_iter().chain(theirs).collect::<Vec<_>>().join(" and ")
}

/// Names of the containers that a rule finds bad.
pub fn bad_containers<'a>(pod: &Pod<'a>, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
    pod.containers().filter(|(_, container)| bad(container)).map(|(name, _)| name).collect()
}

/// A field of a container's or pod's security context that is set.
pub fn context<'a>(owner: &'a Value, pointer: &str) -> Option<&'a Value> {
    owner.get("securityContext")?.pointer(pointer).filter(|value| !value.is_null())
}

/// What a value is set to where it is forbidden: by the pod, by containers, and the values.
pub struct Forbidden<'a> {
    pub pod: bool,
    pub containers: Vec<&'a str>,
    pub values: BTreeSet<String>,
}

impl<'a> Forbidden<'a> {
    /// Collects what lies at `pointer` in the security contexts and is not `allowed`.
    pub fn collect(pod: &Pod<'a>, pointer: &str, allowed: impl Fn(&str) -> bool) -> Forbidden<'a> {
        let mut values = BTreeSet::new();
        let mut bad = |owner: &Value| {
            let value = context(owner, pointer).map(|value| value.as_str().unwrap_or_default());
            let refused = value.filter(|value| !allowed(value));
            refused.map(|value| values.insert(value.to_owned())).is_some()
        };
        let by_pod = bad(pod.spec);
        let containers = bad_containers(pod, &mut bad);
        Forbidden { pod: by_pod, containers, values }
    }

    pub fn any(&self) -> bool {
        self.pod || !self.containers.is_empty()
    }

    pub fn who(&self) -> String {
        setters(self.pod, &self.containers)
    }
}
