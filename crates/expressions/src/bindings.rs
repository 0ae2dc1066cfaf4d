//! What the variables of an environment stand for in one evaluation.

use std::cell::RefCell;

use crate::authorizer::{Authorizer, ResourceTarget};
use crate::errors::EvalError;
use crate::program::{Budget, Program};
use crate::value::Value;

/// Values for the declared variables. JSON is borrowed, and read as the declared type when an expression touches it.
#[derive(Default)]
pub struct Bindings<'a> {
    entries: Vec<(&'a str, Binding<'a>)>,
    composed: Vec<(&'a str, Composed<'a>)>,
    pub(crate) authorizer: Option<&'a dyn Authorizer>,
}

pub(crate) enum Binding<'a> {
    Json(&'a serde_json::Value),
    /// For a variable that was declared as optional.
    OptionalJson(Option<&'a serde_json::Value>),
    Value(Value<'a>),
}

enum Composed<'a> {
    Program { program: &'a Program, result: RefCell<Slot<'a>> },
    Resolver(&'a dyn Resolver<'a>),
}

enum Slot<'a> {
    Untouched,
    Running,
    Done(Result<Value<'a>, EvalError>),
}

/// Finds the value of `variables.name` on its first use; used at most once per evaluation and name.
pub trait Resolver<'a> {
    fn resolve(&self, name: &str, budget: &mut Budget) -> Result<Value<'a>, EvalError>;
}

impl<'a> Bindings<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn json(mut self, name: &'a str, value: &'a serde_json::Value) -> Self {
        self.entries.push((name, Binding::Json(value)));
        self
    }

    pub fn optional_json(mut self, name: &'a str, value: Option<&'a serde_json::Value>) -> Self {
        self.entries.push((name, Binding::OptionalJson(value)));
        self
    }

    pub fn value(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.entries.push((name, Binding::Value(value)));
        self
    }

    /// `variables.name` is this program, evaluated on first use with these same bindings, once; its cost counts.
    pub fn variable(mut self, name: &'a str, program: &'a Program) -> Self {
        self.composed.push((name, Composed::Program { program, result: RefCell::new(Slot::Untouched) }));
        self
    }

    /// `variables.name` is what the resolver says.
    pub fn resolver(mut self, name: &'a str, resolver: &'a dyn Resolver<'a>) -> Self {
        self.composed.push((name, Composed::Resolver(resolver)));
        self
    }

    /// Binds `authorizer` and, if given, `authorizer.requestResource`.
    pub fn authorizer(mut self, authorizer: &'a dyn Authorizer, request: Option<ResourceTarget>) -> Self {
        self.authorizer = Some(authorizer);
        self.entries.push(("authorizer", Binding::Value(Value::authorizer())));
        if let Some(target) = request {
            self.entries.push(("authorizer.requestResource", Binding::Value(Value::request_resource(target))));
        }
        self
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<&Binding<'a>> {
        self.entries.iter().rev().find(|(known, _)| *known == name).map(|(_, binding)| binding)
    }

    pub(crate) fn has_composed(&self) -> bool {
        !self.composed.is_empty()
    }

    pub(crate) fn is_composed(&self, name: &str) -> bool {
        self.composed.iter().any(|(known, _)| *known == name)
    }

    /// The value of a composed variable, evaluated if nobody asked before.
    pub(crate) fn composed(&self, name: &str, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        let found = self.composed.iter().find(|(known, _)| *known == name);
        let Some((_, composed)) = found else { return Err(EvalError::NoSuchKey(name.into())) };
        match composed {
            Composed::Resolver(resolver) => resolver.resolve(name, budget),
            Composed::Program { program, result } => self.composed_program(name, program, result, budget),
        }
    }

    fn composed_program(
        &self,
        name: &str,
        program: &Program,
        result: &RefCell<Slot<'a>>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        match &*result.borrow() {
            Slot::Done(known) => return known.clone(),
            Slot::Running => return Err(EvalError::message(format!("variable {name:?} refers to itself"))),
            Slot::Untouched => {}
        }
        *result.borrow_mut() = Slot::Running;
        let value = program.evaluate(self, budget).map_err(|error| composition_error(name, error));
        *result.borrow_mut() = Slot::Done(value.clone());
        value
    }
}

fn composition_error(name: &str, error: EvalError) -> EvalError {
    if error.is_limit() {
        error
    } else {
        EvalError::message(format!("composited variable {name:?} fails to evaluate: {error}"))
    }
}
