//! The FlowSchemas and PriorityLevelConfigurations that every server brings.
//!
//! Mandatory ones hold their fixed values always; suggested ones are a beginning that an administrator may change.

use serde_json::{Value, json};

/// Says whether the server keeps the spec of an object up to date.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
pub const EXEMPT: &str = "exempt";
pub const CATCH_ALL: &str = "catch-all";

/// One object that the server brings.
pub struct Bootstrap {
    pub resource: &'static str,
    pub name: &'static str,
    pub mandatory: bool,
    pub spec: Value,
}

impl Bootstrap {
    /// The object as it is created.
    pub fn object(&self) -> Value {
        json!({"metadata": {"name": self.name, "annotations": {AUTOUPDATE: "true"}}, "spec": self.spec})
    }
}

/// Levels before the schemas that refer to them.
pub fn objects() -> Vec<Bootstrap> {
    levels().into_iter().chain(schemas()).collect()
}

/// The fixed spec of a mandatory object.
pub fn mandatory_spec(resource: &str, name: &str) -> Option<Value> {
    let found = objects().into_iter().find(|own| own.mandatory && own.resource == resource && own.name == name);
    found.map(|found| found.spec)
}

fn level(name: &'static str, mandatory: bool, spec: Value) -> Bootstrap {
    Bootstrap { resource: "prioritylevelconfigurations", name, mandatory, spec }
}

/// Shares, percent that may be lent, number of queues, hand size.
fn queued(name: &'static str, shares: i32, lendable: i32, queues: i32, hand: i32) -> Bootstrap {
    let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
    let limited = json!({
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    });
    level(name, false, json!({"type": "Limited", "limited": limited}))
}

fn levels() -> Vec<Bootstrap> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let reject = json!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}});
    vec![
        level(EXEMPT, true, exempt),
        level(CATCH_ALL, true, json!({"type": "Limited", "limited": reject})),
        queued("system", 30, 33, 64, 6),
        queued("node-high", 40, 25, 64, 6),
        queued("leader-election", 10, 0, 16, 4),
        queued("workload-high", 40, 50, 128, 6),
        queued("workload-low", 100, 90, 128, 6),
        queued("global-default", 20, 50, 128, 6),
    ]
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
}

fn system_accounts() -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}})
}

/// Everything that these subjects ask.
fn all_of(subjects: Value) -> Value {
    json!([{
        "subjects": subjects,
        "resourceRules": [{
            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
        }],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }])
}

fn schema(name: &'static str, level: &str, precedence: i32, distinguisher: &str, rules: Value) -> Bootstrap {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": rules,
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    let mandatory = matches!(name, EXEMPT | CATCH_ALL);
    Bootstrap { resource: "flowschemas", name, mandatory, spec }
}

fn schemas() -> Vec<Bootstrap> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let (by_user, by_namespace) = ("ByUser", "ByNamespace");
    let one = |user: &str| all_of(users(&[user]).into());
    vec![
        schema(EXEMPT, EXEMPT, 1, "", all_of(groups(&["system:masters"]))),
        schema(CATCH_ALL, CATCH_ALL, 10_000, by_user, all_of(everybody())),
        schema("system-nodes", "system", 500, by_user, all_of(groups(&["system:nodes"]))),
        schema("system-node-high", "node-high", 400, by_user, node_high()),
        schema("probes", EXEMPT, 2, "", probes(everybody())),
        schema("system-leader-election", "leader-election", 100, by_user, leader_election()),
        schema("kube-controller-manager", "workload-high", 800, by_namespace, one("system:kube-controller-manager")),
        schema("kube-scheduler", "workload-high", 800, by_namespace, one("system:kube-scheduler")),
        schema("kube-system-service-accounts", "workload-high", 900, by_namespace, all_of(json!([system_accounts()]))),
        schema("service-accounts", "workload-low", 9000, by_user, all_of(groups(&["system:serviceaccounts"]))),
        schema("global-default", "global-default", 9900, by_user, all_of(everybody())),
    ]
}

fn probes(subjects: Value) -> Value {
    let paths = ["/healthz", "/readyz", "/livez"];
    json!([{"subjects": subjects, "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}]}])
}

fn leader_election() -> Value {
    let mut subjects = users(&["system:kube-controller-manager", "system:kube-scheduler"]);
    subjects.push(system_accounts());
    json!([{"subjects": subjects, "resourceRules": [leases(&["get", "create", "update"])]}])
}

fn leases(verbs: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]})
}

fn node_high() -> Value {
    let nodes = json!({
        "verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true,
        "namespaces": ["*"],
    });
    json!([{"subjects": groups(&["system:nodes"]), "resourceRules": [nodes, leases(&["*"])]}])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::others::{FlowSchema, PriorityLevelConfiguration};
    use crate::strategy::Strategy;

    #[test]
    fn every_schema_refers_to_a_level_that_comes_before_it() {
        let mut levels = Vec::new();
        for own in objects() {
            match own.spec.pointer("/priorityLevelConfiguration/name") {
                Some(level) => assert!(levels.contains(&level.as_str().unwrap()), "{}", own.name),
                None => levels.push(own.name),
            }
        }
        assert_eq!(levels.len(), 8);
    }

    #[test]
    fn they_are_valid_and_complete_by_our_own_rules() {
        for own in objects() {
            let strategy: &dyn Strategy =
                if own.resource == "flowschemas" { &FlowSchema } else { &PriorityLevelConfiguration };
            let mut object = own.object();
            strategy.default(&mut object);
            assert_eq!(object["spec"], own.spec, "{}", own.name);
            assert!(strategy.validate(&object).is_empty(), "{}: {:?}", own.name, strategy.validate(&object));
        }
    }
}
