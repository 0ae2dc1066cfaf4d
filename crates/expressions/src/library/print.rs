//! `'%d of %s'.format([1, 'x'])`.

use crate::errors::EvalError;
use crate::value::{Value, display};

const MAX_PRECISION: usize = 1000;

pub fn format(template: &str, args: &[Value<'_>]) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut args = args.iter().enumerate();
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if rest.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision =
                Some(digits.parse().ok().filter(|p| *p <= MAX_PRECISION).ok_or_else(|| failed("invalid precision"))?);
        }
        match rest.next() {
            None => return Err(failed("unexpected end of string")),
            Some('%') => out.push('%'),
            Some(verb) => {
                let (_, arg) =
                    args.next().ok_or_else(|| EvalError::message(format!("index {} out of range", args_len(&args))))?;
                out.push_str(&clause(verb, precision, arg)?);
            }
        }
    }
    Ok(out)
}

fn args_len<T: ExactSizeIterator>(args: &T) -> usize {
    args.len()
}

fn failed(text: &str) -> EvalError {
    EvalError::message(text)
}

fn clause(verb: char, precision: Option<usize>, arg: &Value<'_>) -> Result<String, EvalError> {
    let mismatch = |wanted: &str| {
        EvalError::message(format!(
            "error during formatting: {wanted} clause can only be used on {}, was given {}",
            kinds(verb),
            arg.type_of()
        ))
    };
    let precision = precision.unwrap_or(6);
    match (verb, arg) {
        ('s', value) => Ok(text(value, 0)),
        ('d', Value::Int(_) | Value::Uint(_)) => Ok(display(arg)),
        ('d', _) => Err(mismatch("decimal")),
        ('f', Value::Double(value)) => Ok(format!("{value:.precision$}")),
        ('e', Value::Double(value)) => Ok(scientific(*value, precision)),
        #[expect(clippy::cast_precision_loss, reason = "fixed-point notation of a whole number")]
        ('f', Value::Int(value)) => Ok(format!("{:.precision$}", *value as f64)),
        ('f', _) => Err(mismatch("fixed-point")),
        ('e', _) => Err(mismatch("scientific notation")),
        ('b', Value::Int(value)) => Ok(signed(*value, |magnitude| format!("{magnitude:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('b', _) => Err(mismatch("binary")),
        ('o', Value::Int(value)) => Ok(signed(*value, |magnitude| format!("{magnitude:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('o', _) => Err(mismatch("octal")),
        ('x' | 'X', value) => {
            let hex = hex(value).ok_or_else(|| mismatch("hex"))?;
            Ok(if verb == 'X' { hex.to_uppercase() } else { hex })
        }
        (other, _) => Err(EvalError::message(format!("unrecognized formatting clause \"{other}\""))),
    }
}

fn kinds(verb: char) -> &'static str {
    match verb {
        'f' | 'e' => "doubles",
        'b' => "integers and bools",
        'x' | 'X' => "integers, byte buffers, and strings",
        _ => "integers",
    }
}

fn signed(value: i64, print: impl Fn(u64) -> String) -> String {
    let digits = print(value.unsigned_abs());
    if value < 0 { format!("-{digits}") } else { digits }
}

fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn hex(value: &Value<'_>) -> Option<String> {
    let of_bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match value {
        Value::Int(value) => Some(signed(*value, |magnitude| format!("{magnitude:x}"))),
        Value::Uint(value) => Some(format!("{value:x}")),
        Value::String(text) => Some(of_bytes(text.as_bytes())),
        Value::Bytes(bytes) => Some(of_bytes(bytes)),
        _ => None,
    }
}

/// Lists and maps print their items in turn.
fn text(value: &Value<'_>, depth: usize) -> String {
    if depth > crate::limits::MAX_VALUE_DEPTH {
        return "...".into();
    }
    let again =
        |item: Result<Value<'_>, EvalError>| item.map_or_else(|error| error.to_string(), |item| text(&item, depth + 1));
    match value {
        Value::List(list) => format!("[{}]", list.iter().map(again).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entry = |key: &Value<'_>| Some(format!("{}: {}", text(key, depth + 1), again(map.get(key)?)));
            format!("{{{}}}", map.keys().iter().filter_map(entry).collect::<Vec<_>>().join(", "))
        }
        other => display(other),
    }
}
