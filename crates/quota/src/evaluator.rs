//! What counts for the objects of one resource.

use serde_json::Value;

use crate::scopes::ScopeSelector;
use crate::usage::{self, Usage};
use crate::{claim, device_claim, pod, service};

/// How the objects of a resource are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluator {
    Pods,
    Services,
    Claims,
    /// ResourceClaims, with their devices.
    DeviceClaims,
    /// Only their number: `count/name.group`, and for some core resources the bare name.
    Objects {
        count: String,
        alias: Option<&'static str>,
    },
}

/// Core resources with a name of their own in quotas.
const ALIASES: &[&str] = &["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
/// What no quota counts.
const IGNORED: &[(&str, &str)] = &[
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
];

/// The name under which the objects of a resource are counted.
pub fn count_name(group: &str, resource: &str) -> String {
    if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") }
}

impl Evaluator {
    /// `None` for resources that no quota counts.
    pub fn of(group: &str, resource: &str) -> Option<Evaluator> {
        if IGNORED.contains(&(group, resource)) {
            return None;
        }
        Some(match (group, resource) {
            ("", "pods") => Evaluator::Pods,
            ("", "services") => Evaluator::Services,
            ("", "persistentvolumeclaims") => Evaluator::Claims,
            ("resource.k8s.io", "resourceclaims") => Evaluator::DeviceClaims,
            _ => {
                let alias = ALIASES.iter().copied().find(|alias| group.is_empty() && *alias == resource);
                Evaluator::Objects { count: count_name(group, resource), alias }
            }
        })
    }

    /// Whether an update (not only a creation) can change what is used.
    pub fn counts_updates(&self, subresource: &str) -> bool {
        match self {
            Evaluator::Pods => subresource == "resize",
            Evaluator::Services | Evaluator::Claims | Evaluator::DeviceClaims => subresource.is_empty(),
            Evaluator::Objects { .. } => false,
        }
    }

    /// What an object uses. `now`: seconds since the epoch.
    pub fn usage(&self, object: &Value, now: i64) -> Usage {
        match self {
            Evaluator::Pods => pod::usage(object, now),
            Evaluator::Services => service::usage(object),
            Evaluator::Claims => claim::usage(object),
            Evaluator::DeviceClaims => device_claim::usage(object),
            Evaluator::Objects { count, alias } => {
                let names = std::iter::once(count.clone()).chain(alias.map(str::to_owned));
                names.map(|name| (name, usage::count(1))).collect()
            }
        }
    }

    /// Whether a name of `hard` is about objects of this resource.
    pub fn counts(&self, name: &str) -> bool {
        match self {
            Evaluator::Pods => pod::counts(name),
            Evaluator::Services => service::NAMES.contains(&name),
            Evaluator::Claims => claim::counts(name),
            Evaluator::DeviceClaims => device_claim::counts(name),
            Evaluator::Objects { count, alias } => name == count || Some(name) == *alias,
        }
    }

    fn in_scope(&self, selector: &ScopeSelector, object: &Value) -> bool {
        match self {
            Evaluator::Pods => selector.matches_pod(object),
            Evaluator::Claims => selector.matches_claim(object),
            Evaluator::Services | Evaluator::DeviceClaims | Evaluator::Objects { .. } => false,
        }
    }

    /// Those of the scopes that an object is in.
    pub fn matching_scopes(&self, object: &Value, selectors: &[ScopeSelector]) -> Vec<ScopeSelector> {
        selectors.iter().filter(|selector| self.in_scope(selector, object)).cloned().collect()
    }

    /// Whether an object counts against a quota: by one of its names at least, and by all of its scopes.
    pub fn matches(&self, quota: &Value, hard: &Usage, object: &Value) -> bool {
        hard.keys().any(|name| self.counts(name))
            && crate::scope_selectors(quota).iter().all(|selector| self.in_scope(selector, object))
    }

    /// What an object must say so that these names can be charged.
    pub fn check_constraints(&self, names: &[&String], object: &Value) -> Result<(), String> {
        match self {
            Evaluator::Pods => pod::check_constraints(names, object),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check_text(group: &str, resource: &str, object: Value) -> String {
        usage::show(&Evaluator::of(group, resource).unwrap().usage(&object, 0))
    }

    fn check(group: &str, resource: &str, object: Value, want: Expect) {
        want.assert_eq(&check_text(group, resource, object));
    }

    #[test]
    fn objects_are_counted_by_resource_and_group() {
        check("", "configmaps", json!({}), expect!["configmaps=1,count/configmaps=1"]);
        check("apps", "deployments", json!({}), expect!["count/deployments.apps=1"]);
        check("example.com", "widgets", json!({}), expect!["count/widgets.example.com=1"]);
        assert_eq!(Evaluator::of("", "events"), None);
    }

    #[test]
    fn pods_use_the_larger_of_their_steps() {
        let of = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}});
        let mut sidecar = of("100m");
        sidecar["restartPolicy"] = "Always".into();
        let pod = json!({"spec": {"containers": [of("200m"), of("300m")], "initContainers": [sidecar, of("2")],
            "overhead": {"cpu": "10m"}}});
        check(
            "",
            "pods",
            pod,
            expect!["count/pods=1,cpu=2110m,limits.memory=3Gi,pods=1,requests.cpu=2110m,requests.example.com/gpu=3"],
        );
        check("", "pods", json!({"spec": {}, "status": {"phase": "Failed"}}), expect!["count/pods=1"]);
    }

    #[test]
    fn services_use_node_ports() {
        let ports = json!([{"port": 80}, {"port": 81}]);
        let service = |kind: &str| json!({"spec": {"type": kind, "ports": ports}});
        check(
            "",
            "services",
            service("NodePort"),
            expect!["count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"],
        );
        let mut balanced = service("LoadBalancer");
        balanced["spec"]["allocateLoadBalancerNodePorts"] = false.into();
        check(
            "",
            "services",
            balanced,
            expect!["count/services=1,services=1,services.loadbalancers=1,services.nodeports=0"],
        );
    }

    #[test]
    fn device_claims_use_devices_of_their_classes() {
        let asks =
            |class: &str, count: i64| json!({"deviceClassName": class, "allocationMode": "ExactCount", "count": count});
        let all = json!({"deviceClassName": "nic", "allocationMode": "All"});
        let claim = json!({"spec": {"devices": {"requests": [{"exactly": asks("gpu", 2)}, {"exactly": all},
            {"firstAvailable": [asks("gpu", 1), asks("gpu", 3), asks("old", 8)]}]}}});
        let name = ".deviceclass.resource.k8s.io/devices";
        let told = check_text("resource.k8s.io", "resourceclaims", claim).replace(name, "*");
        assert_eq!(told, "count/resourceclaims.resource.k8s.io=1,gpu*=5,nic*=32,old*=8");
    }

    #[test]
    fn claims_use_storage_of_their_class() {
        let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}},
            "status": {"allocatedResources": {"storage": "3Gi"}}});
        check(
            "",
            "persistentvolumeclaims",
            claim,
            expect![
                "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/requests.storage=3Gi,persistentvolumeclaims=1,requests.storage=3Gi"
            ],
        );
    }

    #[test]
    fn a_quota_on_compute_wants_every_container_to_say_what_it_needs() {
        let pod =
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "1"}}}]}});
        let names = ["requests.cpu".to_owned(), "limits.memory".to_owned(), "pods".to_owned()];
        let told = Evaluator::Pods.check_constraints(&names.iter().collect::<Vec<_>>(), &pod);
        expect!["must specify limits.memory for: a,b; requests.cpu for: a"].assert_eq(&told.unwrap_err());
    }
}
