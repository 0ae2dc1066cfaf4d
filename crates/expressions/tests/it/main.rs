//! Expressions from the outside: values, errors, types, costs, hostile text.

mod authorizer;
mod check;
mod cost;
mod evaluate;
mod hostile;

use expressions::{Bindings, Budget, Environment, Type, compile};

/// The value of an expression without variables as text, or its error.
pub fn value_of(text: &str) -> String {
    with(text, &Environment::new(), &Bindings::new())
}

pub fn with(text: &str, environment: &Environment, bindings: &Bindings<'_>) -> String {
    match compile(text, environment, &Type::Dyn) {
        Err(error) => format!("compile: {}", error.to_string().lines().next().unwrap_or_default()),
        Ok(program) => match program.evaluate(bindings, &mut Budget::default()) {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("error: {error}"),
        },
    }
}
