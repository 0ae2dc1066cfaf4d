//! Namespaces choose by labels which pods they take: the Pod Security Standards.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::{GroupKind, Status, object};
use async_trait::async_trait;
use serde_json::Value;
use store::Object;

use crate::pod_security::{Level, LevelVersion, Policy, evaluate};
use crate::{Operation, Plugin, Request};

pub struct PodSecurity;

/// Subresources of pods that do not change what runs.
const IGNORED: &[&str] = &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// How many pods of a namespace are looked at when its labels change.
const PODS_MAX: usize = 3000;

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let Some(object) = request.object.as_deref() else { return Ok(()) };
        if request.is_resource("", "namespaces") {
            return namespace(request, object);
        }
        if request.is_resource("", "pods") {
            return pod(request, object);
        }
        match template(request, object) {
            Some(template) if request.subresource.is_empty() => controller(request, template),
            _ => Ok(()),
        }
    }
}

fn namespace(request: &Request<'_>, new: &Value) -> Result<(), Status> {
    if !request.subresource.is_empty() {
        return Ok(());
    }
    let configuration = &request.services.configuration.pod_security;
    let (policy, errors) = Policy::of(object::labels(new), &configuration.defaults);
    let invalid = || {
        let status = Status::invalid(&GroupKind::new("", "Namespace"), object::name(new), &errors);
        Status { message: request.forbidden(&status.message).message, ..status }
    };
    let exempt = configuration.exempts_namespace(object::name(new));
    let Some(old) = request.old else {
        if !errors.is_empty() {
            return Err(invalid());
        }
        if exempt {
            warn_of_exemption(request, object::name(new), policy);
        }
        return Ok(());
    };
    let (old_policy, old_errors) = Policy::of(object::labels(old), &configuration.defaults);
    if !errors.is_empty() && errors.to_string() != old_errors.to_string() {
        return Err(invalid());
    }
    if exempt {
        warn_of_exemption(request, object::name(new), policy);
    } else if is_stricter(policy.enforce, old_policy.enforce) {
        warn_of_existing(request, object::name(new), policy.enforce);
    }
    Ok(())
}

/// Tells that a policy that labels ask for does nothing.
fn warn_of_exemption(request: &Request<'_>, namespace: &str, policy: Policy) {
    if !policy.is_privileged(true) && policy != request.services.configuration.pod_security.defaults {
        let shown = policy.show();
        request.warn(format!(
            "namespace {namespace:?} is exempt from Pod Security, and the policy ({shown}) will be ignored"
        ));
    }
}

fn is_stricter(new: LevelVersion, old: LevelVersion) -> bool {
    new != old && new.level != Level::Privileged && (new.version != old.version || new.level > old.level)
}

/// Tells which pods a namespace would not take any more.
fn warn_of_existing(request: &Request<'_>, namespace: &str, enforce: LevelVersion) {
    let pods = request.list("", "pods", Some(namespace));
    if pods.len() > PODS_MAX {
        let total = pods.len();
        request.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {total} existing pods"
        ));
    }
    let violations = violations(&pods[..pods.len().min(PODS_MAX)], enforce);
    if violations.is_empty() {
        return;
    }
    request.warn(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
    ));
    let mut told: Vec<String> = violations.into_iter().map(|(reasons, names)| describe(&reasons, &names)).collect();
    told.sort();
    told.into_iter().for_each(|text| request.warn(text));
}

/// Names of pods by what is wrong with them.
fn violations(pods: &[Arc<Object>], enforce: LevelVersion) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for stored in pods {
        let pod = stored.value();
        let verdict = evaluate(enforce, &pod["metadata"], &pod["spec"]);
        if !verdict.allowed() {
            found.entry(verdict.reasons()).or_default().push(object::name(&pod).to_owned());
        }
    }
    found
}

fn describe(reasons: &str, names: &[String]) -> String {
    let first = names.iter().min().map(String::as_str).unwrap_or_default();
    match names.len() {
        1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        count => format!("{first} (and {} other pods): {reasons}", count - 1),
    }
}

/// The policy of the request's namespace, unless it asks for nothing.
fn policy(request: &Request<'_>, with_enforce: bool) -> Result<Option<Policy>, Status> {
    let namespace = request.get("", "namespaces", "", request.namespace).ok_or_else(|| {
        let why = format!("failed to lookup namespace {:?}", request.namespace);
        Status { message: request.forbidden(&why).message, ..Status::internal(&why) }
    })?;
    let defaults = &request.services.configuration.pod_security.defaults;
    let (policy, errors) = Policy::of(object::labels(&namespace.value()), defaults);
    if errors.is_empty() && policy.is_privileged(with_enforce) {
        return Ok(None);
    }
    if !errors.is_empty() {
        request.annotate("pod-security.kubernetes.io/error", format!("Failed to parse policy: {errors}"));
    }
    Ok(Some(policy))
}

