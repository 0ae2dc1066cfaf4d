//! Go templates: the engine is a library's, the words are Go's.

mod functions;
mod wording;

use gtmpl_ng::{Context, Limits, Number, Template, Value as GoValue};
use serde_json::Value;

use super::{compact_json, go_text};
use crate::failure::{Failure, fail};

/// The name under which kubectl parses templates.
const NAME: &str = "output";

pub struct GoTemplate {
    text: String,
    template: Template,
}

/// What a template wrote before it ended, and why it ended early if it did.
pub struct Written {
    pub text: Vec<u8>,
    pub failure: Option<Failure>,
}

impl GoTemplate {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        // Who writes the template runs it: there is nobody to be protected.
        let mut template = Template::with_limits(Limits::unlimited());
        template.name = NAME.into();
        template.add_funcs(functions::ALL);
        match template.parse(text) {
            Ok(()) => Ok(Self { text: text.to_owned(), template }),
            Err(error) => fail!("error parsing template {text}, {}", wording::of_parse(&error)),
        }
    }

    pub fn execute(&self, object: &Value) -> Written {
        let mut text = Vec::new();
        let context = Context::from(of_json(object));
        let failure = match self.template.execute(&mut text, &context) {
            Ok(()) => None,
            Err(error) => Some(wording::of_execution(&error, &self.text, object)),
        };
        if let Some(why) = &failure {
            text.extend_from_slice(self.explain(why, object).as_bytes());
        }
        let failure =
            failure.map(|why| Failure::Plain(format!("error executing template {}: {why}", go_quoted(&self.text))));
        Written { text, failure }
    }

    fn explain(&self, why: &str, object: &Value) -> String {
        format!(
            "Error executing template: {why}. Printing more information for debugging the template:\n\ttemplate \
             was:\n\t\t{}\n\traw data was:\n\t\t{}\n\tobject given to template engine was:\n\t\t{}\n\n",
            self.text,
            compact_json(object),
            go_text(object)
        )
    }
}

/// `%q`.
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\'' => quoted.push('\''),
            '\0'..'\u{20}' | '\u{7f}' if !['\n', '\r', '\t'].contains(&character) => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            _ => quoted.extend(character.escape_debug()),
        }
    }
    quoted + "\""
}

fn of_json(value: &Value) -> GoValue {
    match value {
        Value::Null => GoValue::Nil,
        Value::Bool(flag) => GoValue::Bool(*flag),
        Value::String(text) => GoValue::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => GoValue::Number(Number::signed(number)),
            (None, number) => GoValue::Number(Number::float(number.unwrap_or(f64::NAN))),
        },
        Value::Array(items) => GoValue::Array(items.iter().map(of_json).collect()),
        Value::Object(map) => GoValue::Map(map.iter().map(|(key, value)| (key.clone(), of_json(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(template: &str) -> Result<String, String> {
        let object = json!({
            "kind": "Pod", "data": {"a": "aGk="}, "count": 3,
            "items": [{"name": "a", "ready": true}, {"name": "b", "ready": false}],
        });
        let template = GoTemplate::parse(template).map_err(|failure| failure.text())?;
        let written = template.execute(&object);
        match written.failure {
            None => Ok(String::from_utf8(written.text).expect("text")),
            Some(failure) => Err(failure.text().split("\": ").skip(1).collect::<Vec<_>>().join("\": ")),
        }
    }

    #[test]
    fn templates_print_as_by_go() {
        for (template, text) in [
            ("{{.kind}} {{.count}} {{.none}} {{.none.more}} {{.data}}", "Pod 3 <no value> <no value> map[a:aGk=]"),
            ("{{range $i, $o := .items}}{{if $i}}, {{end}}{{$o.name}}{{end}}", "a, b"),
            ("{{range .none}}x{{else}}nothing{{end}}", "nothing"),
            ("{{with .data}}{{.a | base64decode}}{{end}}", "hi"),
            (
                "{{exists . \"data\" \"a\"}} {{exists . \"data\" \"b\"}} {{exists .items 1}} {{exists .items 2}}",
                "true false true false",
            ),
            ("{{printf \"%s=%d|%5s|%-4v|%q\" .kind .count \"x\" true \"y\"}}", "Pod=3|    x|true|\"y\""),
            ("{{- /* nothing */ -}} a {{- \"b\" -}} c", "abc"),
            ("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .kind}}", "[Pod]"),
            ("{{$x := 1}}{{$x = 2}}{{$x}} {{len .items}} {{index .items 1 \"name\"}}", "2 2 b"),
            (
                "{{if and (eq .kind \"Pod\") (not false) (or 0 1)}}y{{else}}n{{end}} {{eq 1 2 1}} {{lt 1 2}} {{ge \"b\" \"c\"}}",
                "y true true false",
            ),
            ("{{eq .none \"x\"}} {{ne .kind \"x\"}}", "false true"),
        ] {
            assert_eq!(printed(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn mistakes_are_told_as_by_go() {
        for (template, why) in [
            (
                "{{.kind.x}}",
                "template: output:1:7: executing \"output\" at <.kind.x>: can't evaluate field x in type interface {}",
            ),
            (
                "a\n{{len .count}}",
                "template: output:2:2: executing \"output\" at <len .count>: error calling len: len of type int64",
            ),
            (
                "{{eq .kind 3}}",
                "template: output:1:2: executing \"output\" at <eq .kind 3>: error calling eq: incompatible types for comparison: string and int",
            ),
            (
                "{{template \"b\"}}",
                "template: output:1:11: executing \"output\" at <{{template \"b\"}}>: template \"b\" not defined",
            ),
            (
                "{{index .items 5}}",
                "template: output:1:2: executing \"output\" at <index .items 5>: error calling index: index out of range: 5",
            ),
        ] {
            assert_eq!(printed(template), Err(why.to_owned()), "{template}");
        }
        for (template, why) in [
            ("{{foo}}", "error parsing template {{foo}}, template: output:1: function \"foo\" not defined"),
            ("{{.a", "error parsing template {{.a, template: output:1: unclosed action"),
            ("{{$y}}", "error parsing template {{$y}}, template: output:1: undefined variable \"$y\""),
            ("{{.a.}}", "error parsing template {{.a.}}, template: output:1: unexpected <.> in operand"),
            ("{{end}}", "error parsing template {{end}}, template: output:1: unexpected {{end}}"),
        ] {
            assert_eq!(printed(template), Err(why.to_owned()), "{template}");
        }
    }

    #[test]
    fn quotes_are_gos() {
        assert_eq!(go_quoted("a\"b\\\n\u{1}é'"), "\"a\\\"b\\\\\\n\\x01é'\"");
    }
}
