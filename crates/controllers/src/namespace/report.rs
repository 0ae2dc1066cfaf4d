//! What is left of a namespace, and the conditions that say so.

use std::collections::BTreeMap;

use api::corev1::NamespaceCondition;
use api::metav1::Time;
use client::{ApiResource, PartialObject};
use jiff::Timestamp;

use super::FINALIZERS_SECONDS;

/// What is left in a namespace.
#[derive(Default)]
pub(super) struct Remains {
    /// By resource, as in `secrets.` and `jobs.batch`: how many objects.
    pub objects: BTreeMap<String, usize>,
    /// By finalizer: how many objects it holds.
    pub finalizers: BTreeMap<String, usize>,
    pub failures: Vec<String>,
    /// Groups whose resources could not be learned, and why.
    pub undiscovered: Vec<String>,
    /// How long what is left is expected to take.
    seconds: i64,
}

impl Remains {
    pub fn undiscovered(undiscovered: Vec<String>) -> Self {
        Remains { undiscovered, ..Remains::default() }
    }

    /// Objects that nothing holds up, and that should have been gone, are a failure.
    pub fn note(&mut self, namespace: &str, resource: &ApiResource, left: &[PartialObject], grace: i64) {
        let ApiResource { group, version, name, .. } = resource;
        self.objects.insert(format!("{name}.{group}"), left.len());
        let held = left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten());
        let mut holds = false;
        for finalizer in held {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
            holds = true;
        }
        match grace {
            0 if holds => self.seconds = self.seconds.max(FINALIZERS_SECONDS),
            0 => self.failures.push(format!(
                "unexpected items still remain in namespace: {namespace} for gvr: {group}/{version}, Resource={name}"
            )),
            grace => self.seconds = self.seconds.max(grace),
        }
    }

    /// After how long to look again, if nothing failed; events tell sooner.
    pub fn wait_seconds(&self) -> Option<u64> {
        let waits = self.seconds > 0 && !self.is_uncertain();
        waits.then(|| u64::try_from(self.seconds / 2 + 1).unwrap_or(1))
    }

    /// Whether there may be more than what is known.
    pub fn is_uncertain(&self) -> bool {
        !self.failures.is_empty() || !self.undiscovered.is_empty()
    }

    fn counts(&self) -> Vec<String> {
        self.objects.iter().map(|(resource, count)| format!("{resource} has {count} resource instances")).collect()
    }
}

fn sorted(texts: &[String]) -> Vec<String> {
    let mut texts = texts.to_vec();
    texts.sort();
    texts
}

/// The conditions: kind, whether it holds, reason and message.
pub(super) fn report(remains: &Remains) -> [(&'static str, bool, &'static str, String); 5] {
    let content = format!("Some resources are remaining: {}", remains.counts().join(", "));
    let counts =
        remains.finalizers.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
    let finalizers =
        format!("Some content in the namespace has finalizers remaining: {}", counts.collect::<Vec<_>>().join(", "));
    let failures = format!(
        "Failed to delete all resource types, {} remaining: {}",
        remains.failures.len(),
        sorted(&remains.failures).join(", ")
    );
    let undiscovered = format!(
        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
        remains.undiscovered.len(),
        remains.undiscovered.join(", ")
    );
    let either = |holds: bool, bad: (&'static str, String), good: (&'static str, &str)| {
        if holds { (holds, bad.0, bad.1) } else { (holds, good.0, good.1.to_owned()) }
    };
    let name = |kind, (holds, reason, message)| (kind, holds, reason, message);
    [
        name(
            "NamespaceDeletionDiscoveryFailure",
            either(
                !remains.undiscovered.is_empty(),
                ("DiscoveryFailed", undiscovered),
                ("ResourcesDiscovered", "All resources successfully discovered"),
            ),
        ),
        name(
            "NamespaceDeletionGroupVersionParsingFailure",
            either(false, ("", String::new()), ("ParsedGroupVersions", "All legacy kube types successfully parsed")),
        ),
        name(
            "NamespaceDeletionContentFailure",
            either(
                !remains.failures.is_empty(),
                ("ContentDeletionFailed", failures),
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
        ),
        name(
            "NamespaceContentRemaining",
            either(
                !remains.objects.is_empty(),
                ("SomeResourcesRemain", content),
                ("ContentRemoved", "All content successfully removed"),
            ),
        ),
        name(
            "NamespaceFinalizersRemaining",
            either(
                !remains.finalizers.is_empty(),
                ("SomeFinalizersRemain", finalizers),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ),
    ]
}

pub(super) fn set(conditions: &mut Vec<NamespaceCondition>, kind: &str, holds: bool, reason: &str, message: String) {
    let status = if holds { "True" } else { "False" };
    let at = conditions.iter().position(|condition| condition.type_ == kind);
    let same = at.is_some_and(|at| conditions[at].status == status);
    let now = Timestamp::now();
    let since = match at {
        Some(at) if same => conditions[at].last_transition_time.clone(),
        _ => Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
    };
    let condition = NamespaceCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: since,
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn resource(group: &str, name: &str) -> ApiResource {
        let text = |text: &str| text.to_owned();
        ApiResource {
            group: text(group),
            version: text("v1"),
            kind: text("Any"),
            name: text(name),
            namespaced: true,
            verbs: Vec::new(),
        }
    }

    fn objects(finalizers: &[&str]) -> Vec<PartialObject> {
        vec![serde_json::from_value(json!({"metadata": {"name": "a", "finalizers": finalizers}})).unwrap()]
    }

    fn told(remains: &Remains) -> String {
        let bad = report(remains).into_iter().filter(|(_, holds, ..)| *holds);
        bad.map(|(kind, _, reason, message)| format!("{kind} {reason}: {message}\n")).collect()
    }

    #[test]
    fn finalizers_are_waited_for_and_named() {
        let mut remains = Remains::default();
        remains.note("ns", &resource("", "secrets"), &objects(&["example.com/hold"]), 0);
        remains.note("ns", &resource("", "pods"), &objects(&[]), 30);
        assert_eq!(remains.wait_seconds(), Some(16));
        expect![[r#"
            NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances, secrets. has 1 resource instances
            NamespaceFinalizersRemaining SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances
        "#]]
        .assert_eq(&told(&remains));
    }

    #[test]
    fn what_should_be_gone_is_a_failure() {
        let mut remains = Remains::default();
        remains.note("ns", &resource("batch", "jobs"), &objects(&[]), 0);
        assert!(remains.is_uncertain() && remains.wait_seconds().is_none());
        expect![[r#"
            NamespaceDeletionContentFailure ContentDeletionFailed: Failed to delete all resource types, 1 remaining: unexpected items still remain in namespace: ns for gvr: batch/v1, Resource=jobs
            NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: jobs.batch has 1 resource instances
        "#]]
        .assert_eq(&told(&remains));
    }
}
