//! A compiled expression: its check, its estimate, its evaluation.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;

use crate::ast::Expr;
use crate::bindings::Bindings;
use crate::check::{self, Checked};
use crate::environment::Environment;
use crate::errors::{CompileError, EvalError};
use crate::estimate::{self, CostEstimate};
use crate::eval;
use crate::limits::{PER_CALL_LIMIT, RUNTIME_BUDGET};
use crate::parse;
use crate::types::Type;
use crate::value::Value;

/// What may still be spent. Every evaluation takes its cost from it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
}

impl Budget {
    pub fn new(remaining: u64) -> Self {
        Self { remaining, per_call: PER_CALL_LIMIT }
    }

    pub fn with_per_call(mut self, limit: u64) -> Self {
        self.per_call = limit;
        self
    }

    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn per_call(&self) -> u64 {
        self.per_call
    }

    pub(crate) fn spend(&mut self, cost: u64) {
        self.remaining = self.remaining.saturating_sub(cost);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(RUNTIME_BUDGET)
    }
}

/// A compiled expression. Cheap to share, evaluated as often as wanted.
#[derive(Clone)]
pub struct Program {
    pub(crate) root: Arc<Expr>,
    pub(crate) environment: Environment,
    pub(crate) regexes: Arc<HashMap<String, Regex>>,
    result: Type,
    cost: CostEstimate,
    references: Arc<[String]>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Program").field("result", &self.result).field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// Compiles an expression whose result must have the expected type; `Type::Dyn` expects nothing.
pub fn compile(text: &str, environment: &Environment, expected: &Type) -> Result<Program, CompileError> {
    let program = compile_any(text, environment)?;
    if *expected == Type::Dyn || program.result == *expected {
        return Ok(program);
    }
    Err(CompileError::ResultType { expected: expected.clone(), found: program.result })
}

fn compile_any(text: &str, environment: &Environment) -> Result<Program, CompileError> {
    let parsed = parse::parse(text, environment.has_bind()).map_err(|issues| CompileError::invalid(text, issues))?;
    let checked = check::check(parsed, environment).map_err(|issues| CompileError::invalid(text, issues))?;
    let cost = estimate::estimate(&checked, environment);
    let Checked { root, types, references, regexes, .. } = checked;
    let result = types[root.id].clone();
    Ok(Program {
        root: Arc::new(root),
        environment: environment.clone(),
        regexes: Arc::new(regexes),
        result,
        cost,
        references: references.into_iter().collect(),
    })
}

impl Program {
    /// The type of the result, by the check.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// The bounds of what one evaluation costs, by the declared sizes. The maximum is what the limits of CRDs are about.
    pub fn cost_estimate(&self) -> CostEstimate {
        self.cost
    }

    /// Whether the expression mentions the variable, e.g. `oldSelf` (a transition rule).
    pub fn uses(&self, variable: &str) -> bool {
        self.references.iter().any(|name| name == variable)
    }

    /// Whether the expression reads the field of the variable, e.g. `email` of `claims`.
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        self.root.selects(variable, field)
    }

    /// The value for these bindings. The cost is taken from the budget also when there is none.
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        eval::evaluate(self, bindings, budget)
    }
}
