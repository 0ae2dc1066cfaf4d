//! JSON as Go writes it: indented by four, keys sorted, and what is special in HTML escaped.

use serde_json::Value;

/// Indented, without a line end.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(0), &[]);
    out
}

/// Indented, with the keys in this order, and others behind them.
pub fn to_json_in_order(value: &Value, order: &[&str]) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(0), order);
    out
}

/// On one line.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, None, &[]);
    out
}

fn write(out: &mut String, value: &Value, depth: Option<usize>, order: &[&str]) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            write_all(out, ['[', ']'], depth, items.iter(), |out, item, depth| write(out, item, depth, order));
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| order.iter().position(|known| known == key).unwrap_or(order.len()));
            write_all(out, ['{', '}'], depth, entries.into_iter(), |out, (key, value), depth| {
                write_text(out, key);
                out.push_str(if depth.is_some() { ": " } else { ":" });
                write(out, value, depth, order);
            });
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_all<T>(
    out: &mut String,
    [open, close]: [char; 2],
    depth: Option<usize>,
    items: impl ExactSizeIterator<Item = T>,
    write_item: impl Fn(&mut String, T, Option<usize>),
) {
    let line = |out: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            out.push('\n');
            out.push_str(&"    ".repeat(depth));
        }
    };
    let (empty, inner) = (items.len() == 0, depth.map(|depth| depth + 1));
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(out, inner);
        write_item(out, item, inner);
    }
    if !empty {
        line(out, depth);
    }
    out.push(close);
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{0}'..'\u{20}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn json_is_written_as_by_go() {
        let value = json!({"b": [1, {"c": "<a>&\u{1}\t"}], "a": {}, "d": [], "e": null});
        expect![[r#"
            {
                "a": {},
                "b": [
                    1,
                    {
                        "c": "\u003ca\u003e\u0026\u0001\t"
                    }
                ],
                "d": [],
                "e": null
            }"#]]
        .assert_eq(&to_json(&value));
        assert_eq!(compact(&json!({"a": ["b", 1]})), r#"{"a":["b",1]}"#);
    }
}
