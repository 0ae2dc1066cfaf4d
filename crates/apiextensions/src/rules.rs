//! Rules in the expression language: `x-kubernetes-validations`.
//!
//! [`check`] judges the rules of a definition. [`Rules`] are the compiled rules of a schema, and judge objects. Nothing else
//! in the crate knows the crate `expressions`.

mod cost;
mod run;

use apimachinery::field::{ErrorList, FieldError, Path};
use expressions::{CompileError, DeclType, Environment, Program, Type, compile};
use serde_json::Value;

pub use cost::Budget;
pub use run::{Rules, check_default};

use crate::json::{field, flag, list, text};

/// A place of a schema while its definition is judged: what rules there can see, and how often they would run.
pub struct Scope<'a> {
    schema: &'a Value,
    /// Below a rule everything must have a type for expressions.
    decl: Option<DeclType>,
    cardinality: Option<u64>,
}

impl<'a> Scope<'a> {
    pub fn root(schema: &'a Value) -> Self {
        Self {
            schema,
            decl: has_rules(schema).then(|| expressions::structural(schema, true)).flatten(),
            cardinality: Some(1),
        }
    }

    pub fn property(&self, name: &str) -> Option<Scope<'a>> {
        let child = field(self.schema.get("properties")?, name)?;
        let decl =
            self.decl.as_ref().and_then(|decl| decl.field(&expressions::escape(name)?).map(|decl| (**decl).clone()));
        Some(self.below(child, decl))
    }

    pub fn items(&self) -> Option<Scope<'a>> {
        Some(self.below(field(self.schema, "items")?, self.element()))
    }

    pub fn additional(&self) -> Option<Scope<'a>> {
        Some(self.below(field(self.schema, "additionalProperties")?, self.element()))
    }

    fn element(&self) -> Option<DeclType> {
        self.decl.as_ref().and_then(|decl| decl.element.as_deref().cloned())
    }

    fn below(&self, schema: &'a Value, decl: Option<DeclType>) -> Self {
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let needed = self.decl.is_some() || has_rules(schema);
        let decl = decl.or_else(|| needed.then(|| expressions::structural(schema, embedded)).flatten());
        Self { schema, decl, cardinality: cost::cardinality_below(self.schema, self.cardinality) }
    }
}

fn has_rules(schema: &Value) -> bool {
    !list(schema, "x-kubernetes-validations").is_empty()
}

/// What `self` and `oldSelf` are.
fn environment(decl: &DeclType, optional_old_self: bool) -> Environment {
    let old = if optional_old_self { decl.clone().into_optional() } else { decl.clone() };
    Environment::new().variable("self", decl.clone()).variable("oldSelf", old)
}

/// A rule that compiles, and the expression for its message.
struct Compiled {
    rule: Program,
    message: Option<Program>,
    message_error: Option<String>,
}

/// The error is the complaint about the rule itself.
fn compile_rule(rule: &Value, decl: &DeclType) -> Result<Compiled, String> {
    let environment = environment(decl, flag(rule, "optionalOldSelf"));
    let program = compile(text(rule, "rule"), &environment, &Type::Bool).map_err(|why| match why {
        CompileError::Invalid { text, .. } => format!("compilation failed: {text}"),
        CompileError::ResultType { .. } => "cel expression must evaluate to a bool".into(),
    })?;
    let expression = text(rule, "messageExpression");
    if expression.is_empty() {
        return Ok(Compiled { rule: program, message: None, message_error: None });
    }
    let (message, message_error) = match compile(expression, &environment, &Type::String) {
        Ok(message) => (Some(message), None),
        Err(CompileError::Invalid { text, .. }) => {
            (None, Some(format!("messageExpression compilation failed: {text}")))
        }
        Err(CompileError::ResultType { .. }) => (None, Some("messageExpression must evaluate to a string".into())),
    };
    Ok(Compiled { rule: program, message, message_error })
}

/// Compiles the rules at a place, and counts what they may cost. `uncorrelatable` is the outermost schema around, if any,
/// whose parts cannot be told apart between two revisions.
pub fn check(scope: &Scope<'_>, path: &Path, uncorrelatable: Option<&Path>, budget: &mut Budget) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = path.child("x-kubernetes-validations");
    let rules = list(scope.schema, "x-kubernetes-validations");
    let Some(decl) = &scope.decl else {
        if !rules.is_empty() {
            let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to \
                       convert structural schema to CEL declarations";
            errors.push(FieldError::internal(&path, why));
        }
        return errors;
    };
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        match compile_rule(rule, decl) {
            Err(why) => errors.invalid(&at.child("rule"), rule.clone(), why),
            Ok(compiled) => {
                let often = scope.cardinality.unwrap_or_else(|| decl.max_cardinality());
                budget.spend(&compiled, often, &at, &mut errors);
                if let Some(why) = &compiled.message_error {
                    errors.invalid(&at.child("messageExpression"), rule.clone(), why.as_str());
                }
                transitions(&compiled, rule, &at, uncorrelatable, &mut errors);
            }
        }
    }
    errors
}

fn transitions(compiled: &Compiled, rule: &Value, at: &Path, uncorrelatable: Option<&Path>, errors: &mut ErrorList) {
    match (compiled.rule.uses("oldSelf"), uncorrelatable) {
        (true, Some(path)) => {
            let detail = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {path}");
            errors.invalid(&at.child("rule"), text(rule, "rule"), detail);
        }
        (false, _) => {
            if let Some(optional) = field(rule, "optionalOldSelf") {
                let detail = "may not be set if oldSelf is not used in rule";
                errors.invalid(&at.child("optionalOldSelf"), optional.clone(), detail);
            }
        }
        (true, None) => {}
    }
}
