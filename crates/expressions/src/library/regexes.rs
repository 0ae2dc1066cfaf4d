//! Regular expressions of RE2's syntax.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::Answer;
use crate::errors::EvalError;
use crate::limits::{MAX_COMPUTED_REGEX_BYTES, MAX_COMPUTED_REGEXES, MAX_REGEX_BYTES};
use crate::value::Value;

/// Those that the program has compiled, and those that an evaluation needed besides.
pub struct Regexes<'p> {
    known: &'p HashMap<String, Regex>,
    computed: HashMap<String, Regex>,
}

/// Compiles an expression that is written as a literal.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    build(pattern, MAX_REGEX_BYTES)
}

fn build(pattern: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(pattern)).size_limit(size).dfa_size_limit(size).nest_limit(100).build()
}

impl<'p> Regexes<'p> {
    pub fn new(known: &'p HashMap<String, Regex>) -> Self {
        Self { known, computed: HashMap::new() }
    }

    pub fn call<'a>(&mut self, function: &str, args: &[Value<'a>]) -> Answer<'a> {
        let [Value::String(text), Value::String(pattern), rest @ ..] = args else { return None };
        if !matches!(function, "matches" | "find" | "findAll") {
            return None;
        }
        let regex = match self.get(pattern) {
            Ok(regex) => regex,
            Err(error) => return Some(Err(error)),
        };
        let limit = match rest {
            [] => usize::MAX,
            [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
            _ => return None,
        };
        Some(Ok(match function {
            "matches" => Value::Bool(regex.is_match(text)),
            "find" => Value::text(regex.find(text).map_or("", |found| found.as_str())),
            _ => Value::list(regex.find_iter(text).take(limit).map(|found| Value::text(found.as_str())).collect()),
        }))
    }

    fn get(&mut self, pattern: &str) -> Result<&Regex, EvalError> {
        if let Some(regex) = self.known.get(pattern) {
            return Ok(regex);
        }
        if !self.computed.contains_key(pattern) {
            if self.computed.len() >= MAX_COMPUTED_REGEXES {
                return Err(EvalError::CallCost);
            }
            let built = build(pattern, MAX_COMPUTED_REGEX_BYTES)
                .map_err(|error| EvalError::message(format!("Illegal regex: {error}")))?;
            self.computed.insert(pattern.into(), built);
        }
        Ok(&self.computed[pattern])
    }
}

/// From RE2's syntax to this library's: `\d`, `\w`, `\s`, `\b` are ASCII, and a set has no sets and no operators inside.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_set = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(chars.next(), in_set, &mut out),
            '[' if in_set && chars.peek() != Some(&':') => out.push_str("\\["),
            '[' if in_set => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => {
                in_set = true;
                out.push('[');
                if let Some(c) = chars.next_if_eq(&'^') {
                    out.push(c);
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' if in_set => {
                in_set = false;
                out.push(']');
            }
            '&' | '~' if in_set => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn escape(escaped: Option<char>, in_set: bool, out: &mut String) {
    let replacement = match escaped {
        Some('d') => "[0-9]",
        Some('D') => "[^0-9]",
        Some('w') => "[0-9A-Za-z_]",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => "[\\t\\n\\x0c\\r ]",
        Some('S') => "[^\\t\\n\\x0c\\r ]",
        Some('b') if !in_set => "(?-u:\\b)",
        Some('/') => "/",
        Some('_') => "_",
        Some(_) | None => "\\",
    };
    out.push_str(replacement);
    if replacement == "\\" {
        out.extend(escaped);
    }
}
