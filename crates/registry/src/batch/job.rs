//! Jobs.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::labels::Selector;
use apimachinery::validation::{is_dns1123_label, label_selector};
use apimachinery::{object, table};
use serde_json::{Map, Value};

use super::{policies, status, template_change};
use crate::at::At;
use crate::cells::{containers, int, list, name, selector};
use crate::defaults::{items, object as child, present, set, set_pointer};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, reset_status};

pub struct Job;

const POLICIES: [&str; 2] = ["Never", "OnFailure"];

impl Strategy for Job {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::pod_spec::workload_warnings(&crate::at::At::root(new), old, "spec.template", true)
    }

    fn prepare_for_create(&self, job: &mut Value, _context: &Context<'_>) {
        reset_status(job);
        generate_selector(job);
    }

    fn default(&self, job: &mut Value) {
        let labels = job.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object()).cloned();
        if let Some(labels) = labels {
            object::metadata_mut(job).entry("labels").or_insert(labels);
        }
        if let Some(spec) = child(job, "spec") {
            default_spec(spec);
        }
    }

    fn validate(&self, job: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        generated_selector(job, &mut errors);
        own_spec(&At::root(job).at("spec"), &mut errors);
        host_names(job, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let (spec, before) = (At::root(new).at("spec"), &old["spec"]);
        // Upstream judges the spec once more.
        own_spec(&spec, &mut errors);
        completions(&spec, before, &mut errors);
        spec.at("selector").immutable(&mut errors, &before["selector"]);
        template_change::validate(new, old, &mut errors);
        for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            spec.at(field).immutable(&mut errors, &before[field]);
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        status::validate(new, old)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn deletion_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set \
             propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Status"),
                Column::text("Completions"),
                Column::text("Duration"),
                Column::AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, job: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(job, "/spec/template/spec");
        vec![
            name(job),
            status_cell(job).into(),
            completions_cell(job).into(),
            duration(job, now).into(),
            table::age(job, now),
            names.into(),
            images.into(),
            selector(job.pointer("/spec/selector")).into(),
        ]
    }

    fn fields(&self, job: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", int(job, "/status/succeeded").to_string())]
    }
}

/// Also of the template in a CronJob.
pub fn default_spec(spec: &mut Value) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        spec["completions"] = 1.into();
    }
    set(spec, "parallelism", 1);
    let per_index = spec.get("backoffLimitPerIndex").is_some_and(|limit| !limit.is_null());
    set(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    set_pointer(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    let policy = present(spec, "podFailurePolicy").map(|policy| {
        for rule in items(policy, "rules") {
            items(rule, "onPodConditions").for_each(|pattern| set(pattern, "status", "True"));
        }
    });
    set_pointer(spec, "podReplacementPolicy", if policy.is_some() { "Failed" } else { "TerminatingOrFailed" });
    if let Some(template) = present(spec, "template") {
        pod_spec::default_template(template);
    }
}

/// The selector and labels that tie pods to the job, unless the user does it.
fn generate_selector(job: &mut Value) {
    if job.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    let template = child(&mut job["spec"], "template").and_then(|template| child(template, "metadata"));
    if let Some(labels) = template.and_then(|metadata| child(metadata, "labels")) {
        for (key, value) in [
            ("job-name", &name),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("batch.kubernetes.io/controller-uid", &uid),
        ] {
            set(labels, key, value.as_str());
        }
    }
    let selector = child(&mut job["spec"], "selector").and_then(|selector| child(selector, "matchLabels"));
    if let Some(labels) = selector {
        set(labels, "batch.kubernetes.io/controller-uid", uid);
    }
}

/// The selector must be there, and select what the template makes.
fn own_spec(spec: &At<'_>, errors: &mut ErrorList) {
    validate_spec(spec, errors);
    let selector = spec.at("selector");
    if !selector.present() {
        return errors.required(&selector.path, "");
    }
    errors.append(label_selector(selector.value, &selector.path));
    let labels = spec.to("template.metadata.labels");
    let parsed = Selector::from_label_selector(Some(selector.value));
    if parsed.is_ok_and(|parsed| !parsed.matches(labels.value.as_object())) {
        errors.invalid(&labels.path, labels.value.clone(), "`selector` does not match template `labels`");
    }
}

/// The pods of an indexed job are hosts named after it and their index.
fn host_names(job: &Value, errors: &mut ErrorList) {
    let (spec, name) = (&job["spec"], object::name(job));
    let Some(completions) = spec["completions"].as_i64().filter(|count| *count > 0) else { return };
    let last = format!("{name}-{}", completions - 1);
    if spec["completionMode"] == "Indexed" && !is_dns1123_label(&last).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {last}");
        errors.invalid(&Path::new("metadata.name"), name, detail);
    }
}