/// Whether the configuration lets the request pass, which audit is told.
fn is_exempt(request: &Request<'_>) -> bool {
    let configuration = &request.services.configuration.pod_security;
    let why = match () {
        () if configuration.exempts_namespace(request.namespace) => "namespace",
        () if configuration.exempts_user(&request.user.name) => "user",
        () => return false,
    };
    request.annotate("pod-security.kubernetes.io/exempt", why);
    true
}

fn has_exempt_class(request: &Request<'_>, pod: &Value) -> bool {
    let exempt = request.services.configuration.pod_security.exempts_runtime_class(pod);
    if exempt {
        request.annotate("pod-security.kubernetes.io/exempt", "runtimeClass");
    }
    exempt
}

fn pod(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    if IGNORED.contains(&request.subresource) || is_exempt(request) {
        return Ok(());
    }
    let Some(policy) = policy(request, true)? else { return Ok(()) };
    if request.old.is_some_and(|old| !is_significant(pod, old)) || has_exempt_class(request, pod) {
        return Ok(());
    }
    request.annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.to_string());
    let verdict = evaluate(policy.enforce, &pod["metadata"], &pod["spec"]);
    let refused = (!verdict.allowed())
        .then(|| request.forbidden(format!("violates PodSecurity \"{}\": {}", policy.enforce, verdict.details())));
    audit(request, &policy, pod);
    match refused {
        Some(status) => Err(status),
        None => {
            warn(request, &policy, pod);
            Ok(())
        }
    }
}

fn controller(request: &Request<'_>, template: &Value) -> Result<(), Status> {
    if is_exempt(request) {
        return Ok(());
    }
    if let Some(policy) = policy(request, false)?.filter(|_| !has_exempt_class(request, template)) {
        audit(request, &policy, template);
        warn(request, &policy, template);
    }
    Ok(())
}

fn audit(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let verdict = evaluate(policy.audit, &pod["metadata"], &pod["spec"]);
    if !verdict.allowed() {
        let text = format!("would violate PodSecurity \"{}\": {}", policy.audit, verdict.details());
        request.annotate("pod-security.kubernetes.io/audit-violations", text);
    }
}

fn warn(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let verdict = evaluate(policy.warn, &pod["metadata"], &pod["spec"]);
    if !verdict.allowed() {
        request.warn(format!("would violate PodSecurity \"{}\": {}", policy.warn, verdict.details()));
    }
}

/// The pod template of the built-in kinds that have one.
fn template<'a>(request: &Request<'_>, object: &'a Value) -> Option<&'a Value> {
    let pointer = match (request.resource.group, request.resource.name) {
        ("", "podtemplates") => "/template",
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => "/spec/template",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    object.pointer(pointer).filter(|template| !template.is_null())
}

/// Whether anything changed that the checks look at and that may change.
fn is_significant(new: &Value, old: &Value) -> bool {
    const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    object::annotation(new, SECCOMP) != object::annotation(old, SECCOMP)
        || lists.iter().any(|list| list_changed(list, new, old))
}

fn list_changed(list: &str, new: &Value, old: &Value) -> bool {
    let items = |pod: &Value| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let (items_new, items_old) = (items(new), items(old));
    items_new.len() != items_old.len() || items_new.iter().zip(&items_old).any(|pair| container_changed(pair, new, old))
}

fn container_changed((container, before): (&Value, &Value), new: &Value, old: &Value) -> bool {
    let name = container["name"].as_str().unwrap_or_default();
    let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    container["image"] != before["image"]
        || container["securityContext"] != before["securityContext"]
        || object::annotation(new, &key) != object::annotation(old, &key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changes_that_the_checks_see_are_judged_again() {
        let old = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}});
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "2"});
        new["spec"]["tolerations"] = json!([{}]);
        assert!(!is_significant(&new, &old));
        new["spec"]["containers"][0]["image"] = "b".into();
        assert!(is_significant(&new, &old));
    }

    #[test]
    fn pods_with_the_same_fault_are_told_together() {
        let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(describe("privileged", &names(1)), "p0: privileged");
        assert_eq!(describe("privileged", &names(2)), "p0 (and 1 other pod): privileged");
        assert_eq!(describe("privileged", &names(3)), "p0 (and 2 other pods): privileged");
    }
}
