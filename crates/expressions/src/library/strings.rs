//! The extended library of strings. Positions count characters.

use super::{Answer, print};
use crate::errors::EvalError;
use crate::value::{Text, Value};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    if let ("join", [Value::List(list), rest @ ..]) = (function, args) {
        return Some(join(list.to_vec(), rest));
    }
    let (Value::String(text), rest) = args.split_first()? else { return None };
    match (function, rest) {
        ("startsWith", [Value::String(other)]) => Some(Ok(Value::Bool(text.starts_with(&**other)))),
        ("endsWith", [Value::String(other)]) => Some(Ok(Value::Bool(text.ends_with(&**other)))),
        ("contains", [Value::String(other)]) => Some(Ok(Value::Bool(text.contains(&**other)))),
        ("charAt", [Value::Int(at)]) => Some(char_at(text, *at)),
        ("indexOf", [Value::String(other), offset @ ..]) => Some(index_of(text, other, number(offset)?)),
        ("lastIndexOf", [Value::String(other), offset @ ..]) => Some(last_index_of(text, other, number(offset)?)),
        ("lowerAscii", []) => Some(Ok(Value::text(text.to_ascii_lowercase()))),
        ("upperAscii", []) => Some(Ok(Value::text(text.to_ascii_uppercase()))),
        ("replace", [Value::String(from), Value::String(to), count @ ..]) => {
            Some(replace(text, from, to, number(count)?))
        }
        ("split", [Value::String(by), count @ ..]) => Some(Ok(split(text, by, number(count)?))),
        ("substring", [Value::Int(start), end @ ..]) => Some(substring(text, *start, number(end)?)),
        ("trim", []) => Some(Ok(Value::text(text.trim()))),
        ("format", [Value::List(list)]) => {
            Some(list.to_vec().and_then(|args| print::format(text, &args)).map(Value::text))
        }
        ("strings.quote", []) => Some(Ok(Value::text(quote(text)))),
        ("jsonpatch.escapeKey", []) => Some(Ok(Value::text(text.replace('~', "~0").replace('/', "~1")))),
        _ => None,
    }
}

/// An argument that may be left out; `None` if it is something else.
fn number(args: &[Value<'_>]) -> Option<Option<i64>> {
    match args {
        [] => Some(None),
        [Value::Int(number)] => Some(Some(*number)),
        _ => None,
    }
}

fn out_of_range<'a>(at: i64) -> Result<Value<'a>, EvalError> {
    Err(EvalError::message(format!("index out of range: {at}")))
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn int<'a>(position: usize) -> Value<'a> {
    Value::Int(i64::try_from(position).unwrap_or(i64::MAX))
}

fn char_at<'a>(text: &str, at: i64) -> Result<Value<'a>, EvalError> {
    let chars = chars(text);
    match usize::try_from(at) {
        Ok(position) if position == chars.len() => Ok(Value::text("")),
        Ok(position) if position < chars.len() => Ok(Value::text(chars[position].to_string())),
        _ => out_of_range(at),
    }
}

fn index_of<'a>(text: &str, other: &str, offset: Option<i64>) -> Result<Value<'a>, EvalError> {
    let offset = offset.unwrap_or(0);
    let count = text.chars().count();
    let Some(start) = usize::try_from(offset).ok().filter(|start| *start <= count) else { return out_of_range(offset) };
    if other.is_empty() {
        return Ok(int(start));
    }
    let from = text.char_indices().nth(start).map_or(text.len(), |(at, _)| at);
    Ok(text[from..].find(other).map_or(Value::Int(-1), |at| int(start + text[from..from + at].chars().count())))
}

fn last_index_of<'a>(text: &str, other: &str, offset: Option<i64>) -> Result<Value<'a>, EvalError> {
    let (text, other) = (chars(text), chars(other));
    let last = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let offset = offset.unwrap_or(last);
    let Some(start) = usize::try_from(offset).ok().filter(|start| *start <= text.len()) else {
        return out_of_range(offset);
    };
    if other.is_empty() {
        return Ok(int(start));
    }
    let text: String = text.iter().take(start.saturating_add(other.len())).collect();
    let found = text.rfind(&other.iter().collect::<String>());
    Ok(found.map_or(Value::Int(-1), |at| int(text[..at].chars().count())))
}

fn replace<'a>(text: &str, from: &str, to: &str, count: Option<i64>) -> Result<Value<'a>, EvalError> {
    let count = count.and_then(|count| usize::try_from(count).ok());
    // The model charges for the input only, so the result is bounded here.
    let matches = text.matches(from).take(count.unwrap_or(usize::MAX)).count();
    if text.len().saturating_add(matches.saturating_mul(to.len())) > 16 << 20 {
        return Err(EvalError::CallCost);
    }
    Ok(Value::text(match count {
        Some(count) => text.replacen(from, to, count),
        None => text.replace(from, to),
    }))
}

fn split<'a>(text: &str, by: &str, count: Option<i64>) -> Value<'a> {
    let limit = match count {
        Some(0) => return Value::list(Vec::new()),
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    if !by.is_empty() {
        return Value::list(text.splitn(limit, by).map(Value::text).collect());
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if parts.len() + 1 == limit {
            break;
        }
        parts.push(Value::text(first.to_string()));
        rest = &rest[first.len_utf8()..];
    }
    if !rest.is_empty() {
        parts.push(Value::text(rest));
    }
    Value::list(parts)
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Result<Value<'a>, EvalError> {
    let chars = chars(text);
    let bound = |at: i64| usize::try_from(at).ok().filter(|at| *at <= chars.len());
    let Some(from) = bound(start) else { return out_of_range(start) };
    let Some(end) = end else { return Ok(Value::text(chars[from..].iter().collect::<String>())) };
    let Some(to) = bound(end) else { return out_of_range(end) };
    if from > to {
        return Err(EvalError::message(format!("invalid substring range. start: {start}, end: {end}")));
    }
    Ok(Value::text(chars[from..to].iter().collect::<String>()))
}

fn join<'a>(items: Result<Vec<Value<'a>>, EvalError>, separator: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let separator = match separator {
        [] => "",
        [Value::String(text)] => text,
        _ => return Err(EvalError::NoSuchOverload),
    };
    let items = items?;
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let texts = texts.ok_or(EvalError::NoSuchOverload)?;
    let size: usize = texts.iter().map(|text| text.len() + separator.len()).sum();
    if size > 16 << 20 { Err(EvalError::CallCost) } else { Ok(Value::text(texts.join(separator))) }
}

fn quote(text: &Text<'_>) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
