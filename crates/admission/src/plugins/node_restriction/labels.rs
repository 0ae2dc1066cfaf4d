//! Which labels a kubelet may give its node.

use apimachinery::object;
use serde_json::Value;

/// Labels under `kubernetes.io` and `k8s.io` that a kubelet may set on its node.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_LABEL_GROUPS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The labels that differ and are not a kubelet's to set, in order.
pub fn refused<'a>(new: &'a Value, old: Option<&'a Value>) -> Vec<&'a str> {
    let differs = |key: &str| old.and_then(|old| object::label(old, key)) != object::label(new, key);
    let own = object::labels(new).into_iter().flatten();
    let former = old.and_then(object::labels).into_iter().flatten();
    let mut refused: Vec<&str> = own.chain(former).map(|(key, _)| key.as_str()).collect();
    refused.retain(|key| differs(key) && !may_set(key));
    refused.sort_unstable();
    refused.dedup();
    refused
}

fn may_set(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return true };
    let within = |suffix: &str| domain == suffix || domain.ends_with(&format!(".{suffix}"));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    !(within("kubernetes.io") || within("k8s.io"))
        || OWN_LABELS.contains(&label)
        || OWN_LABEL_GROUPS.iter().any(|group| within(group))
}

#[cfg(test)]
mod tests {
    use super::may_set;

    #[test]
    fn a_kubelet_sets_only_labels_of_its_own() {
        let allowed = [
            "team",
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/anything",
            "topology.kubernetes.io/zone",
        ];
        let refused = [
            "node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/control-plane",
            "x.k8s.io/y",
            "kubernetes.io/other",
        ];
        assert!(allowed.iter().all(|label| may_set(label)));
        assert!(refused.iter().all(|label| !may_set(label)));
    }
}
