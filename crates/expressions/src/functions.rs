//! Which functions there are, with the types of their overloads. What they do is in [`crate::library`].

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::types::{Type, opaque};

mod table;

/// One signature of a function.
#[derive(Debug)]
pub struct Overload {
    /// Whether it is called on its first argument.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&str, Vec<Overload>> = HashMap::new();
    for line in table::SIGNATURES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, overload) = signature(line);
        functions.entry(name).or_default().push(overload);
    }
    functions
});

pub fn overloads(name: &str) -> Option<&'static [Overload]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

/// Reads `name (int, list<A>) -> bool`, or `name .(string) -> int` for a call on a value.
fn signature(line: &'static str) -> (&'static str, Overload) {
    let (name, rest) = line.split_once(' ').expect("the table has a name in every line");
    let member = rest.starts_with('.');
    let mut reader = Reader { rest: rest.trim_start_matches('.') };
    let args = reader.list('(', ')');
    reader.rest = reader.rest.trim_start().trim_start_matches("->");
    let result = reader.ty();
    (name, Overload { member, args, result })
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn list(&mut self, open: char, close: char) -> Vec<Type> {
        let mut types = Vec::new();
        self.rest = self.rest.trim_start_matches([open, ' ']);
        while !self.rest.starts_with(close) {
            types.push(self.ty());
            self.rest = self.rest.trim_start_matches([',', ' ']);
        }
        self.rest = &self.rest[close.len_utf8()..];
        types
    }

    fn ty(&mut self) -> Type {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let params = if rest.starts_with('<') { self.list('<', '>') } else { Vec::new() };
        let param = |index: usize| Arc::new(params.get(index).cloned().unwrap_or(Type::Dyn));
        match word {
            "list" => Type::List(param(0)),
            "map" => Type::Map(param(0), param(1)),
            "opt" => Type::Optional(param(0)),
            "type" => Type::Type(param(0)),
            _ => simple(word),
        }
    }
}

fn simple(word: &str) -> Type {
    match word {
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "quantity" => Type::Opaque(opaque::QUANTITY),
        "url" => Type::Opaque(opaque::URL),
        "ip" => Type::Opaque(opaque::IP),
        "cidr" => Type::Opaque(opaque::CIDR),
        "semver" => Type::Opaque(opaque::SEMVER),
        "format" => Type::Opaque(opaque::FORMAT),
        "authorizer" => Type::Opaque(opaque::AUTHORIZER),
        "pathcheck" => Type::Opaque(opaque::PATH_CHECK),
        "groupcheck" => Type::Opaque(opaque::GROUP_CHECK),
        "resourcecheck" => Type::Opaque(opaque::RESOURCE_CHECK),
        "decision" => Type::Opaque(opaque::DECISION),
        other => unreachable!("the table names no type {other:?}"),
    }
}

/// The types that expressions may name as values: `type(x) == string`.
pub fn named_type(name: &str) -> Option<Type> {
    let any = || Arc::new(Type::Dyn);
    Some(match name {
        "list" => Type::List(any()),
        "map" => Type::Map(any(), any()),
        "optional_type" => Type::Optional(any()),
        "type" => Type::Type(any()),
        "null_type" => Type::Null,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "bool" | "int" | "uint" | "double" | "string" | "bytes" | "dyn" => simple(name),
        opaque::QUANTITY => simple("quantity"),
        opaque::URL => simple("url"),
        opaque::IP => simple("ip"),
        opaque::CIDR => simple("cidr"),
        opaque::SEMVER => simple("semver"),
        opaque::FORMAT => simple("format"),
        opaque::AUTHORIZER => simple("authorizer"),
        _ => return None,
    })
}

/// The integer that the double is, if it is one.
pub fn exact_int(value: f64) -> Option<i64> {
    // Two to the power of 63, which is no integer of 64 bits itself.
    let limit = 2_f64.powi(63);
    let in_range = (-limit..limit).contains(&value);
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range before")]
    (in_range && value.fract() == 0.0).then_some(value as i64)
}

/// A double as Go's shortest format prints it.
pub fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    value.to_string()
}
