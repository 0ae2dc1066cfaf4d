//! KYAML: YAML in braces, every text quoted, nothing to guess.

use std::fmt::Write;

use regex::Regex;
use serde_json::Value;

const FOLD: &str = "\\\n";

/// A document with its head.
pub fn to_kyaml(value: &Value) -> String {
    let mut out = String::from("---\n");
    write_value(&mut out, value, 0);
    out.push('\n');
    out
}

fn indent(out: &mut String, depth: usize) {
    out.push_str(&"  ".repeat(depth));
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(text) => write_text(out, text, depth + 1, false),
        Value::Array(items) => write_items(out, items, depth),
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            out.push_str("{\n");
            for (key, value) in map {
                indent(out, depth + 1);
                write_key(out, key, depth + 1);
                out.push_str(": ");
                write_value(out, value, depth + 1);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Lists of maps and lists share their brackets' lines with them.
fn write_items(out: &mut String, items: &[Value], depth: usize) {
    if items.is_empty() {
        return out.push_str("[]");
    }
    if items.iter().all(|item| item.is_object() || item.is_array()) {
        out.push('[');
        for (index, item) in items.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            write_value(out, item, depth);
        }
        return out.push(']');
    }
    out.push_str("[\n");
    for item in items {
        indent(out, depth + 1);
        write_value(out, item, depth + 1);
        out.push_str(",\n");
    }
    indent(out, depth);
    out.push(']');
}

fn write_key(out: &mut String, key: &str, depth: usize) {
    if needs_quotes(key) { write_text(out, key, depth, true) } else { out.push_str(key) }
}

/// Quoted. What has several lines is folded at their ends, unless it must be compact.
fn write_text(out: &mut String, text: &str, depth: usize, compact: bool) {
    let folds = text.contains('\n') && !compact;
    let mut at_start = folds;
    out.push('"');
    if folds {
        out.push_str(FOLD);
    }
    for character in text.chars() {
        if at_start {
            indent(out, depth);
            // A leading space counts only when it is escaped.
            out.push(if character.is_whitespace() && character != '\n' { '\\' } else { ' ' });
        }
        at_start = folds && character == '\n';
        write_character(out, character);
        if at_start {
            out.push_str(FOLD);
        }
    }
    if folds {
        if !at_start {
            out.push_str(FOLD);
        }
        indent(out, depth);
    }
    out.push('"');
}

fn write_character(out: &mut String, character: char) {
    let name = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{b}' => "\\v",
        '\0' => "\\0",
        '\u{1b}' => "\\e",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => return write_plain(out, character),
    };
    out.push_str(name);
}

fn write_plain(out: &mut String, character: char) {
    let code = u32::from(character);
    let written = match code {
        0..=8 | 0xa..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
        0x80..0xa0 | 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0xfeff | 0xe000..=0xf8ff => {
            write!(out, "\\u{code:04x}")
        }
        _ => write!(out, "{character}"),
    };
    written.expect("a string takes everything");
}

fn needs_quotes(key: &str) -> bool {
    let last = key.chars().count().saturating_sub(1);
    let allowed = |(index, character): (usize, char)| {
        character.is_alphanumeric()
            || character == '_'
            || (index > 0 && index < last && ['-', '.', '/'].contains(&character))
    };
    key.is_empty() || is_guessed(key) || !key.chars().enumerate().all(allowed)
}

/// Whether some YAML reader takes the text for something else.
fn is_guessed(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "null", "~", "true", "false", "t", "f", "y", "n", "yes", "no", "on", "off", "1", "0", ".inf", "-.inf", "+.inf",
        ".nan", "inf", "+inf", "-inf", "infinity", "nan",
    ];
    const SHAPES: &[&str] = &[
        // Integers of every base.
        r"^[+-]?(0[bB][01]+|0[oO]?[0-7]+|0[xX][0-9a-fA-F]+|[0-9]+)$",
        // Floating point, decimal and hexadecimal.
        r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
        r"^[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+$",
        // Dates and times.
        r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?$",
    ];
    let bare = text.replace('_', "");
    let matches = |shape: &&str| Regex::new(shape).expect("a fixed expression").is_match(&bare);
    WORDS.contains(&text.to_lowercase().as_str()) || SHAPES.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn values_are_written_in_braces() {
        let value = json!({
            "a.b/c": {}, "yes": [], "1a": [1, "x"], "0x1f": [{"a": true}, {"b": null}],
            "text": "x\n  y\n", "last": "a\nb", "tab": "a\t\"\\\u{1}", "c d": "",
        });
        expect![[r#"
            ---
            {
              "0x1f": [{
                a: true,
              }, {
                b: null,
              }],
              1a: [
                1,
                "x",
              ],
              a.b/c: {},
              "c d": "",
              last: "\
                 a\n\
                 b\
                ",
              tab: "a	\"\\\x01",
              text: "\
                 x\n\
                \  y\n\
                ",
              "yes": [],
            }
        "#]]
        .assert_eq(&to_kyaml(&value));
    }
}
