//! Where expressions (CEL) stand inside objects, what they may name there, and what they must come to.
//!
//! Validation says which expression stands where: an [`Environment`]. [`compile`] is also what evaluates policies and match
//! conditions later, so that what was accepted is what runs.

use apimachinery::field::{ErrorList, FieldError};
use expressions::types::opaque;
use expressions::{CompileError, DeclType, Program, Type};

use crate::at::At;

/// What an expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Bool,
    Text,
    TextOrNull,
    /// A variable of a policy may be anything.
    Anything,
    /// `Object{…}`: what a mutating policy merges.
    ApplyConfiguration,
    /// A list of `JSONPatch{…}`.
    JsonPatch,
}

/// What an expression sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// `object`, `oldObject`, `request`, `namespaceObject` of an admission request.
    Admission {
        params: bool,
        authorizer: bool,
        /// Whether the types of patches are known: mutating policies.
        patch_types: bool,
        /// The policy's variables that come before, by name and expression.
        variables: &'a [(&'a str, &'a str)],
    },
    /// `device` of dynamic resource allocation.
    Device,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment<'a> {
    pub expected: Expected,
    pub scope: Scope<'a>,
    /// The expression stood in the stored object already: it is judged by what any version allowed.
    pub stored: bool,
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Invalid(String),
    /// It costs too much.
    #[error("{0}")]
    Forbidden(String),
}

/// What one selector of devices may cost by its estimate.
const SELECTOR_COST_MAX: u64 = 1_000_000;

/// The declarations of an admission request, without variables.
pub fn admission(params: bool, authorizer: bool, patch_types: bool) -> expressions::Environment {
    let mut names = expressions::Environment::new()
        .dynamic("object")
        .dynamic("oldObject")
        .variable("request", expressions::admission_request())
        .variable("namespaceObject", expressions::namespace_object());
    if params {
        names = names.dynamic("params");
    }
    if authorizer {
        names = names.with_authorizer();
    }
    if patch_types {
        names = names.with_mutation_types();
    }
    names
}

fn device() -> expressions::Environment {
    let quantity = DeclType::simple(Type::Opaque(opaque::QUANTITY));
    let fields = [
        ("driver", DeclType::simple(Type::String)),
        ("attributes", DeclType::map_of(DeclType::map_of(DeclType::dynamic()))),
        ("capacity", DeclType::map_of(DeclType::map_of(quantity))),
        ("allowMultipleAllocations", DeclType::simple(Type::Bool)),
    ];
    expressions::Environment::new().variable("device", DeclType::object("kubernetes.DRADevice", fields)).with_bind()
}

fn names(scope: &Scope<'_>) -> expressions::Environment {
    let Scope::Admission { params, authorizer, patch_types, variables } = *scope else { return device() };
    let mut names = admission(params, authorizer, patch_types);
    for (name, expression) in variables {
        let compiled = compile(expression, &names, Expected::Anything);
        names = names.composed(name, compiled.as_ref().map_or(&Type::Dyn, Program::result_type));
    }
    names
}

/// Compiles an expression and checks its result.
pub fn compile(expression: &str, names: &expressions::Environment, expected: Expected) -> Result<Program, Problem> {
    let refuse = |error: CompileError| Problem::Invalid(format!("compilation failed: {error}"));
    let program = expressions::compile(expression, names, &Type::Dyn).map_err(refuse)?;
    let result = program.result_type();
    let fits = |wanted: &Type| result == wanted;
    let wrong = match expected {
        Expected::Anything => None,
        Expected::Bool => must_be(result, &Type::Bool),
        Expected::Text => must_be(result, &Type::String),
        Expected::TextOrNull => (!fits(&Type::String) && !fits(&Type::Null))
            .then(|| format!("must evaluate to one of [string null_type] but got {result}")),
        Expected::ApplyConfiguration => must_be(result, &Type::constructed("Object")),
        Expected::JsonPatch => must_be(result, &Type::list(Type::constructed("JSONPatch"))),
    };
    wrong.map_or(Ok(program), |why: String| Err(Problem::Invalid(why)))
}

fn must_be(result: &Type, wanted: &Type) -> Option<String> {
    (result != wanted).then(|| format!("must evaluate to {wanted} but got {result}"))
}

/// A selector may also be of a type that only shows when it is evaluated.
fn compile_selector(expression: &str) -> Result<(), Problem> {
    let program = compile(expression, &device(), Expected::Anything)?;
    let result = program.result_type();
    if !matches!(result, Type::Bool | Type::Dyn) {
        return Err(Problem::Invalid(format!("must evaluate to bool or the unknown type, not {result}")));
    }
    if program.cost_estimate().max > SELECTOR_COST_MAX {
        return Err(Problem::Forbidden("too complex, exceeds cost limit".into()));
    }
    Ok(())
}

/// Judges the expression that stands at a place.
pub(crate) fn check(at: &At<'_>, environment: &Environment<'_>, errors: &mut ErrorList) {
    let judged = match environment.scope {
        Scope::Device => compile_selector(at.text()),
        scope => compile(at.text(), &names(&scope), environment.expected).map(drop),
    };
    if let Err(problem) = judged {
        errors.push(error(at, problem));
    }
}

fn error(at: &At<'_>, problem: Problem) -> FieldError {
    match problem {
        Problem::Invalid(detail) => FieldError::invalid(&at.path, at.text(), detail),
        Problem::Forbidden(detail) => FieldError::forbidden(&at.path, detail),
    }
}
