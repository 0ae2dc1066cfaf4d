//! JSONPath in kubectl's dialect: text with actions in braces, `range … end`, filters, slices, unions, recursion.

mod eval;
mod parse;

use serde_json::Value;

use super::{go_text, json};
use crate::failure::{Failure, fail};
use eval::Found;
use parse::Node;

/// A template, ready to be applied.
#[derive(Debug)]
pub struct JsonPath {
    template: String,
    nodes: Vec<Node>,
    /// Whether a field that is nowhere is an error.
    missing_keys_fail: bool,
}

impl JsonPath {
    pub fn parse(template: &str, allow_missing_keys: bool) -> Result<Self, Failure> {
        match parse::template(template) {
            Ok(nodes) => Ok(Self { template: template.to_owned(), nodes, missing_keys_fail: !allow_missing_keys }),
            Err(why) => fail!("error parsing jsonpath {template}, {why}"),
        }
    }

    /// All values, of all actions.
    pub fn find(&self, object: &Value) -> Result<Vec<Value>, Failure> {
        Ok(self.results(object)?.into_iter().flatten().map(Found::into_value).collect())
    }

    /// As text: values of one action are separated by spaces.
    pub fn print(&self, object: &Value) -> Result<String, Failure> {
        let text = |found: &Found<'_>| match found.value() {
            value @ (Value::Object(_) | Value::Array(_)) => json::compact(value),
            Value::Null => "null".into(),
            value => go_text(value),
        };
        let results = self.results(object)?;
        Ok(results.iter().map(|found| found.iter().map(text).collect::<Vec<_>>().join(" ")).collect())
    }

    /// Each action's values as a JSON array.
    pub fn print_json(&self, object: &Value) -> Result<String, Failure> {
        let results = self.results(object)?;
        let array = |found: Vec<Found<'_>>| Value::Array(found.into_iter().map(Found::into_value).collect());
        Ok(results.into_iter().map(|found| json::to_json(&array(found)) + "\n").collect())
    }

    fn results<'a>(&'a self, object: &'a Value) -> Result<Vec<Vec<Found<'a>>>, Failure> {
        eval::run(&self.nodes, object, self.missing_keys_fail).map_err(|why| {
            let template = &self.template;
            Failure::Plain(format!(
                "error executing jsonpath {template:?}: Error executing template: {why}. Printing more information for \
                 debugging the template:\n\ttemplate was:\n\t\t{template}\n\tobject given to jsonpath engine \
                 was:\n\t\t{}\n\n\n",
                go_syntax(object)
            ))
        })
    }
}

/// `%#v`.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Value {
        json!({
            "kind": "List",
            "n": 2,
            "labels": {"app.kubernetes.io/name": "web", "tier": "front"},
            "items": [
                {"name": "a", "port": 80, "tags": ["x", "y"], "up": true},
                {"name": "b", "port": 443, "tags": [], "up": false},
                {"name": "c", "port": 8080},
            ],
        })
    }

    fn printed(template: &str) -> String {
        match JsonPath::parse(template, true) {
            Ok(path) => path.print(&object()).unwrap_or_else(|failure| first_line(&failure)),
            Err(failure) => failure.text(),
        }
    }

    fn first_line(failure: &Failure) -> String {
        let text = failure.text();
        let (_, why) = text.split_once("Error executing template: ").expect("a reason");
        why.split(". Printing").next().expect("a reason").to_owned()
    }

    #[test]
    fn templates_are_applied() {
        for (template, wanted) in [
            ("{.kind} x", "List x"),
            ("{kind}", "unrecognized identifier kind"),
            ("{$.kind}{@.n}", "List2"),
            ("{.nope.deeper}", ""),
            ("{.items[0].name}{.items[-1].name}", "ac"),
            ("{.items[*].name}", "a b c"),
            ("{.items[0:2].port}", "80 443"),
            ("{.items[::2].name}", "a c"),
            ("{.items[0,2].name}", "a c"),
            ("{.items[0]['name','port']}", "a 80"),
            (r"{.labels.app\.kubernetes\.io/name}", "web"),
            ("{.labels['app\\.kubernetes\\.io/name']}", "web"),
            ("{.items[0].tags}", r#"["x","y"]"#),
            ("{.labels}", r#"{"app.kubernetes.io/name":"web","tier":"front"}"#),
            ("{.labels.*}", "web front"),
            ("{..name}", "a b c"),
            (r#"{.items[?(@.name=="b")].port}"#, "443"),
            (r#"{.items[?(@.name!='b')].port}"#, "80 8080"),
            ("{.items[?(@.port>80)].name}", "b c"),
            ("{.items[?(@.tags)].name}", "a b"),
            ("{.items[?(@.up==true)].name}", "a"),
            (r#"{range .items[*]}{.name}{"\t"}{.port}{"\n"}{end}done"#, "a\t80\nb\t443\nc\t8080\ndone"),
            ("{range .items[*]}[{range .tags[*]}{@},{end}]{end}", "[x,y,][][]"),
            ("{range .items[*]}{.name}", "abc"),
            ("{range .none[*]}{.name}{end}after", "after"),
            ("{end}", "not in range, nothing to end"),
            ("{.items[7].name}", "array index out of bounds: index 7, length 3"),
            ("{.n[0]}", "int64 is not array or slice"),
            ("{.n[?(@.a)]}", "2 is not array or slice and cannot be filtered"),
            ("{.kind.*}", "76 105 115 116"),
            ("{foo-bar}", "unrecognized identifier foo-bar"),
            ("{range .items[*]}{.kind}", "List"),
        ] {
            assert_eq!(printed(template), wanted, "{template}");
        }
    }

    #[test]
    fn missing_keys_are_told_where_they_must_be_there() {
        let path = |template: &str| JsonPath::parse(template, false).expect("a path");
        let failure = path("{.items[*].nope}").print(&object()).expect_err("no such field");
        assert_eq!(first_line(&failure), "nope is not found");
        assert_eq!(path("{.items[*].up}").print(&object()).expect("some have it"), "true false");
    }

    #[test]
    fn bad_templates_are_told() {
        for (template, why) in [
            ("{.kind", "unclosed action"),
            ("{.items[a]}", "invalid array index a"),
            (r#"{.labels["tier"]}"#, "invalid array index \"tier\""),
            (r#"{.items[?(@.a=="b" && @.c)]}"#, "unrecognized character in action: U+0026 '&'"),
            ("{.items[0}", "unterminated array"),
            ("{.labels['a]b']}", "invalid array index 'a"),
            ("{....name}", "invalid multiple recursive descent"),
            ("{\t.kind}", "unrecognized character in action: U+0009"),
            (r#"{"\q"}"#, r#"unquote string "\q" error invalid syntax"#),
        ] {
            assert_eq!(printed(template), format!("error parsing jsonpath {template}, {why}"));
        }
    }

    #[test]
    fn values_come_as_json_too() {
        let path = JsonPath::parse("{.items[*].name}", true).expect("a path");
        assert_eq!(path.print_json(&object()).expect("found"), "[\n    \"a\",\n    \"b\",\n    \"c\"\n]\n");
    }
}
