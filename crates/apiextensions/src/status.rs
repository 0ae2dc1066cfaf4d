//! Which names a definition gets, and the conditions that tell about it.
//!
//! [`plan`] is one step: write its status, and ask again. A definition is served from the step on that accepts its names, and
//! is `Established` in the next.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::definition::{Approval, approval, check_structural, form, is_protected_group};
use crate::json::{entries, field, list, text};
use crate::structural::Structural;
use apimachinery::field::Path;

/// Keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Condition {
    fn new(kind: &'static str, status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status, reason: reason.into(), message: message.into() }
    }

    fn stands_in(&self, status: &Value) -> bool {
        found(status, self.kind).is_some_and(|old| {
            text(old, "status") == self.status
                && text(old, "reason") == self.reason
                && text(old, "message") == self.message
        })
    }
}

fn found<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    list(status, "conditions").iter().find(|condition| text(condition, "type") == kind)
}

/// The next status of a definition, `None` when it says all already. `others` are the other definitions.
pub fn plan(definition: &Value, others: &[&Value], now: &str) -> Option<Value> {
    let mut status = definition.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    let before = status.clone();
    let names_were_accepted = form::condition_is_true(definition, "NamesAccepted");
    if !same_names(&definition["spec"]["names"], &before["acceptedNames"]) {
        accept(definition, others, &mut status, now);
    }
    if names_were_accepted && status == before && !form::condition_is_true(definition, "Established") {
        let message = "the initial names have been accepted";
        set(&mut status, &Condition::new("Established", "True", "InitialNamesAccepted", message), now);
    }
    match structural_condition(definition) {
        Some(condition) => set(&mut status, &condition, now),
        None => remove(&mut status, "NonStructuralSchema"),
    }
    if let Some(condition) = approval_condition(definition) {
        set(&mut status, &condition, now);
    }
    (status != before).then_some(status)
}

/// The status of a definition that ends: `step` is the reason of the condition, `InstanceDeletionInProgress`,
/// `InstanceDeletionFailed`, `InstanceDeletionCheck` or `InstanceDeletionCompleted`.
pub fn terminating(definition: &Value, step: &str, message: &str, now: &str) -> Value {
    let mut status = definition.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    let going_on =
        ["InstanceDeletionPending", "InstanceDeletionInProgress", "InstanceDeletionFailed", "InstanceDeletionCheck"];
    let state = if going_on.contains(&step) { "True" } else { "False" };
    set(&mut status, &Condition::new("Terminating", state, step, message), now);
    status
}

fn same_names(wanted: &Value, accepted: &Value) -> bool {
    let plain = |names: &Value| -> Vec<(String, Value)> {
        let all = names.as_object().into_iter().flatten();
        let kept = all.filter(|(_, value)| !value.is_null() && **value != json!([]) && **value != json!(""));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    plain(wanted) == plain(accepted)
}

/// Names that other definitions of the group have.
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn by(others: &[&Value], group: &str) -> Self {
        let mut taken = Self { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        for other in others.iter().filter(|other| text(&other["spec"], "group") == group) {
            let names = &other["status"]["acceptedNames"];
            taken.resources.extend(["plural", "singular"].map(|name| text(names, name).to_owned()));
            taken.resources.extend(list(names, "shortNames").iter().filter_map(Value::as_str).map(str::to_owned));
            taken.kinds.extend(["kind", "listKind"].map(|name| text(names, name).to_owned()));
        }
        taken
    }
}

fn in_use(wanted: &str, accepted: &str, taken: &BTreeSet<String>) -> Option<String> {
    (wanted != accepted && taken.contains(wanted)).then(|| format!("{wanted:?} is already in use"))
}

/// Accepts the names that are free. The last conflict is the one that is told.
fn accept(definition: &Value, others: &[&Value], status: &mut Value, now: &str) {
    let spec = &definition["spec"];
    let (wanted, taken) = (&spec["names"], Taken::by(others, text(spec, "group")));
    let accepted = status["acceptedNames"].clone();
    let mut names = if accepted.is_object() { accepted.clone() } else { json!({}) };
    let mut conflict = None;
    for (name, reason, used) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let why = match name {
            "shortNames" => short_names_in_use(wanted, &accepted, used),
            _ => in_use(text(wanted, name), text(&accepted, name), used),
        };
        match why {
            Some(why) => conflict = Some((reason, why)),
            None => copy(wanted, &mut names, name),
        }
    }
    copy(wanted, &mut names, "categories");
    let condition = match &conflict {
        Some((reason, why)) => Condition::new("NamesAccepted", "False", reason, why.as_str()),
        None => Condition::new("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
    };
    if names == accepted && condition.stands_in(status) {
        return;
    }
    status["acceptedNames"] = names;
    set(status, &condition, now);
    if found(status, "Established").is_some_and(|old| text(old, "status") == "True") {
        return;
    }
    let established = match conflict {
        None => Condition::new("Established", "False", "Installing", "the initial names have been accepted"),
        Some(_) if found(status, "Established").is_some() => return,
        Some(_) => Condition::new("Established", "False", "NotAccepted", "not all names are accepted"),
    };
    set(status, &established, now);
}

fn short_names_in_use(wanted: &Value, accepted: &Value, taken: &BTreeSet<String>) -> Option<String> {
    let ours = list(accepted, "shortNames");
    let wanted = list(wanted, "shortNames").iter().filter(|name| !ours.contains(name)).filter_map(Value::as_str);
    let conflicts: Vec<String> = wanted.filter_map(|name| in_use(name, "", taken)).collect();
    match conflicts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(format!("[{}]", all.join(", "))),
    }
}

