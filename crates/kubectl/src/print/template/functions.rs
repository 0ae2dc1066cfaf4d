//! Go's functions, and the two that kubectl adds.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::value::{Data, Value};
use crate::print::decode_base64;
use crate::print::go::{Argument, sprint, sprintf, sprintln};

type Answer<'d> = Result<Value<'d>, String>;

pub enum Function {
    /// The first argument that is true, or false; or the last.
    ShortCircuit {
        until: bool,
    },
    /// Calls what is given: there is nothing that can be called.
    Call,
    Plain(for<'a, 'd> fn(&'a [Value<'d>]) -> Answer<'d>),
}

/// A function as templates see it.
pub struct Entry {
    name: &'static str,
    pub run: Function,
    /// How many it takes; at least so many, if it is variadic.
    pub arguments: usize,
    pub variadic: bool,
    /// So many, the first ones, must be strings.
    pub texts: usize,
}

impl Entry {
    pub fn call<'d>(&self, arguments: &[Value<'d>]) -> Answer<'d> {
        match self.run {
            Function::Plain(run) => run(arguments),
            Function::ShortCircuit { .. } | Function::Call => Ok(Value::NIL),
        }
    }
}

const fn fixed(name: &'static str, arguments: usize, run: for<'a, 'd> fn(&'a [Value<'d>]) -> Answer<'d>) -> Entry {
    Entry { name, run: Function::Plain(run), arguments, variadic: false, texts: 0 }
}

const fn variadic(name: &'static str, arguments: usize, run: for<'a, 'd> fn(&'a [Value<'d>]) -> Answer<'d>) -> Entry {
    Entry { variadic: true, ..fixed(name, arguments, run) }
}

const ALL: &[Entry] = &[
    Entry { run: Function::ShortCircuit { until: false }, ..variadic("and", 1, index) },
    Entry { run: Function::ShortCircuit { until: true }, ..variadic("or", 1, index) },
    Entry { run: Function::Call, ..variadic("call", 1, index) },
    variadic("html", 0, |arguments| Ok(Value::text(html(&joined(arguments))))),
    variadic("index", 1, index),
    variadic("slice", 1, slice),
    variadic("js", 0, |arguments| Ok(Value::text(js(&joined(arguments))))),
    fixed("len", 1, len),
    fixed("not", 1, |arguments| Ok(Value::new(Data::Bool(!arguments[0].is_true())))),
    variadic("print", 0, |arguments| Ok(Value::text(sprint(&plain(arguments))))),
    Entry { texts: 1, ..variadic("printf", 1, printf) },
    variadic("println", 0, |arguments| Ok(Value::text(sprintln(&plain(arguments))))),
    variadic("urlquery", 0, |arguments| Ok(Value::text(url_query(&joined(arguments))))),
    variadic("eq", 1, |arguments| eq(arguments).map(truth)),
    fixed("ne", 2, |arguments| eq(arguments).map(|equal| truth(!equal))),
    fixed("lt", 2, |arguments| less(arguments).map(truth)),
    fixed("le", 2, |arguments| at_most(arguments).map(truth)),
    fixed("gt", 2, |arguments| at_most(arguments).map(|is| truth(!is))),
    fixed("ge", 2, |arguments| less(arguments).map(|is| truth(!is))),
    variadic("exists", 1, |arguments| Ok(truth(exists(arguments)))),
    Entry { texts: 1, ..fixed("base64decode", 1, base64decode) },
];

pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

fn truth<'d>(is: bool) -> Value<'d> {
    Value::new(Data::Bool(is))
}

fn plain<'a>(arguments: &'a [Value<'_>]) -> Vec<Argument<'a>> {
    arguments.iter().map(|value| value.data.argument()).collect()
}

/// The arguments of a function that escapes, as one text. What is nothing says so.
fn joined(arguments: &[Value<'_>]) -> Vec<u8> {
    if let [Value { data: Data::Text(text), .. }] = arguments {
        return text.to_vec();
    }
    let shown = |argument| if let Argument::Nil = argument { Argument::Text(b"<no value>") } else { argument };
    sprint(&plain(arguments).into_iter().map(shown).collect::<Vec<_>>())
}

/// Why a value cannot be called.
pub fn not_a_function(name: &str, value: &Value<'_>) -> String {
    match &value.data {
        Data::Nil => "call of nil".into(),
        data => format!("non-function {name} of type {}", data.type_name()),
    }
}

fn printf<'d>(arguments: &[Value<'d>]) -> Answer<'d> {
    let Data::Text(format) = &arguments[0].data else { return Err("a format is a string".into()) };
    Ok(Value::text(sprintf(format, &plain(&arguments[1..]))))
}

fn len<'d>(arguments: &[Value<'d>]) -> Answer<'d> {
    let length = match &arguments[0].data {
        Data::Text(text) => text.len(),
        Data::List(items) => items.len(),
        Data::Map(map) => map.len(),
        Data::Nil if arguments[0].boxed => return Err("len of nil pointer".into()),
        Data::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::new(Data::Int(i64::try_from(length).unwrap_or(i64::MAX))))
}

