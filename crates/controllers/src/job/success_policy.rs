//! Whether the indexes that succeeded are enough.

use api::batchv1::{SuccessPolicy, SuccessPolicyRule};

use super::indexes::Indexes;

/// The message of the first rule that is met.
pub(super) fn met(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    if succeeded.total() == 0 {
        return None;
    }
    let rule = policy?.rules.iter().position(|rule| is_met(rule, completions, succeeded))?;
    Some(format!("Matched rules at index {rule}"))
}

fn is_met(rule: &SuccessPolicyRule, completions: i32, succeeded: &Indexes) -> bool {
    let required = rule.succeeded_indexes.as_ref().map(|text| Indexes::parse(text, completions));
    match (required, rule.succeeded_count) {
        (Some(required), Some(count)) => required.common(succeeded) >= count,
        (Some(required), None) => required.common(succeeded) == required.total(),
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_wants_indexes_or_a_number_or_a_number_of_indexes() {
        let rules = json!({"rules": [{"succeededIndexes": "0-2"}, {"succeededIndexes": "5-9", "succeededCount": 2}, {"succeededCount": 6}]});
        let policy: SuccessPolicy = serde_json::from_value(rules).expect("a policy");
        let check = |succeeded: &str| met(Some(&policy), 10, &Indexes::parse(succeeded, 10));
        assert_eq!(check("0,1"), None);
        assert_eq!(check("0-2"), Some("Matched rules at index 0".into()));
        assert_eq!(check("5,9"), Some("Matched rules at index 1".into()));
        assert_eq!(check("0,1,3-5"), None);
        assert_eq!(check("0,1,3-6"), Some("Matched rules at index 1".into()));
        assert_eq!(check(""), None);
    }
}
