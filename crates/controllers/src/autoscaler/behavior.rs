//! How fast a target may grow and shrink.

use api::autoscalingv2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};
use jiff::{SignedDuration, Timestamp};

/// Without a behavior, a target shrinks to the highest recommendation of so many seconds.
const DOWN_WINDOW: i32 = 300;

/// What was recommended and done before, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub recommendations: Vec<(Timestamp, i32)>,
    pub ups: Vec<(Timestamp, i32)>,
    pub downs: Vec<(Timestamp, i32)>,
}

impl Memory {
    /// The target was scaled.
    pub fn note(&mut self, now: Timestamp, from: i32, to: i32) {
        let events = if to > from { &mut self.ups } else { &mut self.downs };
        // No policy looks further back than half an hour.
        events.retain(|(at, _)| *at > now - SignedDuration::from_mins(30));
        events.push((now, (to - from).abs()));
    }
}

/// A number of pods, and what the conditions `AbleToScale` and `ScalingLimited` say of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub replicas: i32,
    pub able: (&'static str, &'static str),
    pub is_limited: bool,
    pub limit: (&'static str, &'static str),
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FAST: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

/// Brings what the metrics ask for within the limits.
pub(super) fn limit(
    spec: &HorizontalPodAutoscalerSpec,
    memory: &mut Memory,
    current: i32,
    wanted: i32,
    now: Timestamp,
) -> Limited {
    let up = spec.behavior.as_ref().map(|behavior| behavior.scale_up.clone().unwrap_or_default());
    let down = spec.behavior.as_ref().map(|behavior| behavior.scale_down.clone().unwrap_or_default());
    let stabilized = stabilize(memory, up.as_ref(), down.as_ref(), current, wanted, now);
    let able = match stabilized == wanted {
        true => READY,
        false if up.is_some() && wanted >= current => UP_STABILIZED,
        false => DOWN_STABILIZED,
    };
    let min = spec.min_replicas.unwrap_or(1);
    let (fastest, slowest) = match (&up, &down) {
        (Some(up), Some(down)) => (max_after(up, memory, current, now), min_after(down, memory, current, now)),
        _ => ((current.saturating_mul(2)).max(4), i32::MIN),
    };
    let (replicas, limit) = match () {
        () if stabilized > spec.max_replicas.min(fastest) && fastest < spec.max_replicas => (fastest, TOO_FAST),
        () if stabilized > spec.max_replicas => (spec.max_replicas, TOO_MANY),
        () if stabilized < min.max(slowest) && slowest > min => (slowest, TOO_FAST_DOWN),
        () if stabilized < min => (min, TOO_FEW),
        () => (stabilized, WITHIN),
    };
    Limited { replicas, able, is_limited: replicas != stabilized, limit }
}

/// The lowest recent recommendation when growing, the highest when shrinking.
fn stabilize(
    memory: &mut Memory,
    up: Option<&HPAScalingRules>,
    down: Option<&HPAScalingRules>,
    current: i32,
    wanted: i32,
    now: Timestamp,
) -> i32 {
    if memory.recommendations.is_empty() {
        memory.recommendations.push((now, current));
    }
    let window = |rules: Option<&HPAScalingRules>, default| {
        let seconds = rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(default);
        SignedDuration::from_secs(i64::from(seconds))
    };
    let (up_window, down_window) = (window(up, 0), window(down, DOWN_WINDOW));
    let recent = |window: SignedDuration| {
        memory.recommendations.iter().filter(move |(at, _)| *at > now - window).map(|(_, replicas)| *replicas)
    };
    let low = recent(up_window).fold(wanted, i32::min);
    let high = recent(down_window).fold(wanted, i32::max);
    memory.recommendations.push((now, wanted));
    memory.recommendations.retain(|(at, _)| *at >= now - up_window.max(down_window));
    if up.is_none() { high } else { current.max(low).min(high) }
}

fn change(events: &[(Timestamp, i32)], policy: &HPAScalingPolicy, now: Timestamp) -> i32 {
    let period = SignedDuration::from_secs(i64::from(policy.period_seconds));
    events.iter().filter(|(at, _)| *at > now - period).map(|(_, change)| change).sum()
}