fn index<'d>(arguments: &[Value<'d>]) -> Answer<'d> {
    let (first, keys) = arguments.split_first().ok_or("index of untyped nil")?;
    if let Data::Nil = first.data {
        return Err("index of untyped nil".into());
    }
    keys.iter().try_fold(first.clone(), |item, key| index_once(&item, &key.data))
}

fn index_once<'d>(item: &Value<'d>, key: &Data<'_>) -> Answer<'d> {
    match &item.data {
        Data::Map(map) => match key {
            Data::Text(key) => {
                let found = std::str::from_utf8(key).ok().and_then(|key| map.get(key));
                Ok(found.map_or(Value { data: Data::Nil, boxed: true }, Value::of_json))
            }
            Data::Nil => Err("value is nil; should be of type string".into()),
            other => Err(format!("value has type {}; should be string", other.type_name())),
        },
        Data::List(items) => {
            let at = position(key, items.len())?;
            items.get(at).map(Value::of_json).ok_or_else(|| "reflect: slice index out of range".into())
        }
        Data::Text(text) => {
            let byte = text.get(position(key, text.len())?).copied();
            byte.map(|byte| Value::new(Data::Byte(byte))).ok_or_else(|| "reflect: string index out of range".into())
        }
        Data::Nil => Err("index of nil pointer".into()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

/// At most the length, for slices end there.
fn position(key: &Data<'_>, length: usize) -> Result<usize, String> {
    if let Data::Nil = key {
        return Err("cannot index slice/array with nil".into());
    }
    let number = key.integer().ok_or_else(|| format!("cannot index slice/array with type {}", key.type_name()))?;
    let at = usize::try_from(number).ok().filter(|at| *at <= length);
    at.ok_or_else(|| format!("index out of range: {number}"))
}

fn slice<'d>(arguments: &[Value<'d>]) -> Answer<'d> {
    let (item, keys) = arguments.split_first().ok_or("slice of untyped nil")?;
    if keys.len() > 3 {
        return Err(format!("too many slice indexes: {}", keys.len()));
    }
    let length = match &item.data {
        Data::Nil => return Err("slice of untyped nil".into()),
        Data::Text(_) if keys.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Data::Text(text) => text.len(),
        Data::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, key) in bounds.iter_mut().zip(keys) {
        // Unlike `index`, it does not look into what comes out of a map.
        if key.boxed {
            return Err("cannot index slice/array with type interface {}".into());
        }
        *bound = position(&key.data, length)?;
    }
    let [from, to, limit] = bounds;
    for (low, high) in [(from, to), (to, limit)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(Value::new(match &item.data {
        Data::Text(Cow::Borrowed(text)) => Data::Text(Cow::Borrowed(&text[from..to])),
        Data::Text(text) => Data::Text(Cow::Owned(text[from..to].to_vec())),
        Data::List(items) => Data::List(&items[from..to]),
        _ => Data::Nil,
    }))
}

fn exists(arguments: &[Value<'_>]) -> bool {
    let Some((first, keys)) = arguments.split_first() else { return false };
    let found = keys.iter().try_fold(first.clone(), |item, key| index_once(&item, &key.data).ok());
    // What is nowhere at all is no nil pointer.
    found.is_some_and(|value| !matches!(value.data, Data::Nil) || value.is_invalid())
}

fn base64decode<'d>(arguments: &[Value<'d>]) -> Answer<'d> {
    let Data::Text(text) = &arguments[0].data else { return Err("invalid value; expected string".into()) };
    match decode_base64(text) {
        Ok(bytes) => Ok(Value::text(bytes)),
        Err(why) => Err(format!("base64 decode failed: {why}")),
    }
}

