//! URLs, absolute ones or paths from the root.

use std::collections::BTreeMap;

use super::Answer;
use crate::errors::EvalError;
use crate::value::{Key, Map, Opaque, Text, UrlValue, Value};

/// A parsed URL.
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parses what a request line may hold: an absolute URL, or a path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let failed = |why: &str| format!("parse {text:?}: {why}");
        if text.is_empty() {
            return Err(failed("empty url"));
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(failed("net/url: invalid control character in URL"));
        }
        let (scheme, rest) = scheme(text).map_err(failed)?;
        if scheme.is_empty() && !rest.starts_with('/') || !scheme.is_empty() && rest.is_empty() {
            return Err(failed("invalid URI for request"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None if !scheme.is_empty() && !rest.starts_with('/') => return Err(failed("invalid URI for request")),
            None => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        check_host(host).map_err(|why| failed(&why))?;
        check_escapes(path).map_err(|why| failed(&why))?;
        Ok(Self { text: text.into(), scheme, host: host.into(), path: escaped(path), query: query.into() })
    }

    fn host_and_port(&self) -> (&str, &str) {
        let host = &self.host;
        let bracket = host.rfind(']').map_or(0, |at| at + 1);
        let (name, port) = match host[bracket..].find(':') {
            Some(at) => (&host[..bracket + at], &host[bracket + at + 1..]),
            None => (host.as_str(), ""),
        };
        (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
    }
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(bad) = host.chars().find(|c| c.is_whitespace() || "\"<>\\^`{|}".contains(*c)) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    if host.starts_with('[') && !host.contains(']') {
        return Err("missing ']' in host".into());
    }
    let after = host.rfind(']').map_or(host, |at| &host[at + 1..]);
    match after.rsplit_once(':') {
        Some((_, port)) if !port.chars().all(|c| c.is_ascii_digit()) => {
            Err(format!("invalid port \":{port}\" after host"))
        }
        _ => Ok(()),
    }
}

fn check_escapes(path: &str) -> Result<(), String> {
    for (at, _) in path.match_indices('%') {
        let digits = path.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("invalid URL escape {:?}", path.get(at..at + 3).unwrap_or(&path[at..])));
        }
    }
    Ok(())
}

/// The path with what may not stand in it escaped.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            _ if b"-_.~$&+,/:;=@%!'()*[]".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Undoes the escapes of a query; `None` if one is wrong.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn query<'a>(text: &str) -> Value<'a> {
    let mut values: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for part in text.split('&').filter(|part| !part.is_empty() && !part.contains(';')) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if let (Some(name), Some(value)) = (unescaped(name), unescaped(value)) {
            values.entry(name).or_default().push(Value::text(value));
        }
    }
    let entry = |(name, values): (String, _)| (Key::String(Text::Shared(name.into())), Value::list(values));
    Value::Map(Map::owned(values.into_iter().map(entry).collect()))
}

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("url", [Value::String(text)]) => Some(match Url::parse(text) {
            Ok(url) => Ok(Value::opaque(Opaque::Url(UrlValue(url)))),
            Err(error) => Err(EvalError::message(format!("URL parse error during conversion from string: {error}"))),
        }),
        ("isURL", [Value::String(text)]) => Some(Ok(Value::Bool(Url::parse(text).is_ok()))),
        (_, [Value::Opaque(value)]) => match &**value {
            Opaque::Url(UrlValue(url)) => part(function, url),
            _ => None,
        },
        _ => None,
    }
}

fn part<'a>(function: &str, url: &Url) -> Answer<'a> {
    let text = match function {
        "getScheme" => &url.scheme,
        "getHost" => &url.host,
        "getHostname" => url.host_and_port().0,
        "getPort" => url.host_and_port().1,
        "getEscapedPath" => &url.path,
        "getQuery" => return Some(Ok(query(&url.query))),
        _ => return None,
    };
    Some(Ok(Value::text(text)))
}
