//! What a call costs at run time, by upstream's model: sizes of arguments and results.

use crate::value::{Opaque, Value};

pub const SELECT_OR_IDENT: u64 = 1;
pub const LIST_CREATE: u64 = 10;
pub const MAP_CREATE: u64 = 30;
pub const STRUCT_CREATE: u64 = 40;
/// Of walking a string, per character.
pub const STRING_TRAVERSAL: f64 = 0.1;
/// Of a regular expression, per character of it.
pub const REGEX_LENGTH: f64 = 0.25;
/// Allows for two checks per expression.
pub const AUTHORIZATION_CHECK: u64 = 350_000;

/// What of the arguments the cost depends on, since the call may consume them.
#[derive(Default)]
pub struct Sizes {
    /// Of the first arguments.
    sizes: [u64; 2],
    /// Of the whole first argument, where a function compares all of it.
    traversal: u64,
    is_text: bool,
    second_is_text: bool,
    is_opaque: bool,
    /// The length of the regular expression behind a format.
    format: Option<u64>,
    number: Option<i64>,
}

impl Sizes {
    pub fn of(function: &str, args: &[Value<'_>]) -> Self {
        let size = |index: usize| args.get(index).map_or(0, Value::size);
        let text = |index: usize| matches!(args.get(index), Some(Value::String(_) | Value::Bytes(_)));
        Self {
            sizes: [size(0), size(1)],
            traversal: if is_traversal(function) { args.first().map_or(0, |value| traversal(value, 0)) } else { 0 },
            is_text: text(0),
            second_is_text: text(1),
            is_opaque: matches!(args.first(), Some(Value::Opaque(_))),
            format: match args.first() {
                Some(Value::Opaque(value)) => match &**value {
                    Opaque::Format(format) => Some(format.0.max_regex_size),
                    _ => None,
                },
                _ => None,
            },
            number: match args.get(1) {
                Some(Value::Int(value)) => Some(*value),
                _ => None,
            },
        }
    }
}

/// The cost that must be paid before a call that is expensive, or whose result may be large.
pub fn before(function: &str, args: &[Value<'_>]) -> u64 {
    let sizes = || Sizes::of(function, args);
    match function {
        "lists.range" => match args {
            [Value::Int(count)] => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        },
        "matches"
        | "find"
        | "findAll"
        | "contains"
        | "@in"
        | "_==_"
        | "_!=_"
        | "sets.contains"
        | "sets.equivalent"
        | "sets.intersects"
        | "distinct"
        | "sort"
        | "@sortByAssociatedKeys"
        | "check" => of_call(function, &sizes(), None),
        _ => 0,
    }
}

fn is_traversal(function: &str) -> bool {
    matches!(function, "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf")
}

pub fn of_call(function: &str, args: &Sizes, result: Option<&Value<'_>>) -> u64 {
    let [first, second] = args.sizes;
    match function {
        "check" => AUTHORIZATION_CHECK,
        "fieldSelector" | "labelSelector" => selector(second),
        _ if is_traversal(function) => args.traversal,
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver"
        | "startsWith"
        | "endsWith" => text(first, 1),
        "ip" | "bytes" | "string" | "format" | "strings.quote" if args.is_text => text(first, 1),
        "replace" | "split" | "ip.isCanonical" => text(first, 2),
        "join" => text(result.map_or(0, Value::size), 2),
        "find" | "findAll" | "matches" => ceil(first + 1, STRING_TRAVERSAL) * ceil(second, REGEX_LENGTH),
        "contains" => text(first, 1) * text(second, 1),
        "containsIP" => text(first, 2) + if args.second_is_text { text(second, 1) } else { 0 },
        "containsCIDR" => text(first, 2) + text(first, 1) + 1 + if args.second_is_text { text(second, 1) } else { 0 },
        "validate" => ceil(first.max(second) + 1, STRING_TRAVERSAL) * ceil(args.format.unwrap_or(0), REGEX_LENGTH),
        "@in" => second,
        "_==_" if args.is_opaque => 1,
        "_==_" | "_!=_" => text(first.min(second), 1),
        "_<_" | "_<=_" | "_>_" | "_>=_" if args.is_text => text(first.min(second), 1),
        "_+_" if args.is_text => text(first + second, 1),
        _ => lists(function, args, result),
    }
}

fn lists(function: &str, args: &Sizes, result: Option<&Value<'_>>) -> u64 {
    let [first, second] = args.sizes;
    match function {
        "sets.contains" | "sets.intersects" => first.saturating_mul(second).saturating_add(1),
        "sets.equivalent" => first.saturating_mul(second).saturating_mul(2).saturating_add(1),
        "slice" | "lists.range" => allocating(result.map_or(0, Value::size)),
        // A string's reverse would be another function.
        "reverse" => allocating(first),
        "flatten" => allocating(first.saturating_mul(args.number.map_or(1, |depth| u64::try_from(depth).unwrap_or(0)))),
        "distinct" | "sort" => allocating(first.saturating_mul(first).saturating_mul(2)),
        "@sortByAssociatedKeys" => allocating(second.saturating_mul(second).saturating_mul(2)),
        _ => 1,
    }
}

fn allocating(size: u64) -> u64 {
    size.saturating_add(1 + LIST_CREATE)
}

fn text(size: u64, times: u64) -> u64 {
    ceil(size.saturating_mul(times), STRING_TRAVERSAL)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are estimates"
)]
fn ceil(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// A selector has a requirement in every two characters at most, each of a list and a structure.
fn selector(length: u64) -> u64 {
    LIST_CREATE + text(length, 1) + ceil(length, 0.5) * (LIST_CREATE + STRUCT_CREATE)
}

fn traversal(value: &Value<'_>, depth: usize) -> u64 {
    if depth > crate::limits::MAX_VALUE_DEPTH {
        return 1;
    }
    match value {
        Value::String(text) => text.len() as u64 / 10,
        Value::Bytes(bytes) => bytes.len() as u64 / 10,
        Value::List(list) => list.iter().flatten().map(|item| traversal(&item, depth + 1)).sum(),
        Value::Map(map) => {
            let entry = |key: Value<'_>| traversal(&key, depth + 1) + 1;
            map.keys().into_iter().map(entry).sum()
        }
        _ => 1,
    }
}