fn copy(from: &Value, to: &mut Value, name: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match field(from, name) {
        Some(value) => drop(map.insert(name.into(), value.clone())),
        None => drop(map.remove(name)),
    }
}

/// Only definitions of old releases can have such a schema.
fn structural_condition(definition: &Value) -> Option<Condition> {
    let mut errors = Vec::new();
    if form::preserves_unknown_fields(definition) {
        errors.push("spec.preserveUnknownFields: Invalid value: true: must be false".to_owned());
    }
    for (index, version) in list(&definition["spec"], "versions").iter().enumerate() {
        let Some(schema) = field(&version["schema"], "openAPIV3Schema") else { continue };
        if let Err(why) = Structural::compile(schema) {
            let message = format!("failed to check validation schema for version {}: {why}", text(version, "name"));
            return Some(Condition::new("NonStructuralSchema", "Unknown", "StructuralError", message));
        }
        let path = Path::new("spec.versions").index(index).child("schema").child("openAPIV3Schema");
        errors.extend(check_structural(schema, &path).iter().map(ToString::to_string));
    }
    let message = match errors.as_slice() {
        [] => return None,
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    Some(Condition::new("NonStructuralSchema", "True", "Violations", message))
}

fn approval_condition(definition: &Value) -> Option<Condition> {
    if !is_protected_group(text(&definition["spec"], "group")) {
        return None;
    }
    let (state, why) = approval(definition);
    let (status, reason) = match state {
        Approval::Invalid => ("False", "InvalidAnnotation"),
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
    };
    Some(Condition::new("KubernetesAPIApprovalPolicyConformant", status, reason, why))
}

/// The time of a transition moves with the status only.
fn set(status: &mut Value, condition: &Condition, now: &str) {
    if condition.stands_in(status) {
        return;
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let known = all.iter_mut().find(|known| text(known, "type") == condition.kind);
    let since = known.as_deref().filter(|known| text(known, "status") == condition.status);
    let since = since.map(|known| text(known, "lastTransitionTime").to_owned()).filter(|since| !since.is_empty());
    let value = json!({
        "type": condition.kind, "status": condition.status, "reason": condition.reason, "message": condition.message,
        "lastTransitionTime": since.unwrap_or_else(|| now.to_owned()),
    });
    match known {
        Some(known) => *known = value,
        None => all.push(value),
    }
}

fn remove(status: &mut Value, kind: &str) {
    if let Some(all) = status["conditions"].as_array_mut() {
        all.retain(|condition| text(condition, "type") != kind);
    }
}

/// The status in a line, for people.
pub fn summary(status: &Value) -> String {
    let names =
        entries(status, "acceptedNames").map(|(name, value)| format!("{name}={}", value.to_string().replace('"', "")));
    let conditions = list(status, "conditions").iter();
    let conditions = conditions.map(|c| format!("{}={} {}", text(c, "type"), text(c, "status"), text(c, "reason")));
    format!("{} | {}", names.collect::<Vec<_>>().join(" "), conditions.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn definition(plural: &str, kind: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "names":
            {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")}}})
    }

    /// Steps until nothing is left to say.
    fn settle(definition: &mut Value, others: &[&Value]) -> String {
        let mut steps = String::new();
        while let Some(status) = plan(definition, others, "t") {
            steps.push_str(&format!("{}\n", summary(&status)));
            definition["status"] = status;
        }
        steps
    }

    fn check(steps: &str, expected: Expect) {
        expected.assert_eq(steps);
    }

    #[test]
    fn names_are_accepted_and_then_the_definition_is_established() {
        check(
            &settle(&mut definition("widgets", "Widget"), &[]),
            expect![[r#"
            kind=Widget listKind=WidgetList plural=widgets singular=widget | NamesAccepted=True NoConflicts, Established=False Installing
            kind=Widget listKind=WidgetList plural=widgets singular=widget | NamesAccepted=True NoConflicts, Established=True InitialNamesAccepted
        "#]],
        );
    }

    #[test]
    fn names_in_use_are_not_accepted_until_they_are_free() {
        let mut first = definition("widgets", "Widget");
        settle(&mut first, &[]);
        let mut second = definition("gadgets", "Widget");
        check(
            &settle(&mut second, &[&first]),
            expect![[r#"
            plural=gadgets | NamesAccepted=False ListKindConflict, Established=False NotAccepted
        "#]],
        );
        check(
            &settle(&mut second, &[]),
            expect![[r#"
            kind=Widget listKind=WidgetList plural=gadgets singular=widget | NamesAccepted=True NoConflicts, Established=False Installing
            kind=Widget listKind=WidgetList plural=gadgets singular=widget | NamesAccepted=True NoConflicts, Established=True InitialNamesAccepted
        "#]],
        );
    }
}
