//! Aggregated cluster roles: the union of the rules of the roles that the selectors choose.

use serde_json::Value;

use super::{Rule, rules_of};

/// The rules that `role` should have, given all cluster roles; `None` when it does not aggregate. `matches` judges a
/// label selector against labels.
pub fn aggregated_rules<'a>(
    role: &Value,
    all: impl IntoIterator<Item = &'a Value>,
    matches: impl Fn(&Value, &Value) -> bool,
) -> Option<Vec<Rule>> {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    let own_name = role.pointer("/metadata/name");
    let mut rules: Vec<Rule> = Vec::new();
    for other in all {
        let labels = other.pointer("/metadata/labels").unwrap_or(&Value::Null);
        if other.pointer("/metadata/name") == own_name || !selectors.iter().any(|s| matches(s, labels)) {
            continue;
        }
        for rule in rules_of(other) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    Some(rules)
}
