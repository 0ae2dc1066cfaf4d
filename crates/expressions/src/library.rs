//! What the functions do. Each module takes the calls that it knows and hands back the others.

use crate::errors::EvalError;
use crate::value::Value;

mod authorization;
mod convert;
mod format;
mod lists;
mod network;
mod operators;
mod optionals;
mod print;
mod quantity;
mod regexes;
mod semver;
mod strings;
pub mod time;
mod url;

pub(crate) use authorization::check as check_authorization;
pub(crate) use format::Format;
pub(crate) use regexes::{Regexes, compile as regex};
pub(crate) use semver::Semver;
pub(crate) use url::Url;

/// What a function gives: `None` if the module has no function for these arguments.
type Answer<'a> = Option<Result<Value<'a>, EvalError>>;

/// Calls a function. The types of dynamic arguments turn out here, so a call may have no overload.
pub(crate) fn call<'a>(
    function: &str,
    mut args: Vec<Value<'a>>,
    regexes: &mut Regexes<'_>,
) -> Result<Value<'a>, EvalError> {
    if matches!(function, "_+_" | "cel.@mapInsert") {
        return operators::consuming(function, args).unwrap_or(Err(EvalError::NoSuchOverload));
    }
    if function == "dyn" && args.len() == 1 {
        return Ok(args.remove(0));
    }
    operators::call(function, &args)
        .or_else(|| strings::call(function, &args))
        .or_else(|| regexes.call(function, &args))
        .or_else(|| lists::call(function, &args))
        .or_else(|| convert::call(function, &args))
        .or_else(|| optionals::call(function, &args))
        .or_else(|| time::call(function, &args))
        .or_else(|| network::call(function, &args))
        .or_else(|| url::call(function, &args))
        .or_else(|| quantity::call(function, &args))
        .or_else(|| semver::call(function, &args))
        .or_else(|| format::call(function, &args))
        .or_else(|| authorization::call(function, &args))
        .unwrap_or(Err(EvalError::NoSuchOverload))
}
