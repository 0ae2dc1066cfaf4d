//! The validations and audit annotations of one policy, evaluated for one set of parameters.

use expressions::{Bindings, Budget, Environment, Value as Cel, limits};
use registry::cel::Expected;
use serde_json::Value;

use super::index::Body;
use super::{Expression, Failure};

/// The longest message that an expression may make.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// What a validating policy has besides what all policies have.
pub struct Validations {
    list: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// A validation that does not hold, or cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The place of the validation in the policy.
    pub index: usize,
    pub message: String,
    pub reason: String,
    /// Whether it could not be judged, so that the failure policy decides.
    pub is_error: bool,
}

/// What an audit annotation came to: a value, nothing, or why there is none.
pub type Annotation = (String, Result<Option<String>, String>);

impl Body for Validations {
    const PATCHES: bool = false;

    fn compile(spec: &Value, names: &Environment, bare: &Environment) -> Self {
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let annotation = |one: &Value| {
            let expression = Expression::compile(text(one, "valueExpression"), names, Expected::TextOrNull);
            (text(one, "key").to_owned(), expression)
        };
        Validations {
            list: list("validations").map(|one| Validation::compile(one, names, bare)).collect(),
            annotations: list("auditAnnotations").map(annotation).collect(),
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

impl Validation {
    fn compile(validation: &Value, names: &Environment, bare: &Environment) -> Validation {
        let message = Some(text(validation, "messageExpression")).filter(|text| !text.is_empty());
        Validation {
            expression: Expression::compile(text(validation, "expression"), names, Expected::Bool),
            message: text(validation, "message").trim().to_owned(),
            message_expression: message.map(|text| Expression::compile(text, bare, Expected::Text)),
            reason: text(validation, "reason").to_owned(),
        }
    }

    fn message(&self, evaluated: Option<String>) -> String {
        let own = Some(self.message.clone()).filter(|message| !message.is_empty());
        evaluated.or(own).unwrap_or_else(|| format!("failed expression: {}", self.expression.text.trim()))
    }
}

impl Validations {
    /// What does not hold. One budget serves all expressions; the messages get what the validations leave.
    pub fn denials(&self, bindings: &Bindings<'_>) -> Vec<Denial> {
        let mut budget = Budget::new(limits::RUNTIME_BUDGET);
        let mut judged = Vec::new();
        for validation in &self.list {
            match validation.expression.evaluate(bindings, &mut budget) {
                Err(Failure::OutOfBudget) => return vec![error(0, Failure::OutOfBudget.to_string())],
                result => judged.push(result.map(|value| value.as_bool() == Some(true))),
            }
        }
        let messages = self.messages(bindings, &mut budget);
        let denials = self.list.iter().zip(judged).enumerate().filter_map(|(index, (validation, result))| {
            match (result, &messages) {
                (Err(failure), _) => Some(error(index, failure.to_string())),
                (Ok(_), Err(spent)) => Some(error(index, format!("failed messageExpression: {spent}"))),
                (Ok(true), Ok(_)) => None,
                (Ok(false), Ok(messages)) => Some(Denial {
                    index,
                    message: validation.message(messages[index].clone()),
                    reason: validation.reason.clone(),
                    is_error: false,
                }),
            }
        });
        denials.collect()
    }

    fn messages(&self, bindings: &Bindings<'_>, budget: &mut Budget) -> Result<Vec<Option<String>>, Failure> {
        let evaluate = |validation: &Validation| {
            let Some(expression) = &validation.message_expression else { return Ok(None) };
            match expression.evaluate(bindings, budget) {
                Ok(value) => Ok(value.as_str().and_then(usable)),
                Err(Failure::OutOfBudget) => Err(Failure::OutOfBudget),
                Err(Failure::Error(why)) => {
                    tracing::debug!(why, "a message expression failed");
                    Ok(None)
                }
            }
        };
        self.list.iter().map(evaluate).collect()
    }

    /// Evaluated also when everything is fine, with a budget of their own.
    pub fn annotations(&self, bindings: &Bindings<'_>) -> Result<Vec<Annotation>, Failure> {
        let mut budget = Budget::new(limits::RUNTIME_BUDGET);
        let evaluate = |(key, expression): &(String, Expression)| {
            let value = match expression.evaluate(bindings, &mut budget) {
                Ok(Cel::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
                Ok(_) => Ok(None),
                Err(Failure::OutOfBudget) => return Err(Failure::OutOfBudget),
                Err(Failure::Error(why)) => Err(why),
            };
            Ok((key.clone(), value))
        };
        self.annotations.iter().map(evaluate).collect()
    }
}

/// What could not be judged.
pub fn error(index: usize, message: String) -> Denial {
    Denial { index, message, reason: String::new(), is_error: true }
}

/// A message of one line and sensible length.
fn usable(message: &str) -> Option<String> {
    let message = message.trim();
    let fits = !message.is_empty() && message.len() <= MESSAGE_BYTES_MAX && !message.contains('\n');
    fits.then(|| message.to_owned())
}
