//! What a Job's pod failure policy says of a pod that failed.

use api::batchv1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use api::corev1::{ContainerStatus, Pod};
use client::Object;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The failure counts.
    Count,
    Ignore,
    FailIndex,
    /// With the reason in words.
    FailJob(String),
}

impl Verdict {
    pub fn counts(&self) -> bool {
        *self != Verdict::Ignore
    }
}

/// The first rule that fits decides.
pub(super) fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    let matched = rules.iter().enumerate().find_map(|(index, rule)| Some((index, rule, why(rule, pod)?)));
    let Some((index, rule, why)) = matched else { return Verdict::Count };
    match rule.action.as_str() {
        "Ignore" => Verdict::Ignore,
        "FailIndex" => Verdict::FailIndex,
        "FailJob" => Verdict::FailJob(format!("{why} matching {} rule at index {index}", rule.action)),
        _ => Verdict::Count,
    }
}

/// How the rule fits, in words. `None`: it does not.
fn why(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let pod_name = format!("{}/{}", pod.namespace(), pod.name());
    if let Some(codes) = &rule.on_exit_codes {
        let (container, code) = matching_exit(codes, pod)?;
        return Some(format!("Container {container} for pod {pod_name} failed with exit code {code}"));
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let patterns = rule.on_pod_conditions.as_ref()?;
    let fits = |kind: &str, status: &str| {
        patterns.iter().any(|pattern| pattern.type_ == kind && pattern.status.as_deref().unwrap_or("True") == status)
    };
    let found = conditions.iter().find(|condition| fits(&condition.type_, &condition.status))?;
    Some(format!("Pod {pod_name} has condition {}", found.type_))
}

fn matching_exit<'a>(codes: &PodFailurePolicyOnExitCodesRequirement, pod: &'a Pod) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let mut exits = containers.filter_map(|container| Some((container, exit_code(container)?)));
    let fits = |container: &ContainerStatus, code: i32| {
        let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
        let listed = codes.values.contains(&code);
        named && code != 0 && if codes.operator == "NotIn" { !listed } else { listed }
    };
    exits.find(|(container, code)| fits(container, *code)).map(|(container, code)| (container.name.as_str(), code))
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(rules: Value, want: Verdict) {
        let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": rules})).expect("a policy");
        let container = |name: &str, code: i32| json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code}}});
        let pod = json!({
            "metadata": {"name": "a", "namespace": "default"},
            "status": {"phase": "Failed", "containerStatuses": [container("side", 0), container("main", 42)],
                "conditions": [{"type": "DisruptionTarget", "status": "True"}]},
        });
        assert_eq!(judge(Some(&policy), &serde_json::from_value(pod).expect("a pod")), want);
    }

    fn on_exit(action: &str, operator: &str, values: &[i32]) -> Value {
        json!({"action": action, "onExitCodes": {"operator": operator, "values": values}})
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let disrupted = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]});
        check(json!([on_exit("FailJob", "In", &[1]), disrupted]), Verdict::Ignore);
        check(json!([on_exit("FailIndex", "NotIn", &[1]), disrupted]), Verdict::FailIndex);
        check(json!([on_exit("FailJob", "In", &[1])]), Verdict::Count);
    }

    #[test]
    fn a_failed_job_says_why() {
        let why = "Container main for pod default/a failed with exit code 42 matching FailJob rule at index 1";
        check(json!([on_exit("Ignore", "In", &[1]), on_exit("FailJob", "In", &[42])]), Verdict::FailJob(why.into()));
        let by_condition =
            json!({"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let why = "Pod default/a has condition DisruptionTarget matching FailJob rule at index 0";
        check(json!([by_condition]), Verdict::FailJob(why.into()));
    }

    #[test]
    fn a_rule_for_another_container_does_not_fit() {
        let rule =
            json!({"action": "Ignore", "onExitCodes": {"containerName": "side", "operator": "In", "values": [42]}});
        check(json!([rule]), Verdict::Count);
    }
}
