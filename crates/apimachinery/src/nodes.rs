//! Which nodes a pod may be on: node selectors, affinity, taints and tolerations. The scheduler, the DaemonSet controller and
//! the kubelet judge by the same rules.

use std::collections::BTreeMap;

use api::corev1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

/// Whether one of the tolerations covers the taint.
pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| covers(toleration, taint))
}

pub fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let (value, wanted) = (toleration.value.as_deref().unwrap_or_default(), taint.value.as_deref().unwrap_or_default());
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => !key.is_empty() && value == wanted,
        "Lt" => compare(wanted, value, |taint, limit| taint < limit),
        "Gt" => compare(wanted, value, |taint, limit| taint > limit),
        _ => false,
    }
}

fn compare(taint: &str, limit: &str, holds: fn(i64, i64) -> bool) -> bool {
    taint.parse().ok().zip(limit.parse().ok()).is_some_and(|(taint, limit)| holds(taint, limit))
}

/// The first of the node's taints with one of these effects that the tolerations do not cover.
pub fn untolerated<'a>(node: &'a Node, tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.filter(|taint| effects.contains(&taint.effect.as_str())).find(|taint| !tolerated(taint, tolerations))
}

/// Whether the pod's node selector and its required node affinity allow the node.
pub fn allows(pod: &PodSpec, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected = pod.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| selects(required, node))
}

/// Whether one of the selector's terms matches. A selector without terms matches nothing.
pub fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Whether all of the term's requirements hold. An empty term matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| holds(requirement, field(&requirement.key)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let contained = value.is_some_and(|value| values.iter().any(|known| known == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let numbers = number(value).zip(number(values.first().map(String::as_str)));
    match requirement.operator.as_str() {
        "In" => contained,
        "NotIn" => !contained,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers.is_some_and(|(value, limit)| value > limit),
        "Lt" => numbers.is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (key, operator) = (some(key), some(operator));
        Toleration { key, operator, value: some(value), effect: some(effect), ..Toleration::default() }
    }

    #[test]
    fn a_toleration_covers_by_key_value_and_effect() {
        let taint = Taint { key: "a".into(), value: Some("1".into()), effect: "NoSchedule".into(), ..Taint::default() };
        let covered =
            [("a", "", "1", ""), ("a", "Exists", "", "NoSchedule"), ("", "Exists", "", ""), ("a", "Lt", "2", "")];
        let not = [
            ("a", "", "2", ""),
            ("a", "Exists", "", "NoExecute"),
            ("b", "Exists", "", ""),
            ("", "", "", ""),
            ("a", "Gt", "2", ""),
        ];
        for (key, operator, value, effect) in covered {
            assert!(covers(&toleration(key, operator, value, effect), &taint), "{key} {operator} {value} {effect}");
        }
        for (key, operator, value, effect) in not {
            assert!(!covers(&toleration(key, operator, value, effect), &taint), "{key} {operator} {value} {effect}");
        }
    }
}
