//! The text that is edited: its header, and what of it counts.

use serde_json::Value;

use crate::objects::decode_documents;

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

const HEADER_LAST_APPLIED: &str = "# Please edit the 'last-applied-configuration' annotations below.
# Lines beginning with a '#' will be ignored, and an empty file will abort the edit.
#
";

/// Why the user sees the text again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    pub head: String,
    pub details: Vec<String>,
}

pub fn header(of_last_applied: bool, reasons: &[Reason]) -> String {
    let mut text = if of_last_applied { HEADER_LAST_APPLIED } else { HEADER }.to_owned();
    for reason in reasons {
        let colon = if reason.details.is_empty() { "" } else { ":" };
        text.push_str(&format!("# {}{colon}\n", commented(&reason.head)));
        for detail in &reason.details {
            text.push_str(&format!("# * {}\n", commented(detail)));
        }
        text.push_str("#\n");
    }
    text
}

/// Further lines are comments, too.
fn commented(text: &str) -> String {
    let mut lines = text.split('\n').peekable();
    let mut out = lines.next().unwrap_or_default().to_owned();
    while let Some(line) = lines.next() {
        let bare = line.starts_with('#') || (line.is_empty() && lines.peek().is_none());
        out.push_str(if bare { "\n" } else { "\n# " });
        out.push_str(line);
    }
    out
}

/// Without the lines that are comments.
pub fn uncommented(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') && !trimmed.starts_with("#!") {
            continue;
        }
        out.push_str(line);
        if index + 1 < lines.len() {
            out.push('\n');
        }
    }
    out
}

/// Whether two texts say the same.
pub fn same(one: &str, other: &str) -> bool {
    match (decode_documents(one), decode_documents(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), Err(_)) => uncommented(one) == uncommented(other),
        _ => false,
    }
}

/// Whether there is anything but comments.
pub fn has_lines(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What can be told to be wrong without knowing the kinds.
pub fn validate(text: &str) -> Result<(), String> {
    let documents = decode_documents(text)?;
    let Some(object) = documents.first() else { return Err("invalid object to validate".to_owned()) };
    let Some(fields) = object.as_object() else { return Err("invalid object to validate".to_owned()) };
    let missing: Vec<String> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|field| fields.get(*field).and_then(Value::as_str).unwrap_or_default().is_empty())
        .map(|field| format!("{field} not set"))
        .collect();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// A value as Go's `%#v` prints what JSON decodes to.
pub fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Indents JSON by two as Go does: the text stays as it is but for white space between tokens.
pub fn indented(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_usize);
    let (mut in_text, mut escaped, mut opened) = (false, false, false);
    let end = text.trim_end().len();
    let line = |out: &mut String, depth: usize| out.push_str(&format!("\n{}", "  ".repeat(depth)));
    for character in text[..end].chars() {
        if in_text {
            out.push(character);
            in_text = escaped || character != '"';
            escaped = character == '\\' && !escaped;
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        if opened && !matches!(character, '}' | ']') {
            depth += 1;
            line(&mut out, depth);
        }
        let was_opened = std::mem::replace(&mut opened, matches!(character, '{' | '['));
        match character {
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '}' | ']' if was_opened => out.push(character),
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            _ => {
                in_text = character == '"';
                out.push(character);
            }
        }
    }
    out + &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn the_header_tells_why() {
        let reason = Reason { head: "pods \"x\" was not valid".into(), details: vec!["a: b\nc".into()] };
        expect![[r##"
            # Please edit the object below. Lines beginning with a '#' will be ignored,
            # and an empty file will abort the edit. If an error occurs while saving this file will be
            # reopened with the relevant failures.
            #
            # pods "x" was not valid:
            # * a: b
            # c
            #
        "##]]
        .assert_eq(&header(false, &[reason]));
    }

    #[test]
    fn comments_do_not_count() {
        assert_eq!(uncommented("# a\nb: c\n  # d\n#!e\n"), "b: c\n#!e\n");
        assert!(same("# a\nb: {c: d}\n", "b:\n  c: d\n") && !same("b: 1", "b: 2"));
        assert!(has_lines("# a\nb") && !has_lines("# a\n\n  # b\n"));
    }

    #[test]
    fn what_is_no_object_is_told() {
        assert_eq!(validate("# x\n"), Err("invalid object to validate".into()));
        assert_eq!(validate("a: b\n"), Err("[apiVersion not set, kind not set]".into()));
        assert_eq!(validate("apiVersion: v1\nkind: Pod\n"), Ok(()));
    }

    #[test]
    fn json_is_indented_as_it_stands() {
        assert_eq!(
            indented("{\"b\":{},\"a\":[1,\"x\\\"{\"]}\n"),
            "{\n  \"b\": {},\n  \"a\": [\n    1,\n    \"x\\\"{\"\n  ]\n}\n"
        );
    }

    #[test]
    fn values_are_printed_as_go_syntax() {
        let value = json!({"a": [1, "b"], "c": null});
        let wanted = "map[string]interface {}{\"a\":[]interface {}{1, \"b\"}, \"c\":interface {}(nil)}";
        assert_eq!(go_syntax(&value), wanted);
    }
}
