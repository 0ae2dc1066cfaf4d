//! Semantic versions.

use std::cmp::Ordering;
use std::fmt;

use super::Answer;
use crate::errors::EvalError;
use crate::value::{Opaque, SemverValue, Value};

/// A version. Build metadata does not take part in the order.
#[derive(Debug)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: String,
}

impl Semver {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (rest, build) = text.split_once('+').unwrap_or((text, ""));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else { return Err("No Major.Minor.Patch elements found") };
        let numbers = [number(major)?, number(minor)?, number(patch)?];
        let pre = pre.map_or_else(Vec::new, |pre| pre.split('.').map(str::to_owned).collect());
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !pre.iter().all(|part| is_word(part) && (number(part).is_ok() || !part.chars().all(|c| c.is_ascii_digit())))
        {
            return Err("Invalid character(s) found in prerelease");
        }
        if text.contains('+') && !build.split('.').all(is_word) {
            return Err("Invalid character(s) found in build meta data");
        }
        Ok(Self { numbers, pre, build: build.into() })
    }

    pub fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }
}

fn number(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err("Invalid character(s) found in version number");
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("Version number must not contain leading zeroes");
    }
    text.parse().map_err(|_| "Version number is too large")
}

/// Numbers come before words, and are compared as numbers.
fn compare_pre(a: &[String], b: &[String]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        let order = match (number(a), number(b)) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// Takes what people write: a `v`, missing numbers, leading zeros.
fn normalized(text: &str) -> String {
    let text = text.trim().strip_prefix('v').unwrap_or(text.trim());
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut parts: Vec<String> = core
        .split('.')
        .map(|part| {
            let trimmed = part.trim_start_matches('0');
            if trimmed.is_empty() && !part.is_empty() { "0".into() } else { trimmed.to_owned() }
        })
        .collect();
    while parts.len() < 3 && rest.is_empty() {
        parts.push("0".into());
    }
    parts.join(".") + rest
}

impl fmt::Display for Semver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(out, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(out, "-{}", self.pre.join("."))?;
        }
        if self.build.is_empty() { Ok(()) } else { write!(out, "+{}", self.build) }
    }
}

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("semver" | "isSemver", [Value::String(text)]) => Some(read(function, text)),
        ("semver" | "isSemver", [Value::String(text), Value::Bool(normalize)]) => {
            Some(if *normalize { read(function, &normalized(text)) } else { read(function, text) })
        }
        (_, [Value::Opaque(value)]) => match &**value {
            Opaque::Semver(SemverValue(version)) => part(function, version),
            _ => None,
        },
        (_, [Value::Opaque(a), Value::Opaque(b)]) => match (&**a, &**b) {
            (Opaque::Semver(SemverValue(a)), Opaque::Semver(SemverValue(b))) => compare(function, a.cmp(b)),
            _ => None,
        },
        _ => None,
    }
}

fn read<'a>(function: &str, text: &str) -> Result<Value<'a>, EvalError> {
    let parsed = Semver::parse(text);
    if function == "isSemver" {
        return Ok(Value::Bool(parsed.is_ok()));
    }
    parsed.map(|version| Value::opaque(Opaque::Semver(SemverValue(version)))).map_err(EvalError::message)
}

fn part<'a>(function: &str, version: &Semver) -> Answer<'a> {
    let index = ["major", "minor", "patch"].iter().position(|name| *name == function)?;
    Some(Ok(Value::Int(i64::try_from(version.numbers[index]).unwrap_or(i64::MAX))))
}

fn compare<'a>(function: &str, order: Ordering) -> Answer<'a> {
    Some(Ok(match function {
        "isGreaterThan" => Value::Bool(order.is_gt()),
        "isLessThan" => Value::Bool(order.is_lt()),
        "compareTo" => Value::Int(order as i64),
        _ => return None,
    }))
}
