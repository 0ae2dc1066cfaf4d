//! Whether a value fits its place, as the merge needs it to.

use std::collections::BTreeSet;
use std::fmt;

use api::schema::{SchemaNode, Type};
use serde_json::{Map, Value};

use super::shape::{self, Place, Shape};
use crate::managed_fields::PathElement;

/// Whether lists may hold an identity twice: what is stored may, what is applied may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    Allowed,
    Refused,
}

/// What is wrong at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong, printed as upstream does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(f);
        }
        f.write_str("errors:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// Checks types, declared fields, keys and duplicates.
pub fn validate(value: &Value, place: Place<'_>, duplicates: Duplicates) -> Result<(), Problems> {
    let mut walk = Walk { duplicates, path: Vec::new(), problems: Vec::new(), is_open: false };
    walk.value(value, place);
    if walk.problems.is_empty() { Ok(()) } else { Err(Problems(walk.problems)) }
}

struct Walk {
    duplicates: Duplicates,
    path: Vec<PathElement>,
    problems: Vec<Problem>,
    /// Below a schema that preserves unknown fields: those below it do, too.
    is_open: bool,
}

impl Walk {
    fn complain(&mut self, message: impl Into<String>) {
        let path = self.path.iter().map(ToString::to_string).collect();
        self.problems.push(Problem { path, message: message.into() });
    }

    fn value(&mut self, value: &Value, place: Place<'_>) {
        match (Shape::of(place, value), value) {
            (Shape::Scalar, value) => self.scalar(value, place.and_then(|node| node.scalar())),
            (_, Value::Null) => {}
            (Shape::Map | Shape::AtomicMap, Value::Object(map)) => self.fields(map, place),
            (Shape::Map | Shape::AtomicMap, other) => self.complain(format!("expected map, got {}", go_value(other))),
            (shape, Value::Array(list)) => self.items(list, place, shape),
            (_, other) => self.complain(format!("expected list, got {}", go_value(other))),
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, place: Place<'_>) {
        let was_open = self.is_open;
        self.is_open |= place.is_some_and(|node| node.keeps_unknown_fields());
        for (name, value) in map {
            let child = shape::field(place, name);
            self.path.push(PathElement::Field(name.clone()));
            if child.is_none() && !self.is_open && place.is_some_and(closed) {
                self.complain("field not declared in schema");
            } else {
                self.value(value, child);
            }
            self.path.pop();
        }
        self.is_open = was_open;
    }

    fn items(&mut self, list: &[Value], place: Place<'_>, shape: Shape<'_>) {
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let element = match shape {
                Shape::AtomicList => PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX)),
                _ => match shape::identity(shape, place, item) {
                    Ok(element) => element,
                    Err(why) => return self.complain(format!("element {index}: {why}")),
                },
            };
            if !seen.insert(element.clone()) && self.duplicates == Duplicates::Refused {
                self.complain(format!("duplicate entries for key {element}"));
            }
            self.path.push(element);
            self.value(item, shape::item(place));
            self.path.pop();
        }
    }

    fn scalar(&mut self, value: &Value, ty: Option<Type>) {
        let problem = match (ty, value) {
            (_, Value::Null) => None,
            (Some(Type::String | Type::Bytes | Type::Time | Type::MicroTime), value) => (!value.is_string())
                .then(|| format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value))),
            (Some(Type::Int32 | Type::Int64 | Type::Double), value) => {
                (!value.is_number()).then(|| format!("expected numeric (int or float), got {}", go_type(value)))
            }
            (Some(Type::Bool), value) => {
                (!value.is_boolean()).then(|| format!("expected boolean, got {}", go_value(value)))
            }
            (_, value) => {
                (value.is_object() || value.is_array()).then(|| format!("expected any scalar, got {}", go_value(value)))
            }
        };
        if let Some(problem) = problem {
            self.complain(problem);
        }
    }
}

/// Whether an object takes declared fields only.
fn closed(node: SchemaNode<'_>) -> bool {
    !node.is_any() && !node.is_map()
}

/// A value as Go's `%v` prints a pointer to it, which is what clients are shown.
fn go_value(value: &Value) -> String {
    format!("&{{{}}}", plain(value))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", list(items.iter().map(go_syntax).collect())),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", list(entries))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: &Value, expected: &expect_test::Expect) {
        let place = Some(api::schema::kind("", "v1", "Pod").unwrap().node());
        let answer = validate(value, place, Duplicates::Refused);
        expected.assert_eq(&answer.map_or_else(|problems| problems.to_string(), |()| "fits".into()));
    }

    #[test]
    fn says_what_does_not_fit_as_upstream_does() {
        use expect_test::expect;
        check(&json!({"spec": {"foo": 1}}), &expect![".spec.foo: field not declared in schema"]);
        check(
            &json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}),
            &expect![[r#".spec.containers: duplicate entries for key [name="c"]"#]],
        );
        check(&json!({"spec": {"containers": {"a": 1}}}), &expect![".spec.containers: expected list, got &{map[a:1]}"]);
        check(
            &json!({"metadata": {"labels": ["a"]}, "spec": {"priority": "x"}}),
            &expect![[r#"
                errors:
                  .metadata.labels: expected map, got &{[a]}
                  .spec.priority: expected numeric (int or float), got string"#]],
        );
        check(
            &json!({"spec": {"nodeName": 1}}),
            &expect![".spec.nodeName: expected string, got &value.valueUnstructured{Value:1}"],
        );
        check(
            &json!({"metadata": {"finalizers": ["a", "a"]}}),
            &expect![[r#".metadata.finalizers: duplicate entries for key [="a"]"#]],
        );
        check(&json!({"metadata": {"labels": null}, "spec": {"containers": [{}]}}), &expect!["fits"]);
    }
}
