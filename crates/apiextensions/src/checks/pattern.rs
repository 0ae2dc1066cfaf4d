//! Regular expressions in Go's syntax.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use regex::Regex;

/// Compiled expressions are large and most schemas are idle: only so many are kept.
const KEPT_MAX: usize = 128;

static COMPILED: LazyLock<Mutex<HashMap<Arc<str>, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// The expression, ready to match. The error reads like Go's.
pub fn compiled(pattern: &str) -> Result<Arc<Regex>, String> {
    if let Some(known) = COMPILED.lock().get(pattern) {
        return Ok(known.clone());
    }
    let regex = Arc::new(Regex::new(&translate(pattern)).map_err(|why| go_error(pattern, &why))?);
    let mut kept = COMPILED.lock();
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(pattern.into(), regex.clone());
    Ok(regex)
}

/// From Go's syntax to ours: its classes `\d`, `\s`, `\w` and its `\b` are ASCII, and fewer characters are special.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut class = Class::Outside;
    while let Some(c) = rest.next() {
        class = match (c, class) {
            ('\\', _) => {
                escape(&mut out, &mut rest, class != Class::Outside);
                class.later()
            }
            ('[', Class::Outside) => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                Class::First
            }
            ('{', Class::Outside) => {
                let repeat = is_repeat(rest.clone());
                out.push_str(if repeat { "{" } else { "\\{" });
                Class::Outside
            }
            (_, Class::Outside) => {
                out.push(c);
                Class::Outside
            }
            (']', Class::Later) => {
                out.push(']');
                Class::Outside
            }
            ('[', _) if rest.peek() == Some(&':') => posix_class(&mut out, &mut rest),
            ('[' | ']' | '&' | '~', _) => {
                out.push('\\');
                out.push(c);
                Class::Later
            }
            ('-', _) if rest.peek() == Some(&'-') => {
                out.push_str("\\-");
                Class::Later
            }
            _ => {
                out.push(c);
                Class::Later
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Outside,
    /// Right after the bracket, where `]` is a character.
    First,
    Later,
}

impl Class {
    fn later(self) -> Self {
        if self == Class::Outside { Class::Outside } else { Class::Later }
    }
}

fn escape(out: &mut String, rest: &mut Peekable<Chars<'_>>, in_class: bool) {
    let Some(c) = rest.next() else { return out.push('\\') };
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    match c {
        'd' => _ = write!(out, "{open}0-9{close}"),
        's' => _ = write!(out, "{open}\\t\\n\\f\\r {close}"),
        'w' => _ = write!(out, "{open}0-9A-Za-z_{close}"),
        'D' => out.push_str("[^0-9]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' | 'B' if !in_class => _ = write!(out, "(?-u:\\{c})"),
        'Q' if !in_class => quoted(out, rest),
        '<' | '>' | '/' | '"' | '\'' | '%' | ',' | ';' | ':' | '=' | '@' | '`' | '_' | '!' => out.push(c),
        _ => _ = write!(out, "\\{c}"),
    }
}

/// What stands between `\Q` and `\E` is text.
fn quoted(out: &mut String, rest: &mut Peekable<Chars<'_>>) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

/// `[:alpha:]` inside a class.
fn posix_class(out: &mut String, rest: &mut Peekable<Chars<'_>>) -> Class {
    let name: String = rest.clone().take_while(|c| *c != ']').collect();
    if name.len() > 1 && name.ends_with(':') {
        _ = write!(out, "[{name}]");
        rest.nth(name.chars().count());
    } else {
        out.push_str("\\[");
    }
    Class::Later
}

/// Whether `{` opens a repetition, like `{2}`, `{2,}`, `{2,3}`.
fn is_repeat(rest: Peekable<Chars<'_>>) -> bool {
    let inner: String = rest.take_while(|c| *c != '}').collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (min, max) = inner.split_once(',').unwrap_or((&inner, ""));
    digits(min) && (max.is_empty() || digits(max))
}

/// The commonest complaints in Go's words.
fn go_error(pattern: &str, why: &regex::Error) -> String {
    let told = why.to_string();
    let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let (what, part) = match last.as_str() {
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        "unclosed character class" => ("missing closing ]", pattern.find('[').map_or(pattern, |at| &pattern[at..])),
        "repetition operator missing expression" => {
            let at = pattern.find(['*', '+', '?']);
            ("missing argument to repetition operator", at.map_or(pattern, |at| &pattern[at..=at]))
        }
        "look-around, including look-ahead and look-behind, is not supported" => {
            let at = pattern.find("(?").unwrap_or_default();
            let end = pattern[at..].char_indices().nth(3).map_or(pattern.len(), |(end, _)| at + end);
            ("invalid or unsupported Perl syntax", &pattern[at..end])
        }
        "incomplete escape sequence, reached end of pattern prematurely" => {
            ("trailing backslash at end of expression", "")
        }
        _ => return format!("error parsing regexp: {last}: `{pattern}`"),
    };
    format!("error parsing regexp: {what}: `{part}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_means_what_it_means_in_go() {
        for (pattern, good, bad) in [
            (r"^\d+$", "12", "١٢"),
            (r"^[\w-]+$", "a-b_c", "a b"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^[[a]$", "[", "b"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[^\s]+$", "ab", "a b"),
            (r"^[[:alpha:]]+$", "ab", "a1"),
            (r"^[a-z0-9]([a-z0-9--]*)$", "a", "-"),
            (r"^[]a]$", "]", "b"),
        ] {
            let regex = compiled(pattern).unwrap();
            assert!(regex.is_match(good), "{pattern} {good}");
            assert!(!regex.is_match(bad), "{pattern} {bad}");
        }
        assert_eq!(compiled("(").unwrap_err(), "error parsing regexp: missing closing ): `(`");
        assert_eq!(compiled("(?=a)").unwrap_err(), "error parsing regexp: invalid or unsupported Perl syntax: `(?=`");
    }
}
