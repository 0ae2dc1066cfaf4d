//! A Job's pods: what they are made of, and what each means to the Job.

use api::batchv1::Job;
use api::corev1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec};
use api::metav1::ObjectMeta;
use client::Object;

use crate::ownership::reference;
use crate::pods::{annotation, is_deleted, phase};

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// Room for the random end of a generated name.
const PREFIX_MAX: usize = 58;

/// How often pods of an index have failed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IndexFailures {
    pub counted: i32,
    pub ignored: i32,
}

pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// The pod's completion index, when it is one.
pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    annotation(&pod.metadata, INDEX).parse().ok().filter(|index| *index >= 0)
}

pub(super) fn failures_of(pod: &Pod) -> IndexFailures {
    let number = |name| annotation(&pod.metadata, name).parse().unwrap_or(0);
    IndexFailures { counted: number(FAILURES), ignored: number(IGNORED_FAILURES) }
}

/// A pod that is deleted counts as failed, unless replacements wait for its end.
pub(super) fn has_failed(job: &Job, pod: &Pod) -> bool {
    match phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => !replaces_only_failed(job) && is_deleted(&pod.metadata),
    }
}

pub(super) fn replaces_only_failed(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| {
        spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
    })
}

/// A pod from the Job's template.
pub(super) fn new_pod(job: &Job) -> Pod {
    let template = job.spec.clone().unwrap_or_default().template;
    let metadata = template.metadata.unwrap_or_default();
    let mut finalizers = metadata.finalizers.unwrap_or_default();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", job.name())),
            namespace: job.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: Some(finalizers),
            owner_references: Some(vec![reference(job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The pod of one completion index. `failures` is noted where the Job limits them for each index.
pub(super) fn indexed_pod(job: &Job, index: i32, failures: Option<IndexFailures>) -> Pod {
    let mut pod = new_pod(job);
    pod.metadata.generate_name = Some(prefix(job.name(), index));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if let Some(failures) = failures {
        annotations.insert(FAILURES.into(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(IGNORED_FAILURES.into(), failures.ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{}-{index}", job.name()));
    tell_index(spec);
    pod
}

fn prefix(job: &str, index: i32) -> String {
    let end = format!("-{index}-");
    let cut = job.len().min(PREFIX_MAX - end.len());
    format!("{}{end}", &job[..cut])
}

/// Gives every container the index in its environment, unless it says something there itself.
fn tell_index(spec: &mut PodSpec) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let field_ref = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    let source = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    let variable = EnvVar { name: NAME.into(), value: None, value_from: Some(source) };
    let add = |container: &mut Container| {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|known| known.name == NAME) {
            env.push(variable.clone());
        }
    };
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(add);
}
