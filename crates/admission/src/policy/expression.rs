//! One compiled expression, and how its failures read.

use expressions::{Bindings, Budget, Environment, EvalError, Program, Value};
use registry::cel::{self, Expected, Problem};

/// An expression of a stored policy or webhook. One that does not compile fails when it is evaluated.
pub struct Expression {
    pub text: String,
    pub program: Result<Program, Problem>,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Error(String),
    /// Nothing is left to spend, so nothing further is evaluated.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

impl Expression {
    pub fn compile(text: &str, names: &Environment, expected: Expected) -> Expression {
        Expression { text: text.to_owned(), program: cel::compile(text, names, expected) }
    }

    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
        let program = self.program.as_ref();
        let program = program.map_err(|problem| Failure::Error(format!("compilation error: {problem}")))?;
        program.evaluate(bindings, budget).map_err(|error| match error {
            EvalError::OutOfBudget => Failure::OutOfBudget,
            error => Failure::Error(format!("expression '{}' resulted in error: {error}", self.text)),
        })
    }
}
