//! Match conditions of webhooks and policies: expressions that must all hold.

use expressions::{Bindings, Budget, limits};
use registry::cel::{self, Expected};
use serde_json::Value;

use crate::Request;
use crate::matching::Target;
use crate::policy::{Asker, Expression, Failure, Input};

/// What the conditions say of a request.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Met,
    Unmet,
    Failed(String),
}

/// The compiled conditions of one webhook or policy.
pub struct Conditions(Vec<Expression>);

impl Conditions {
    pub fn compile(conditions: &Value, params: bool) -> Conditions {
        let names = cel::admission(params, true, false);
        let texts = conditions.as_array().into_iter().flatten().filter_map(|one| one["expression"].as_str());
        Conditions(texts.map(|text| Expression::compile(text, &names, Expected::Bool)).collect())
    }

    pub fn evaluate(&self, request: &Request<'_>, target: &Target, params: &Value) -> Outcome {
        if self.0.is_empty() {
            return Outcome::Met;
        }
        let input = Input::new(request, target, Value::Null);
        let asker = Asker { authorizer: &request.services.authorizer, user: request.user };
        self.judge(&input.bindings(params, &asker))
    }

    /// One that does not hold outweighs those that fail.
    fn judge(&self, bindings: &Bindings<'_>) -> Outcome {
        let mut budget = Budget::new(limits::MATCH_CONDITIONS_BUDGET);
        let (mut failed, mut unmet) = (Vec::new(), false);
        for condition in &self.0 {
            match condition.evaluate(bindings, &mut budget) {
                Ok(value) => unmet |= value.as_bool() == Some(false),
                Err(Failure::OutOfBudget) => return Outcome::Failed(Failure::OutOfBudget.to_string()),
                Err(Failure::Error(why)) if failed.contains(&why) => {}
                Err(Failure::Error(why)) => failed.push(why),
            }
        }
        match failed.as_slice() {
            _ if unmet => Outcome::Unmet,
            [] => Outcome::Met,
            [one] => Outcome::Failed(one.clone()),
            several => Outcome::Failed(format!("[{}]", several.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(conditions: &[&str]) -> Outcome {
        let list: Value = conditions.iter().map(|text| json!({"name": "a", "expression": text})).collect();
        let (object, request) = (json!({"metadata": {"name": "x"}}), json!({"userInfo": {"username": "alice"}}));
        let bindings = Bindings::new().json("object", &object).json("request", &request);
        Conditions::compile(&list, false).judge(&bindings)
    }

    #[test]
    fn all_conditions_must_hold() {
        assert_eq!(check(&[]), Outcome::Met);
        assert_eq!(check(&["object.metadata.name == 'x'", "request.userInfo.username == 'alice'"]), Outcome::Met);
        assert_eq!(check(&["object.metadata.name == 'x'", "request.userInfo.username == 'bob'"]), Outcome::Unmet);
    }

    #[test]
    fn one_that_does_not_hold_outweighs_those_that_fail() {
        let failing = "object.spec.a == 1";
        let why = "expression 'object.spec.a == 1' resulted in error: no such key: spec";
        assert_eq!(check(&[failing]), Outcome::Failed(why.into()));
        assert_eq!(check(&[failing, failing, "object.zz == 1"]), {
            Outcome::Failed(format!("[{why}, expression 'object.zz == 1' resulted in error: no such key: zz]"))
        });
        assert_eq!(check(&[failing, "false"]), Outcome::Unmet);
    }
}
