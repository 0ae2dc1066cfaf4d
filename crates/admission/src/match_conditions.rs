//! The match conditions of webhooks: expressions that must all hold.

use serde_json::Value;

use crate::Request;
use crate::matching::Target;

/// What the conditions say of a request.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Met,
    Unmet,
    Failed(String),
}

/// The compiled conditions of one webhook.
pub struct Conditions {
    names: Vec<String>,
}

impl Conditions {
    pub fn compile(conditions: &Value) -> Conditions {
        let list = conditions.as_array().into_iter().flatten();
        Conditions { names: list.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect() }
    }

    /// Without an evaluator of expressions every condition is an error, and so subject to the failure policy.
    pub fn evaluate(&self, _request: &Request<'_>, _target: &Target) -> Outcome {
        match self.names.as_slice() {
            [] => Outcome::Met,
            names => Outcome::Failed(format!("expressions are not evaluated: match conditions {}", names.join(", "))),
        }
    }
}