fn policies(rules: &HPAScalingRules, grows: bool) -> Vec<HPAScalingPolicy> {
    let policy = |type_: &str, value| HPAScalingPolicy { period_seconds: 15, type_: type_.into(), value };
    match &rules.policies {
        Some(policies) if !policies.is_empty() => policies.clone(),
        _ if grows => vec![policy("Pods", 4), policy("Percent", 100)],
        _ => vec![policy("Percent", 100)],
    }
}

fn max_after(rules: &HPAScalingRules, memory: &Memory, current: i32, now: Timestamp) -> i32 {
    let after = |policy: &HPAScalingPolicy| {
        let start = current - change(&memory.ups, policy, now) + change(&memory.downs, policy, now);
        if policy.type_ == "Pods" {
            return start.saturating_add(policy.value);
        }
        super::calculator::ceil(f64::from(start) * (1.0 + f64::from(policy.value) / 100.0))
    };
    let policies = policies(rules, true);
    let limits = policies.iter().map(after);
    let limit = match rules.select_policy.as_deref() {
        Some("Disabled") => None,
        Some("Min") => limits.min(),
        _ => limits.max(),
    };
    limit.unwrap_or(current).max(current)
}

fn min_after(rules: &HPAScalingRules, memory: &Memory, current: i32, now: Timestamp) -> i32 {
    let after = |policy: &HPAScalingPolicy| {
        let start = current - change(&memory.ups, policy, now) + change(&memory.downs, policy, now);
        if policy.type_ == "Pods" {
            return start.saturating_sub(policy.value);
        }
        // Down to the whole below.
        i32::try_from(i64::from(start) * i64::from(100 - policy.value) / 100).unwrap_or(0)
    };
    let policies = policies(rules, false);
    let limits = policies.iter().map(after);
    let limit = match rules.select_policy.as_deref() {
        Some("Disabled") => None,
        Some("Min") => limits.max(),
        _ => limits.min(),
    };
    limit.unwrap_or(current).min(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(
        behavior: Value,
        memory: &mut Memory,
        second: i64,
        current: i32,
        wanted: i32,
    ) -> (i32, &'static str, &'static str) {
        let spec = json!({"maxReplicas": 20, "minReplicas": 2, "behavior": behavior, "scaleTargetRef": {"kind": "Deployment", "name": "d"}});
        let spec: HorizontalPodAutoscalerSpec = serde_json::from_value(spec).expect("a spec");
        let limited =
            limit(&spec, memory, current, wanted, Timestamp::from_second(1_000_000 + second).expect("in range"));
        (limited.replicas, limited.able.0, limited.limit.0)
    }

    #[test]
    fn without_a_behavior_growth_doubles_and_shrinking_waits() {
        let mut memory = Memory::default();
        let mut at = |second, current, wanted| check(Value::Null, &mut memory, second, current, wanted);
        assert_eq!(at(0, 3, 15), (6, "ReadyForNewScale", "ScaleUpLimit"));
        assert_eq!(at(15, 15, 30), (20, "ReadyForNewScale", "TooManyReplicas"));
        assert_eq!(at(30, 20, 1), (20, "ScaleDownStabilized", "TooManyReplicas"));
        assert_eq!(at(400, 20, 1), (2, "ReadyForNewScale", "TooFewReplicas"));
    }

    #[test]
    fn policies_count_what_was_done_in_their_period() {
        let behavior = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}, "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]}});
        let mut memory = Memory::default();
        assert_eq!(check(behavior.clone(), &mut memory, 0, 4, 10), (6, "ReadyForNewScale", "ScaleUpLimit"));
        memory.ups.push((Timestamp::from_second(1_000_000).expect("in range"), 2));
        assert_eq!(check(behavior.clone(), &mut memory, 30, 6, 10), (6, "ReadyForNewScale", "ScaleUpLimit"));
        assert_eq!(check(behavior, &mut memory, 90, 8, 3), (4, "ReadyForNewScale", "ScaleDownLimit"));
    }
}
