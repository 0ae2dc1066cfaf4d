//! What a quota's status says, counted from all objects.

use std::collections::BTreeMap;

use api::corev1::{ResourceQuota, ResourceQuotaStatus};
use api::k8s::apimachinery::pkg::api::resource::Quantity;
use quota::{Evaluator, Usage, usage};
use serde_json::Value;

/// Why a quota is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// The quota changed, or objects went: the count is the truth.
    Anew,
    /// Objects came. Admission has charged for them, and for others that no cache shows yet: the status may rise only.
    Arrival,
}

/// All objects of one kind in the quota's namespace.
pub(super) type Counted = (Evaluator, Vec<Value>);

/// What the quota allows.
pub(super) fn hard(quota: &ResourceQuota) -> Usage {
    amounts(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()))
}

/// Whether its status allows something else.
pub(super) fn has_strayed(quota: &ResourceQuota) -> bool {
    let said = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    said.is_some() && amounts(said) != hard(quota)
}

pub(super) fn concerns(quota: &ResourceQuota, evaluator: &Evaluator) -> bool {
    let hard = quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten());
    hard.into_iter().any(|(name, _)| evaluator.counts(name))
}

/// The new status, or `None` when the old one is right. `now`: seconds since the epoch.
pub(super) fn plan(quota: &ResourceQuota, counted: &[Counted], cause: Cause, now: i64) -> Option<ResourceQuotaStatus> {
    let hard = hard(quota);
    let old = quota.status.as_ref();
    let old_used = amounts(old.and_then(|status| status.used.as_ref()));
    let mut used = old_used.clone();
    for (name, amount) in count(quota, &hard, counted, now) {
        let known = old_used.get(&name).copied();
        let keep = known.filter(|known| cause == Cause::Arrival && *known > amount);
        used.insert(name, keep.unwrap_or(amount));
    }
    let used = usage::mask(&used, hard.keys());
    let complete = old.is_some_and(|status| status.hard.is_some() && status.used.is_some());
    let same_hard = amounts(old.and_then(|status| status.hard.as_ref())) == hard;
    if complete && same_hard && used == old_used {
        return None;
    }
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    Some(ResourceQuotaStatus { hard: Some(hard), used: Some(texts(&used)) })
}

/// Names that nobody counts are absent.
fn count(quota: &ResourceQuota, hard: &Usage, counted: &[Counted], now: i64) -> Usage {
    let quota = serde_json::to_value(quota).unwrap_or_default();
    let mut sum = Usage::new();
    for (evaluator, objects) in counted {
        let names: Vec<&String> = hard.keys().filter(|name| evaluator.counts(name)).collect();
        sum.extend(names.iter().map(|name| ((*name).clone(), usage::count(0))));
        for object in objects.iter().filter(|object| evaluator.matches(&quota, hard, object)) {
            sum = usage::add(sum, &usage::mask(&evaluator.usage(object, now), names.iter().copied()));
        }
    }
    sum
}

fn amounts(map: Option<&BTreeMap<String, Quantity>>) -> Usage {
    let map = map.into_iter().flatten();
    map.map(|(name, amount)| (name.clone(), apimachinery::Quantity::of(&Value::from(amount.0.as_str())))).collect()
}

fn texts(usage: &Usage) -> BTreeMap<String, Quantity> {
    usage.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(quota: Value, counted: &[Counted], cause: Cause, want: Expect) {
        let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
        let told = plan(&quota, counted, cause, 0).map(|status| serde_json::to_value(status).unwrap().to_string());
        want.assert_eq(&told.unwrap_or_default());
    }

    fn counted(group: &str, resource: &str, objects: Vec<Value>) -> Counted {
        (Evaluator::of(group, resource).unwrap(), objects)
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    #[test]
    fn everything_that_the_quota_names_is_counted() {
        let hard = json!({"pods": "5", "requests.cpu": "1", "count/widgets.example.com": "3", "configmaps": "4",
            "count/unknown.example.com": "1"});
        let objects = [
            counted("", "pods", vec![pod("100m"), pod("200m")]),
            counted("", "configmaps", Vec::new()),
            counted("example.com", "widgets", vec![Value::Null, Value::Null]),
        ];
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
        check(
            quota,
            &objects,
            Cause::Anew,
            expect![[
                r#"{"hard":{"configmaps":"4","count/unknown.example.com":"1","count/widgets.example.com":"3","pods":"5","requests.cpu":"1"},"used":{"configmaps":"0","count/widgets.example.com":"2","pods":"2","requests.cpu":"300m"}}"#
            ]],
        );
    }

    #[test]
    fn scopes_choose_pods_and_leave_other_objects_out() {
        let hard = json!({"pods": "5"});
        let quota = json!({"metadata": {}, "spec": {"hard": hard, "scopes": ["BestEffort"]}});
        let best_effort = json!({"spec": {"containers": [{"name": "a"}]}});
        let objects = [counted("", "pods", vec![pod("1"), best_effort])];
        check(quota, &objects, Cause::Anew, expect![[r#"{"hard":{"pods":"5"},"used":{"pods":"1"}}"#]]);
    }

    #[test]
    fn arrivals_raise_and_never_lower_what_admission_has_charged() {
        let quota = |used: &str| {
            let status = json!({"hard": {"configmaps": "5"}, "used": {"configmaps": used}});
            json!({"metadata": {}, "spec": {"hard": {"configmaps": "5"}}, "status": status})
        };
        let objects = [counted("", "configmaps", vec![Value::Null; 2])];
        check(quota("3"), &objects, Cause::Arrival, expect![""]);
        check(
            quota("1"),
            &objects,
            Cause::Arrival,
            expect![[r#"{"hard":{"configmaps":"5"},"used":{"configmaps":"2"}}"#]],
        );
        check(quota("3"), &objects, Cause::Anew, expect![[r#"{"hard":{"configmaps":"5"},"used":{"configmaps":"2"}}"#]]);
        check(quota("2"), &objects, Cause::Anew, expect![""]);
    }
}
