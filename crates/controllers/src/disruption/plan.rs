//! How many pods of a budget may be disrupted, decided from what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::Pod;
use api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use api::metav1::{Condition, Time};
use api::policyv1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use apimachinery::labels::Selector;
use client::Object;
use jiff::{SignedDuration, Timestamp};

use crate::deployment::scaled;
use crate::pods::{is_deleted, is_ready, seconds, selector};

/// An eviction that was granted and shows no deletion for so long has failed.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionAllowed";

pub(super) struct Plan {
    pub status: PodDisruptionBudgetStatus,
    /// Pods whose eviction was granted and that are still there.
    pub not_deleted: Vec<Arc<Pod>>,
    pub check_again: Option<Duration>,
}

pub(super) fn pod_selector(budget: &PodDisruptionBudget) -> Selector {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.map_or_else(Selector::nothing, selector)
}

/// Whether the budget is a share of what the pods' owners want.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    budget.spec.as_ref().is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// `scale`: what the pods' owners want together, where the budget depends on it.
pub(super) fn plan(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], scale: Option<i32>, now: Timestamp) -> Plan {
    let spec = budget.spec.clone().unwrap_or_default();
    let (expected, desired) = expected(&spec, i32::try_from(pods.len()).unwrap_or(i32::MAX), scale.unwrap_or(0));
    let disrupted = Disrupted::of(budget, pods, now);
    let waits = |pod: &Pod| disrupted.waiting.contains_key(pod.name());
    let healthy = pods.iter().filter(|pod| !is_deleted(&pod.metadata) && !waits(pod) && is_ready(pod)).count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    // Without any pod none may go: the first ones may appear before this is seen again.
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.waiting.is_empty()).then_some(disrupted.waiting),
        observed_generation: budget.metadata.generation,
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    set_condition(&mut status, allowed > 0, reason, "", now);
    Plan { status, not_deleted: disrupted.expired, check_again: disrupted.check_again }
}

/// What is written when the budget cannot be judged: nothing may go.
pub(super) fn failed(budget: &PodDisruptionBudget, message: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, false, "SyncFailed", message, now);
    status
}

/// How many pods there are to be, and how many of them healthy.
fn expected(spec: &PodDisruptionBudgetSpec, pods: i32, scale: i32) -> (i32, i32) {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => (scale, (scale - scaled(max, scale, true)).max(0)),
        (None, Some(IntOrString::Int(min))) => (pods, *min),
        (None, Some(min)) => (scale, scaled(min, scale, true)),
        (None, None) => (0, 0),
    }
}

/// Pods whose eviction was granted.
#[derive(Default)]
struct Disrupted {
    waiting: BTreeMap<String, Time>,
    expired: Vec<Arc<Pod>>,
    check_again: Option<Duration>,
}

impl Disrupted {
    fn of(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], now: Timestamp) -> Self {
        let mut disrupted = Disrupted::default();
        let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
        for pod in pods.iter().filter(|pod| !is_deleted(&pod.metadata)) {
            let Some(since) = known.get(pod.name()) else { continue };
            let Some(left) = Duration::try_from(since.0 + DELETION_TIMEOUT - now).ok().filter(|left| !left.is_zero())
            else {
                disrupted.expired.push(pod.clone());
                continue;
            };
            disrupted.waiting.insert(pod.name().to_owned(), since.clone());
            disrupted.check_again = disrupted.check_again.into_iter().chain([left]).min();
        }
        disrupted
    }
}

