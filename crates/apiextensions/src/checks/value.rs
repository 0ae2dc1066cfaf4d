//! The walk over a value and its schema.

use serde_json::{Map, Value};

use super::limits;
use super::outcome::{Failure, FailureKind, Outcome};
use crate::structural::{Additional, Constraint, Correlated, Structural, Type};

/// The value together with what it was before, if that can be said, and whether the schema stands in a junctor, where nothing is forgiven.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    pub before: Option<Correlated<'a>>,
    pub nested: bool,
}

impl Judge<'_> {
    pub fn judge(self, value: &Value, schema: &Structural, path: &str) -> Outcome {
        let mut outcome = self.strictly(value, schema, path);
        if !self.nested && !outcome.fits() && self.before.is_some_and(|before| before.is_unchanged()) {
            outcome.failures.clear();
        }
        outcome
    }

    fn strictly(self, value: &Value, schema: &Structural, path: &str) -> Outcome {
        let mut outcome = Outcome::default();
        typed(value, schema, path, &mut outcome);
        if value.is_null() {
            limits::enumeration(value, schema, path, &mut outcome);
            return outcome;
        }
        self.junctors(value, schema, path, &mut outcome);
        match value {
            Value::String(text) => limits::text(text, schema, path, &mut outcome),
            Value::Number(number) => limits::number(number, schema, path, &mut outcome),
            Value::Array(items) => self.items(items, schema, path, &mut outcome),
            _ => {}
        }
        limits::enumeration(value, schema, path, &mut outcome);
        if let Value::Object(map) = value {
            self.fields(map, schema, path, &mut outcome);
        }
        outcome.matches += 3;
        outcome
    }

    fn inside(self) -> Self {
        Self { nested: true, ..self }
    }

    fn junctors(self, value: &Value, schema: &Structural, path: &str, outcome: &mut Outcome) {
        for constraint in &schema.constraints {
            match constraint {
                Constraint::AnyOf(branches) => self.any_of(value, branches, path, outcome),
                Constraint::OneOf(branches) => self.one_of(value, branches, path, outcome),
                Constraint::AllOf(branches) => self.all_of(value, branches, path, outcome),
                Constraint::Not(branch) => {
                    if self.inside().judge(value, branch, path).fits() {
                        outcome.fail(Failure::junctor(path, "must not validate the schema (not)"));
                    }
                }
                _ => break,
            }
        }
        outcome.matches += 1;
    }

    fn any_of(self, value: &Value, branches: &[Structural], path: &str, outcome: &mut Outcome) {
        let mut best: Option<Outcome> = None;
        for branch in branches {
            let found = self.inside().judge(value, branch, path);
            if found.fits() {
                return outcome.merge(found);
            }
            if best.as_ref().is_none_or(|best| found.matches > best.matches) {
                best = Some(found);
            }
        }
        outcome.fail(Failure::junctor(path, "must validate at least one schema (anyOf)"));
        outcome.merge(best.unwrap_or_default());
    }

    fn one_of(self, value: &Value, branches: &[Structural], path: &str, outcome: &mut Outcome) {
        let (mut fitting, mut first, mut best) = (0, None, None::<Outcome>);
        for branch in branches {
            let found = self.inside().judge(value, branch, path);
            if found.fits() {
                fitting += 1;
                best = None;
                first.get_or_insert(found);
            } else if fitting == 0 && best.as_ref().is_none_or(|best| found.matches > best.matches) {
                best = Some(found);
            }
        }
        if fitting == 1 {
            return outcome.merge(first.unwrap_or_default());
        }
        let why = if fitting == 0 { "Found none valid".into() } else { format!("Found {fitting} valid alternatives") };
        outcome.fail(Failure::junctor(path, &format!("must validate one and only one schema (oneOf). {why}")));
        outcome.merge(best.unwrap_or_default());
    }

    fn all_of(self, value: &Value, branches: &[Structural], path: &str, outcome: &mut Outcome) {
        let mut fitting = 0;
        for branch in branches {
            let found = self.inside().judge(value, branch, path);
            fitting += usize::from(found.fits());
            outcome.merge(found);
        }
        if fitting != branches.len() {
            let none = if fitting == 0 { ". None validated" } else { "" };
            outcome.fail(Failure::junctor(path, &format!("must validate all the schemas (allOf){none}")));
        }
    }

    fn items(self, items: &[Value], schema: &Structural, path: &str, outcome: &mut Outcome) {
        if let Some(item_schema) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                let before = self.before.and_then(|before| before.item(index));
                let child = Judge { before, nested: false };
                outcome.merge(child.judge(item, item_schema, &format!("{path}[{index}]")));
            }
        }
        limits::items(items, schema, path, outcome);
        outcome.matches += 1;
    }

    fn fields(self, map: &Map<String, Value>, schema: &Structural, path: &str, outcome: &mut Outcome) {
        limits::properties(map, schema, path, outcome);
        for (name, value) in map {
            match (schema.property(name), &schema.additional) {
                (Some(_), _) => {}
                (None, Additional::Schema(child)) => {
                    outcome.merge(self.of_field(name, path).judge(value, child, &format!("{path}.{name}")));
                }
                (None, Additional::Bool(false)) => {
                    let message = format!("{path}.{name} in body is a forbidden property");
                    let kind = FailureKind::Other;
                    outcome.fail(Failure { name: path.into(), value: name.as_str().into(), message, kind });
                }
                (None, _) => {}
            }
        }
        for (name, child) in &schema.properties {
            if let Some(value) = map.get(&**name) {
                let place = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                outcome.merge(self.of_field(name, path).judge(value, child, &place));
            }
        }
        limits::required(map, schema, path, outcome);
    }

    /// What kind an object is, is never forgiven.
    fn of_field(self, name: &str, path: &str) -> Self {
        let type_meta = path.is_empty() && matches!(name, "apiVersion" | "kind");
        let before = if type_meta { None } else { self.before.and_then(|before| before.field(name)) };
        Judge { before, nested: false }
    }
}

fn typed(value: &Value, schema: &Structural, path: &str, outcome: &mut Outcome) {
    let format = schema.constraints.iter().find_map(|constraint| match constraint {
        Constraint::Format(format) => Some(&**format),
        _ => None,
    });
    let types = types(schema);
    if types.is_empty() && (format.is_none() || value.is_null()) {
        return;
    }
    match mismatch(value, schema, types, format.unwrap_or_default()) {
        Some((expected, found)) => outcome.fail(Failure::of_type(path, expected, &found.into())),
        None => outcome.matches += 1,
    }
    outcome.matches += 1;
}

fn types(schema: &Structural) -> &'static str {
    if schema.int_or_string { "integer,string" } else { schema.ty.name() }
}

/// The type that was expected and the one that was found.
fn mismatch<'a>(
    value: &Value,
    schema: &Structural,
    types: &'a str,
    format: &'a str,
) -> Option<(&'a str, &'static str)> {
    if value.is_null() {
        return (!schema.nullable).then_some((types, "null"));
    }
    let (found, found_format) = type_of(value);
    let fits = types.split(',').any(|ty| ty == found)
        || (found == "integer" && schema.ty == Type::Number)
        || (found == "number" && types.starts_with("integer") && is_whole(value));
    let textual = value.is_string() || value.is_array();
    if !textual && !format.is_empty() && !fits {
        return Some((format, found_format));
    }
    let numeric = types.starts_with("integer") || types == "number";
    if fits || (textual && !format.is_empty() && !numeric) {
        return None;
    }
    Some((types, found))
}

/// Type and format of a value.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

pub fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(limits::is_json_integer)
}
