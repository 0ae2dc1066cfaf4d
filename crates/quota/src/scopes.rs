//! Scopes: which objects of a kind a quota is about.

use serde_json::Value;

use crate::pod_resources::is_best_effort;

/// One condition on a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeSelector {
    pub scope: String,
    pub operator: String,
    pub values: Vec<String>,
}

/// All scopes of a quota, of both fields.
pub fn scope_selectors(quota: &Value) -> Vec<ScopeSelector> {
    let scopes = quota.pointer("/spec/scopes").and_then(Value::as_array).into_iter().flatten();
    let plain = scopes.filter_map(Value::as_str).map(|scope| ScopeSelector {
        scope: scope.to_owned(),
        operator: "Exists".into(),
        values: Vec::new(),
    });
    let expressions = quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array);
    plain.chain(expressions.into_iter().flatten().map(ScopeSelector::of)).collect()
}

/// As upstream prints it in messages.
impl std::fmt::Display for ScopeSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{} {} [{}]}}", self.scope, self.operator, self.values.join(" "))
    }
}

impl ScopeSelector {
    /// From an item of `matchExpressions`.
    pub fn of(expression: &Value) -> ScopeSelector {
        let text = |field: &str| expression[field].as_str().unwrap_or_default().to_owned();
        let values = expression["values"].as_array().into_iter().flatten();
        ScopeSelector {
            scope: text("scopeName"),
            operator: text("operator"),
            values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    pub fn matches_pod(&self, pod: &Value) -> bool {
        match self.scope.as_str() {
            "Terminating" => is_terminating(pod),
            "NotTerminating" => !is_terminating(pod),
            "BestEffort" => is_best_effort(pod),
            "NotBestEffort" => !is_best_effort(pod),
            "PriorityClass" => {
                let class = pod.pointer("/spec/priorityClassName").and_then(Value::as_str);
                self.matches_names(class.into_iter().filter(|class| !class.is_empty()))
            }
            "CrossNamespacePodAffinity" => crosses_namespaces(pod),
            _ => false,
        }
    }

    pub fn matches_claim(&self, claim: &Value) -> bool {
        const CLASSES: &[&str] = &[
            "/spec/volumeAttributesClassName",
            "/status/currentVolumeAttributesClassName",
            "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
        ];
        if self.scope != "VolumeAttributesClass" {
            return false;
        }
        let classes = CLASSES.iter().filter_map(|pointer| claim.pointer(pointer)?.as_str());
        self.matches_names(classes.filter(|class| !class.is_empty()))
    }

    fn matches_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> bool {
        let names: Vec<&str> = names.collect();
        let listed = || names.iter().any(|name| self.values.iter().any(|value| value == name));
        match self.operator.as_str() {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => listed(),
            "NotIn" => !listed(),
            _ => false,
        }
    }
}

fn is_terminating(pod: &Value) -> bool {
    pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0)
}

/// Whether a term of its affinities looks at other namespaces.
fn crosses_namespaces(pod: &Value) -> bool {
    let list = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let crosses = |term: &Value| {
        let named = term["namespaces"].as_array().is_some_and(|names| !names.is_empty());
        named || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let at = |field: &str| format!("/spec/affinity/{kind}/{field}");
        list(&at("requiredDuringSchedulingIgnoredDuringExecution")).any(&crosses)
            || list(&at("preferredDuringSchedulingIgnoredDuringExecution")).any(|one| crosses(&one["podAffinityTerm"]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(selector: Value, pod: Value) -> bool {
        let quota = json!({"spec": {"scopeSelector": {"matchExpressions": [selector]}}});
        scope_selectors(&quota).iter().all(|selector| selector.matches_pod(&pod))
    }

    #[test]
    fn priority_classes_are_selected_by_name() {
        let of = |operator: &str, values: Value| json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
        let high = json!({"spec": {"priorityClassName": "high"}});
        assert!(matches(of("In", json!(["high"])), high.clone()));
        assert!(matches(of("Exists", json!([])), high.clone()));
        assert!(!matches(of("NotIn", json!(["high"])), high));
        assert!(matches(of("NotIn", json!(["high"])), json!({"spec": {}})));
        assert!(matches(of("DoesNotExist", json!([])), json!({"spec": {}})));
    }

    #[test]
    fn pods_without_wishes_are_best_effort_and_with_a_deadline_terminating() {
        let quota = |scope: &str| json!({"spec": {"scopes": [scope]}});
        let of = |scope: &str, pod: &Value| scope_selectors(&quota(scope))[0].matches_pod(pod);
        let plain = json!({"spec": {"containers": [{}]}});
        assert!(of("BestEffort", &plain) && of("NotTerminating", &plain));
        let modest =
            json!({"spec": {"containers": [{"resources": {"limits": {"memory": "1"}}}], "activeDeadlineSeconds": 5}});
        assert!(of("NotBestEffort", &modest) && of("Terminating", &modest));
    }

    #[test]
    fn affinities_may_look_at_other_namespaces() {
        let selector = scope_selectors(&json!({"spec": {"scopes": ["CrossNamespacePodAffinity"]}}));
        let pod = |term: Value| {
            json!({"spec": {"affinity": {"podAntiAffinity":
            {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term}]}}}})
        };
        assert!(selector[0].matches_pod(&pod(json!({"namespaceSelector": {}}))));
        assert!(!selector[0].matches_pod(&pod(json!({"topologyKey": "x"}))));
    }
}