fn set_condition(status: &mut PodDisruptionBudgetStatus, allowed: bool, reason: &str, message: &str, now: Timestamp) {
    let mut wanted = Condition {
        type_: CONDITION.into(),
        status: if allowed { "True" } else { "False" }.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: status.observed_generation,
        last_transition_time: seconds(now),
    };
    let conditions = status.conditions.get_or_insert_default();
    let Some(known) = conditions.iter_mut().find(|condition| condition.type_ == CONDITION) else {
        conditions.push(wanted);
        return;
    };
    if known.status == wanted.status {
        wanted.last_transition_time = known.last_transition_time.clone();
    }
    *known = wanted;
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    const NOW: &str = "2027-01-15T08:00:00Z";

    fn pod(words: &str) -> Arc<Pod> {
        let name = words.split_whitespace().next().expect("a name");
        let mut pod = json!({"metadata": {"name": name}});
        if words.contains("ready") {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        }
        if words.contains("deleted") {
            pod["metadata"]["deletionTimestamp"] = NOW.into();
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn check(spec: Value, disrupted: Value, scale: Option<i32>, pods: &[&str], want: Expect) {
        let budget =
            json!({"metadata": {"name": "b", "generation": 1}, "spec": spec, "status": {"disruptedPods": disrupted}});
        let budget: PodDisruptionBudget = serde_json::from_value(budget).expect("a budget");
        let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
        let plan = plan(&budget, &pods, scale, NOW.parse().expect("a time"));
        let status = plan.status;
        let waiting: Vec<_> = status.disrupted_pods.iter().flatten().map(|(name, _)| name.as_str()).collect();
        let expired: Vec<_> = plan.not_deleted.iter().map(|pod| pod.name()).collect();
        let number = |number: Option<i32>| number.expect("a number");
        want.assert_eq(&format!(
            "{} of {} healthy, {} wanted, {} may go: {}; waiting {waiting:?} expired {expired:?} again {:?}",
            number(status.current_healthy),
            number(status.expected_pods),
            number(status.desired_healthy),
            number(status.disruptions_allowed),
            status.conditions.expect("conditions")[0].reason,
            plan.check_again,
        ));
    }

    #[test]
    fn a_number_is_of_the_pods_and_a_share_is_of_what_their_owners_want() {
        let three = ["a ready", "b ready", "c"];
        check(
            json!({"minAvailable": 1}),
            json!({}),
            None,
            &three,
            expect!["2 of 3 healthy, 1 wanted, 1 may go: SufficientPods; waiting [] expired [] again None"],
        );
        check(
            json!({"minAvailable": "50%"}),
            json!({}),
            Some(5),
            &three,
            expect!["2 of 5 healthy, 3 wanted, 0 may go: InsufficientPods; waiting [] expired [] again None"],
        );
        check(
            json!({"maxUnavailable": 1}),
            json!({}),
            Some(2),
            &three,
            expect!["2 of 2 healthy, 1 wanted, 1 may go: SufficientPods; waiting [] expired [] again None"],
        );
        check(
            json!({"minAvailable": 0}),
            json!({}),
            None,
            &[],
            expect!["0 of 0 healthy, 0 wanted, 0 may go: InsufficientPods; waiting [] expired [] again None"],
        );
    }

    #[test]
    fn a_granted_eviction_counts_until_it_shows_or_expires() {
        let disrupted =
            json!({"a": "2027-01-15T07:59:00Z", "b": "2027-01-15T07:57:00Z", "c": "2027-01-15T07:59:30Z", "gone": NOW});
        let pods = ["a ready", "b ready", "c ready deleted", "d ready"];
        check(
            json!({"minAvailable": 1}),
            disrupted,
            None,
            &pods,
            expect![[
                r#"2 of 4 healthy, 1 wanted, 1 may go: SufficientPods; waiting ["a"] expired ["b"] again Some(60s)"#
            ]],
        );
    }

    #[test]
    fn a_budget_that_cannot_be_judged_allows_nothing() {
        let budget: PodDisruptionBudget =
            serde_json::from_value(json!({"metadata": {"name": "b"}, "status": {"disruptionsAllowed": 3}}))
                .expect("a budget");
        let status = failed(&budget, "found no controllers for pod \"a\"", NOW.parse().expect("a time"));
        let condition = &status.conditions.expect("conditions")[0];
        assert_eq!((status.disruptions_allowed, condition.reason.as_str()), (Some(0), "SyncFailed"));
    }
}
