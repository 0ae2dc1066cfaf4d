//! Go templates as Go runs them: the same text, the same complaints at the same places.
//!
//! [`lex`] makes tokens, [`parse`] a tree of them, [`exec`] writes what the tree says of an object.

mod constant;
mod exec;
mod functions;
mod lex;
mod parse;
mod tree;
mod value;

use serde_json::Value;

pub use self::lex::code_point;
pub use super::go::quoted as go_quoted;
use super::{compact_json, go_text};
use crate::failure::{Failure, fail};

/// The name under which kubectl parses templates.
const NAME: &str = "output";

pub struct GoTemplate {
    text: String,
    templates: parse::Templates,
    /// Whether a field that is not there is an error.
    missing_keys_fail: bool,
}

/// What a template wrote before it ended, and why it ended early if it did.
pub struct Written {
    pub text: Vec<u8>,
    pub failure: Option<Failure>,
}

impl GoTemplate {
    pub fn parse(text: &str, allow_missing_keys: bool) -> Result<Self, Failure> {
        match parse::parse(text) {
            Ok(templates) => Ok(Self { text: text.to_owned(), templates, missing_keys_fail: !allow_missing_keys }),
            Err(why) => fail!("error parsing template {text}, {why}"),
        }
    }

    pub fn execute(&self, object: &Value) -> Written {
        let mut execution = exec::Execution::new(&self.text, &self.templates, self.missing_keys_fail);
        let failure = execution.run(object).err();
        let mut text = execution.written;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(template: &str) -> Result<String, String> {
        let object = json!({
            "kind": "Pod", "data": {"a": "aGk="}, "count": 3,
            "items": [{"name": "a", "ready": true}, {"name": "b", "ready": false}],
        });
        let template = GoTemplate::parse(template, true).map_err(|failure| failure.text())?;
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
            ("{{with .none}}a{{else with .kind}}{{.}}{{else}}c{{end}}", "Pod"),
            ("{{range .items}}{{if .ready}}{{continue}}{{end}}{{.name}}{{break}}{{end}}", "b"),
            ("{{range $i := 3}}{{$i}}{{end}}{{range .items}}{{$ = .name}}{{end}}{{$}}", "012b"),
            ("{{block \"t\" .kind}}<{{.}}>{{end}}{{template \"t\" 3}}", "<Pod><3>"),
            ("{{slice .kind 1 2}} {{(index .items 0).name}} {{(print 1 2) | printf \"%s!\" | len}}", "o a 4"),
            (
                "{{printf \"%05d|%x|%+.1e|%T|%[1]v|%z\" 7 \"hi\" 1.5 .count}}",
                "00007|6869|+1.5e+00|int64|7|%!z(string=hi)",
            ),
            (
                "{{printf \"%d\" .kind}} {{printf \"%s\"}} {{printf \"\" 1}}",
                "%!d(string=Pod) %!s(MISSING) %!(EXTRA int=1)",
            ),
            (
                "{{0x1F}} {{'a'}} {{1e3}} {{\"\\u00e9\"}} {{print 1 2 \"a\" 3}} {{html \"<\"}} {{urlquery \"a b\"}}",
                "31 97 1000 é 1 2a3 &lt; a+b",
            ),
            ("{{or .none .kind .kind.bad}} {{and 0 .kind.bad}} {{not .none}}", "Pod 0 true"),
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
            (
                "{{range .a}}{{else}}{{else}}{{end}}",
                "error parsing template {{range .a}}{{else}}{{else}}{{end}}, template: output:1: expected end; found {{else}}",
            ),
            ("{{break}}", "error parsing template {{break}}, template: output:1: {{break}} outside {{range}}"),
            (
                "{{.a | 1}}",
                "error parsing template {{.a | 1}}, template: output:1: non executable command in pipeline stage 2",
            ),
            ("{{\n.a", "error parsing template {{\n.a, template: output:2: unclosed action started at output:1"),
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
