//! The door through which expressions inside objects (CEL) are judged.
//!
//! Validation says which expression stands where and what may be named in it: an [`Environment`]. Whoever can
//! compile [`install`]s a [`Compiler`] once, at the start. Without one every expression is accepted.

use std::sync::OnceLock;

use apimachinery::field::{ErrorList, FieldError};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Required(String),
    Invalid(String),
    /// It costs too much.
    Forbidden(String),
    Internal(String),
}

pub trait Compiler: Send + Sync {
    /// Whether the expression compiles, fits what is expected and can be afforded.
    fn check(&self, expression: &str, environment: &Environment<'_>) -> Result<(), Problem>;
}

static COMPILER: OnceLock<Box<dyn Compiler>> = OnceLock::new();

/// Gives the compiler; the first one stays.
pub fn install(compiler: Box<dyn Compiler>) {
    let _ = COMPILER.set(compiler);
}

/// Judges the expression that stands at a place.
pub(crate) fn check(at: &At<'_>, environment: &Environment<'_>, errors: &mut ErrorList) {
    let Some(compiler) = COMPILER.get() else { return };
    if let Err(problem) = compiler.check(at.text(), environment) {
        errors.push(error(at, problem));
    }
}

fn error(at: &At<'_>, problem: Problem) -> FieldError {
    match problem {
        Problem::Required(detail) => FieldError::required(&at.path, &detail),
        Problem::Invalid(detail) => FieldError::invalid(&at.path, at.text(), detail),
        Problem::Forbidden(detail) => FieldError::forbidden(&at.path, detail),
        Problem::Internal(detail) => FieldError::internal(&at.path, detail),
    }
}

/// Whether a name can stand in an expression: an identifier that is not reserved.
pub(crate) fn is_identifier(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    let start = name.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    start && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) && !RESERVED.contains(&name)
}