/// What can be compared with what.
fn basic_kind(data: &Data<'_>) -> Option<&'static str> {
    match data {
        Data::Bool(_) => Some("bool"),
        Data::Int(_) | Data::Int64(_) | Data::Byte(_) => Some("int"),
        Data::Float(_) => Some("float"),
        Data::Text(_) => Some("string"),
        Data::Nil | Data::List(_) | Data::Map(_) => None,
    }
}

fn incompatible(first: &Data<'_>, other: &Data<'_>) -> String {
    format!("incompatible types for comparison: {} and {}", first.type_name(), other.type_name())
}

/// Whether the first equals any of the others.
fn eq(arguments: &[Value<'_>]) -> Result<bool, String> {
    let Some((first, others @ [_, ..])) = arguments.split_first() else {
        return Err("missing argument for comparison".into());
    };
    for other in others {
        if equal(&first.data, &other.data)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(first: &Data<'_>, other: &Data<'_>) -> Result<bool, String> {
    let nil = |data: &Data<'_>| matches!(data, Data::Nil);
    if basic_kind(first) != basic_kind(other) {
        return if nil(first) || nil(other) { Ok(false) } else { Err(incompatible(first, other)) };
    }
    if basic_kind(first).is_some() {
        return Ok(order(first, other).is_some_and(Ordering::is_eq));
    }
    if nil(first) || nil(other) {
        return Ok(nil(first) && nil(other));
    }
    let shown =
        |format: &[u8], data: &Data<'_>| String::from_utf8_lossy(&sprintf(format, &[data.argument()])).into_owned();
    if std::mem::discriminant(first) != std::mem::discriminant(other) {
        let (types, texts) = ((first.type_name(), other.type_name()), (shown(b"%s", first), shown(b"%v", other)));
        return Err(format!("non-comparable types {}: {}, {}: {}", texts.0, types.0, types.1, texts.1));
    }
    Err(format!("non-comparable type {}: {}", shown(b"%s", other), other.type_name()))
}

fn order(first: &Data<'_>, other: &Data<'_>) -> Option<Ordering> {
    match (first, other) {
        (Data::Bool(a), Data::Bool(b)) => Some(a.cmp(b)),
        (Data::Float(a), Data::Float(b)) => a.partial_cmp(b),
        (Data::Text(a), Data::Text(b)) => Some(a.cmp(b)),
        _ => Some(first.integer()?.cmp(&other.integer()?)),
    }
}

fn less(arguments: &[Value<'_>]) -> Result<bool, String> {
    let (first, other) = (&arguments[0].data, &arguments[1].data);
    match (basic_kind(first), basic_kind(other)) {
        (None, _) | (_, None) => Err("invalid type for comparison".into()),
        (a, b) if a != b => Err(incompatible(first, other)),
        (Some("bool"), _) => Err("invalid type for comparison".into()),
        _ => Ok(order(first, other).is_some_and(Ordering::is_lt)),
    }
}

fn at_most(arguments: &[Value<'_>]) -> Result<bool, String> {
    Ok(less(arguments)? || eq(arguments)?)
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => escaped.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => escaped.extend_from_slice(b"&#34;"),
            b'\'' => escaped.extend_from_slice(b"&#39;"),
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            other => escaped.push(*other),
        }
    }
    escaped
}

fn js(text: &[u8]) -> Vec<u8> {
    let mut escaped = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ if character.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped.into_bytes()
}

fn url_query(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => escaped.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => escaped.push(*byte),
            byte => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    escaped
}