/// Labels that the user gave in place of generated ones must say the same.
fn generated_selector(job: &Value, errors: &mut ErrorList) {
    let spec = At::root(job).at("spec");
    let selector = spec.at("selector");
    if spec.at("manualSelector").is_true() || !selector.present() {
        return;
    }
    let expected: Map<String, Value> = [
        ("controller-uid", object::uid(job)),
        ("job-name", object::name(job)),
        ("batch.kubernetes.io/controller-uid", object::uid(job)),
        ("batch.kubernetes.io/job-name", object::name(job)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect();
    let labels = spec.to("template.metadata.labels");
    for (key, value) in ORDER.iter().map(|key| (*key, &expected[*key])) {
        let detail = format!("must be '{}'", value.as_str().unwrap_or_default());
        match labels.value.get(key) {
            None => errors.required(&labels.path.key(key), &detail),
            Some(given) if given != value => errors.invalid(&labels.path.key(key), labels.value.clone(), detail),
            Some(_) => {}
        }
    }
    let parsed = Selector::from_label_selector(Some(selector.value));
    if parsed.is_ok_and(|parsed| !parsed.matches(Some(&expected))) {
        selector.invalid(errors, "`selector` not auto-generated");
    }
}

/// In which the generated labels are looked at.
const ORDER: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// Also of the template in a CronJob, which has no selector.
pub fn validate_spec(spec: &At<'_>, errors: &mut ErrorList) {
    let names = [
        "parallelism",
        "completions",
        "backoffLimit",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ];
    names.iter().for_each(|name| spec.at(name).not_negative(errors));
    modes(spec, errors);
    let per_index = spec.at("backoffLimitPerIndex");
    if spec.at("maxFailedIndexes").present() && !per_index.present() {
        errors.required(&per_index.path, "when maxFailedIndexes is specified");
    }
    managed_by(&spec.at("managedBy"), errors);
    policies::failure(spec, errors);
    policies::success(spec, errors);
    let template = spec.at("template");
    pod_spec::validate_template(&template, &["Always", "Never", "OnFailure"], errors);
    let policy = template.to("spec.restartPolicy");
    match policy.text() {
        "Always" | "" => errors.required(&policy.path, "valid values: \"OnFailure\", \"Never\""),
        other if !POLICIES.contains(&other) => errors.not_supported(&policy.path, other, &POLICIES),
        "OnFailure" if spec.at("podFailurePolicy").present() => {
            policy.invalid(errors, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        _ => {}
    }
}

/// What needs indexes, and what indexes need.
fn modes(spec: &At<'_>, errors: &mut ErrorList) {
    let mode = spec.at("completionMode");
    mode.one_of(errors, &["Indexed", "NonIndexed"]);
    if mode.text() == "Indexed" {
        let (completions, parallelism) = (spec.at("completions"), spec.at("parallelism"));
        if !completions.present() {
            errors.required(&completions.path, "when completion mode is Indexed");
        }
        if parallelism.int().is_some_and(|count| count > INDEXED_PARALLELISM_MAX) {
            let detail =
                format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
            parallelism.invalid(errors, &detail);
        }
        failed_indexes(spec, errors);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"].map(|field| spec.at(field)) {
            if field.present() {
                field.invalid(errors, "requires indexed completion mode");
            }
        }
    }
    let replacement = spec.at("podReplacementPolicy");
    if spec.at("podFailurePolicy").present() {
        replacement.one_of(errors, &["Failed"]);
    } else {
        replacement.one_of(errors, &["Failed", "TerminatingOrFailed"]);
    }
}

/// How many indexes may fail, lest their list grow too long.
fn failed_indexes(spec: &At<'_>, errors: &mut ErrorList) {
    let (failed, completions) = (spec.at("maxFailedIndexes"), spec.at("completions").int());
    if failed.int().zip(completions).is_some_and(|(failed, all)| failed > all) {
        failed.invalid(errors, "must be less than or equal to completions");
    }
    if failed.int().is_some_and(|count| count > FAILED_INDEXES_MAX) {
        failed.invalid(errors, &format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    if completions.is_none_or(|all| all <= MANY_COMPLETIONS) || !spec.at("backoffLimitPerIndex").present() {
        return;
    }
    if !failed.present() {
        errors.required(&failed.path, &format!("must be specified when completions is above {MANY_COMPLETIONS}"));
    }
    let detail = format!(
        "must be less than or equal to {OF_MANY_MAX} when completions are above {MANY_COMPLETIONS} and used with backoff \
         limit per index"
    );
    for at in [spec.at("parallelism"), failed].iter().filter(|at| at.int().is_some_and(|count| count > OF_MANY_MAX)) {
        at.invalid(errors, &detail);
    }
}

const INDEXED_PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
/// What may run, or fail, at once of many completions.
const OF_MANY_MAX: i64 = 10_000;
const MANAGED_BY_MAX: usize = 63;

/// `domain/path`: the controller that is to act.
fn managed_by(at: &At<'_>, errors: &mut ErrorList) {
    if !at.present() {
        return;
    }
    at.domain_prefixed_path(errors);
    if at.text().len() > MANAGED_BY_MAX {
        errors.push(FieldError::too_long(&at.path, MANAGED_BY_MAX));
    }
}

/// An indexed job may change completions together with parallelism.
fn completions(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let at = spec.at("completions");
    if spec.at("completionMode").text() != "Indexed" {
        at.immutable(errors, &old["completions"]);
    } else if at.present() && *at.value != old["completions"] && spec.at("parallelism").value != at.value {
        at.invalid(errors, "can only be modified in tandem with spec.parallelism");
    }
}

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a Value> {
    let found = list(job, "/status/conditions").iter().find(|condition| condition["type"] == kind);
    found.filter(|condition| condition["status"] == "True")
}

fn status_cell(job: &Value) -> &'static str {
    let has = |kind: &str| condition(job, kind).is_some();
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job.pointer("/metadata/deletionTimestamp").is_some() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions_cell(job: &Value) -> String {
    let done = int(job, "/status/succeeded");
    match (job.pointer("/spec/completions").and_then(Value::as_i64), int(job, "/spec/parallelism")) {
        (Some(all), _) => format!("{done}/{all}"),
        (None, parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: i64) -> String {
    let seconds = |field: &str| job.pointer(field).and_then(apimachinery::time::seconds);
    let Some(start) = seconds("/status/startTime") else { return String::new() };
    let failed = condition(job, "Failed").and_then(|failed| apimachinery::time::seconds(&failed["lastTransitionTime"]));
    let end = seconds("/status/completionTime").or(failed).unwrap_or(now);
    table::human_duration(end - start)
}
