//! ValidatingAdmissionPolicy: evaluates every policy for every binding and parameter, and does what the bindings say.

use apimachinery::Status;
use apimachinery::status::Cause;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::index::{Binding, Policy};
use super::input::namespace_of;
use super::select::{Selected, select};
use super::validator::{Annotation, Denial, error};
use super::{Asker, Input, Validations, is_out_of_reach};
use crate::match_conditions::Outcome;
use crate::matching::Target;
use crate::{Plugin, Request};

const ANNOTATION_BYTES_MAX: usize = 10 * 1024;
const FAILURE_KEY: &str = "validation.policy.admission.k8s.io/validation_failure";

pub struct ValidatingAdmissionPolicy;

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let all = request.services.validating_policies.list();
        if all.is_empty() || is_out_of_reach(request) {
            return Ok(());
        }
        let (mut refusals, mut annotations) = (Vec::new(), Annotations::default());
        for selected in select(&all, request) {
            refusals.extend(consult(&selected, request, &mut annotations)?);
        }
        annotations.publish(request);
        refusals.into_iter().next().map_or(Ok(()), |first| Err(first.to_status(request)))
    }
}

/// What a client is told; only the first of a request is.
struct Refusal {
    message: String,
    reason: String,
}

impl Refusal {
    fn new(selected: &Selected<Validations>, message: &str, reason: &str) -> Refusal {
        let policy = &selected.policy.name;
        let who = match &selected.binding {
            Some(binding) => format!("ValidatingAdmissionPolicy '{policy}' with binding '{}'", binding.name),
            None => format!("ValidatingAdmissionPolicy '{policy}'"),
        };
        let reason = if reason.is_empty() { "Invalid" } else { reason };
        Refusal { message: format!("{who} denied request: {message}"), reason: reason.to_owned() }
    }

    fn to_status(&self, request: &Request<'_>) -> Status {
        let mut status = request.forbidden(&self.message);
        status.code = match self.reason.as_str() {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        status.reason = self.reason.clone();
        let cause = Cause { message: self.message.clone(), ..Cause::default() };
        status.details.get_or_insert_default().causes.push(cause);
        status
    }
}

fn consult(
    selected: &Selected<Validations>,
    request: &Request<'_>,
    annotations: &mut Annotations,
) -> Result<Vec<Refusal>, Status> {
    let policy = &selected.policy;
    let (target, params, binding) = match (&selected.outcome, &selected.binding) {
        (Ok((target, params)), Some(binding)) => (target, params, binding),
        (Err(_), _) if policy.ignores_failure => return Ok(Vec::new()),
        (Err(why), _) => return Ok(vec![Refusal::new(selected, why, "")]),
        (Ok(_), None) => return Ok(Vec::new()),
    };
    let namespace = namespace_of(request)?;
    let mut refusals = Vec::new();
    for params in params {
        let verdict = evaluate(policy, request, target, params, namespace.clone());
        for denial in verdict.denials.iter().filter(|denial| !(denial.is_error && policy.ignores_failure)) {
            let denies = carry_out(policy, binding, denial, request);
            refusals.extend(denies.then(|| Refusal::new(selected, &denial.message, &denial.reason)));
        }
        for (key, value) in verdict.annotations {
            match value {
                Ok(Some(value)) => annotations.add(format!("{}/{key}", policy.name), value),
                Err(why) if !policy.ignores_failure => refusals.push(Refusal::new(selected, &why, "")),
                _ => {}
            }
        }
    }
    Ok(refusals)
}

#[derive(Default)]
struct Verdict {
    denials: Vec<Denial>,
    annotations: Vec<Annotation>,
}

fn evaluate(
    policy: &Policy<Validations>,
    request: &Request<'_>,
    target: &Target,
    params: &Value,
    namespace: Value,
) -> Verdict {
    match policy.conditions.evaluate(request, target, params) {
        Outcome::Met => {}
        // The failure policy lets a failed condition pass for one that does not hold.
        Outcome::Unmet => return Verdict::default(),
        Outcome::Failed(why) => return Verdict { denials: vec![error(0, why)], ..Verdict::default() },
    }
    let input = Input::new(request, target, namespace);
    let asker = Asker { authorizer: &request.services.authorizer, user: request.user };
    let bindings = || policy.bind(input.bindings(params, &asker));
    let denials = policy.body.denials(&bindings());
    match policy.body.annotations(&bindings()) {
        Ok(annotations) => Verdict { denials, annotations },
        Err(spent) => Verdict { denials: vec![error(0, spent.to_string())], ..Verdict::default() },
    }
}

/// Warns and notes as the binding wants. Returns whether it wants the request refused.
fn carry_out(policy: &Policy<Validations>, binding: &Binding, denial: &Denial, request: &Request<'_>) -> bool {
    let mut denies = false;
    for action in &binding.actions {
        match action.as_str() {
            "Deny" => denies = true,
            "Warn" => request.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, denial.message
            )),
            "Audit" => request.annotate(FAILURE_KEY, failure(policy, binding, denial).to_string()),
            _ => {}
        }
    }
    denies
}

fn failure(policy: &Policy<Validations>, binding: &Binding, denial: &Denial) -> Value {
    json!([{
        "message": denial.message,
        "policy": policy.name,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": binding.actions,
    }])
}

/// The audit annotations of a request; bindings that say different things under one key are joined.
#[derive(Default)]
struct Annotations(Vec<(String, Vec<String>)>);

impl Annotations {
    fn add(&mut self, key: String, mut value: String) {
        value.truncate(value.floor_char_boundary(ANNOTATION_BYTES_MAX));
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.0.push((key, vec![value])),
        }
    }

    fn publish(self, request: &Request<'_>) {
        self.0.into_iter().for_each(|(key, values)| request.annotate(&key, values.join(", ")));
    }
}
