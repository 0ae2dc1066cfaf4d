//! Named formats of strings: `format.dns1123Label().validate(x)`.

use apimachinery::validation::{self, object_meta};
use base64::Engine as _;

use super::{Answer, Url, time};
use crate::value::{FormatValue, Opaque, Value};

/// A format: what it is called, what its check costs, and the check, which lists what is wrong.
pub struct Format {
    pub name: &'static str,
    pub max_regex_size: u64,
    check: fn(&str) -> Vec<String>,
}

const fn format(name: &'static str, max_regex_size: u64, check: fn(&str) -> Vec<String>) -> Format {
    Format { name, max_regex_size, check }
}

static FORMATS: [Format; 13] = [
    format("dns1123Label", 30, validation::is_dns1123_label),
    format("dns1123Subdomain", 60, validation::is_dns1123_subdomain),
    format("dns1035Label", 30, validation::is_dns1035_label),
    format("qualifiedName", 60, validation::is_qualified_name),
    format("dns1123LabelPrefix", 30, |text| validation::is_dns1123_label(&object_meta::mask_trailing_dash(text, true))),
    format("dns1123SubdomainPrefix", 60, |text| {
        validation::is_dns1123_subdomain(&object_meta::mask_trailing_dash(text, true))
    }),
    format("dns1035LabelPrefix", 30, |text| validation::is_dns1035_label(&object_meta::mask_trailing_dash(text, true))),
    format("labelValue", 40, validation::is_label_value),
    format("uri", 1103, |text| Url::parse(text).err().into_iter().collect()),
    format("uuid", 84, |text| unless(is_uuid(text), "does not match the UUID format")),
    format("byte", 84, |text| unless(base64::engine::general_purpose::STANDARD.decode(text).is_ok(), "invalid base64")),
    format("date", 143, |text| unless(text.len() == 10 && time::parse_date_or_time(text).is_some(), "invalid date")),
    format("datetime", 143, |text| unless(time::parse_timestamp(text).is_some(), "invalid datetime")),
];

fn unless(valid: bool, message: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![message.into()] }
}

fn is_uuid(text: &str) -> bool {
    let digits = text.chars().filter(|c| *c != '-').collect::<String>();
    let plain = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    let places: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    plain && (places.is_empty() || places == [8, 13, 18, 23])
}

fn named<'a>(name: &str) -> Option<Value<'a>> {
    let found = FORMATS.iter().find(|format| format.name == name)?;
    Some(Value::opaque(Opaque::Format(FormatValue(found))))
}

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("format.named", [Value::String(name)]) => Some(Ok(named(name).map_or_else(Value::none, Value::some))),
        ("validate", [Value::Opaque(value), Value::String(text)]) => match &**value {
            Opaque::Format(FormatValue(format)) => Some(Ok(problems((format.check)(text)))),
            _ => None,
        },
        (_, []) => named(function.strip_prefix("format.")?).map(Ok),
        _ => None,
    }
}

fn problems<'a>(found: Vec<String>) -> Value<'a> {
    if found.is_empty() {
        Value::none()
    } else {
        Value::some(Value::list(found.into_iter().map(Value::text).collect()))
    }
}
