//! Lists of tolerations: which of them say more than others, and what remains when lists are joined.

use serde_json::Value;

/// A toleration's fields. Absent text is empty text.
#[derive(PartialEq)]
struct Toleration<'a> {
    key: &'a str,
    operator: &'a str,
    value: &'a str,
    effect: &'a str,
    seconds: Option<i64>,
}

impl<'a> Toleration<'a> {
    fn of(value: &'a Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default();
        Self {
            key: text("key"),
            operator: text("operator"),
            value: text("value"),
            effect: text("effect"),
            seconds: value["tolerationSeconds"].as_i64(),
        }
    }

    /// Whether all that the other tolerates is tolerated.
    fn covers(&self, other: &Self) -> bool {
        self == other
            || self.covers_key(other) && self.covers_effect(other) && self.lasts_for(other) && self.covers_value(other)
    }

    fn covers_key(&self, other: &Self) -> bool {
        self.key == other.key || self.key.is_empty() && self.operator == "Exists"
    }

    fn covers_effect(&self, other: &Self) -> bool {
        self.effect.is_empty() || self.effect == other.effect
    }

    fn lasts_for(&self, other: &Self) -> bool {
        match self.seconds.filter(|_| self.effect == "NoExecute") {
            Some(own) => other.seconds.is_some_and(|seconds| seconds <= own),
            None => true,
        }
    }

    fn covers_value(&self, other: &Self) -> bool {
        match self.operator {
            "" | "Equal" => other.operator == "Equal" && self.value == other.value,
            "Exists" => true,
            _ => false,
        }
    }
}

/// Both lists in order, without those that another one covers. Of equal ones the first stays.
pub fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut merged: Vec<Value> = Vec::new();
    for (index, value) in all.iter().enumerate() {
        let one = Toleration::of(value);
        let before = merged.iter().any(|kept| Toleration::of(kept).covers(&one));
        let after = all[index + 1..].iter().map(|later| Toleration::of(later));
        if !before && !after.into_iter().any(|later| later != one && later.covers(&one)) {
            merged.push((*value).clone());
        }
    }
    merged
}

/// Whether each toleration is covered by one of the list. An empty list allows everything.
pub fn all_within(tolerations: &[Value], allowed: &[Value]) -> bool {
    let is_allowed = |one: &Value| allowed.iter().any(|other| Toleration::of(other).covers(&Toleration::of(one)));
    allowed.is_empty() || tolerations.iter().all(is_allowed)
}

/// What a pod tolerates.
pub fn of_pod(pod: &Value) -> &[Value] {
    pod.pointer("/spec/tolerations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_toleration_that_another_covers_is_left_out() {
        let gpu = json!({"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"});
        let any_gpu = json!({"key": "gpu", "operator": "Exists"});
        let brief = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        let everything = json!({"operator": "Exists"});
        let list = |values: &[&Value]| values.iter().map(|value| (*value).clone()).collect::<Vec<_>>();
        assert_eq!(merge(&list(&[&gpu]), &list(&[&any_gpu, &gpu])), list(&[&any_gpu]));
        assert_eq!(merge(&list(&[&brief, &gpu]), &list(&[&long])), list(&[&gpu, &long]));
        assert_eq!(merge(&list(&[&gpu, &long]), &list(&[&everything])), list(&[&everything]));
        assert_eq!(merge(&list(&[&gpu]), &list(&[&gpu])), list(&[&gpu]));
    }

    #[test]
    fn an_absent_operator_covers_only_what_says_equal() {
        let silent = [json!({"key": "a", "value": "v"})];
        let spoken = [json!({"key": "a", "operator": "Equal", "value": "v"})];
        let exists = [json!({"key": "a", "operator": "Exists"})];
        assert!(all_within(&spoken, &silent) && all_within(&silent, &silent) && all_within(&exists, &[]));
        assert!(!all_within(&exists, &silent) && !all_within(&silent, &spoken));
    }
}
