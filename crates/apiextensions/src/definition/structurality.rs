//! What makes a schema structural: every place says its type outside of junctors, and junctors only judge values.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use super::is_set;
use super::spec::properties;
use crate::checks::pattern;
use crate::json::{field, flag, list, text};
use crate::structural::Structural;

/// Complaints in alphabetical order. The schema must compile.
pub fn check_structural(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    invariants(schema, Level::Root, path, &mut errors);
    completeness(schema, Some(schema), path, path, &mut errors);
    let mut sorted: Vec<FieldError> = errors.into_iter().collect();
    sorted.sort_by_key(ToString::to_string);
    sorted.into_iter().collect()
}

pub fn is_structural(schema: &Value) -> bool {
    Structural::compile(schema).is_ok() && check_structural(schema, &Path::root()).is_empty()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

fn invariants(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    if text(schema, "type") == "array" && field(schema, "items").is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = field(schema, "items") {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    for (name, property) in properties(schema) {
        invariants(property, Level::Field, &path.child("properties").key(name), errors);
    }
    if let Some(additional) = field(schema, "additionalProperties") {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&at, "must not be used at the root");
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &at, errors);
        }
    }
    exclusions(schema, path, errors);
    let (skip_any, skip_all) = int_or_string_forms(schema);
    values(schema, skip_any, skip_all, path, errors);
    types(schema, level, path, errors);
    metadata(schema, level, path, errors);
}

fn exclusions(schema: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if flag(schema, "x-kubernetes-int-or-string") && flag(schema, name) {
            errors.invalid(&path.child(name), true, "must be false if x-kubernetes-int-or-string is true");
        }
    }
}

/// Types may stand in junctors in the two ways in which a number or text used to be said.
fn int_or_string_forms(schema: &Value) -> (bool, bool) {
    let form = json!([{"type": "integer"}, {"type": "string"}]);
    let first = list(schema, "allOf").first();
    (schema.get("anyOf") == Some(&form), first.and_then(|first| first.get("anyOf")) == Some(&form))
}

fn types(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let (ty, at) = (text(schema, "type"), path.child("type"));
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let any = flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
    let detail = "must be object if x-kubernetes-embedded-resource is true";
    match (embedded, ty) {
        (true, "") => errors.required(&at, detail),
        (true, ty) if ty != "object" => errors.invalid(&at, ty, detail),
        (false, "") if !any => errors.required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ),
        _ => {}
    }
    if embedded && field(schema, "additionalProperties").is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&path.child("additionalProperties"), detail);
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.invalid(&at, ty, "must be object at the root");
    }
    if embedded && !flag(schema, "x-kubernetes-preserve-unknown-fields") && !is_set(schema, "properties") {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.required(&path.child("properties"), detail);
    }
}

/// What kind and metadata are is not the schema's to say.
fn metadata(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let judged = level == Level::Root || flag(schema, "x-kubernetes-embedded-resource");
    let property =
        |name: &str| field(&schema["properties"], name).map(|found| (found, path.child("properties").key(name)));
    for (found, at) in ["kind", "apiVersion"].into_iter().filter(|_| judged).filter_map(property) {
        if text(found, "type") != "string" {
            errors.invalid(&at.child("type"), text(found, "type"), "must be string");
        }
    }
    let Some((found, at)) = property("metadata") else { return };
    if judged && text(found, "type") != "object" {
        errors.invalid(&at.child("type"), text(found, "type"), "must be object");
    }
    if level == Level::Root && !restricts_names_only(found) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&at, detail);
    }
}

fn restricts_names_only(metadata: &Value) -> bool {
    let names_only = properties(metadata).all(|(name, _)| ["name", "generateName"].contains(&name));
    let others = metadata.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut others = others.filter(|name| !["type", "properties", "default"].contains(name));
    names_only && others.all(|name| !is_set(metadata, name))
}

fn values(schema: &Value, skip_any: bool, skip_all: bool, path: &Path, errors: &mut ErrorList) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        if junctor == "anyOf" && skip_any {
            continue;
        }
        for (index, branch) in list(schema, junctor).iter().enumerate() {
            let skip = junctor == "allOf" && skip_all && index == 0;
            nested(branch, skip, &path.child(junctor).index(index), errors);
        }
    }
    if let Some(not) = field(schema, "not") {
        nested(not, false, &path.child("not"), errors);
    }
    let expression = text(schema, "pattern");
    if let (false, Err(why)) = (expression.is_empty(), pattern::compiled(expression)) {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        errors.invalid(&path.child("pattern"), expression, detail);
    }
}

/// A schema in a junctor.
fn nested(schema: &Value, skip_any: bool, path: &Path, errors: &mut ErrorList) {
    values(schema, skip_any, false, path, errors);
    if let Some(items) = field(schema, "items") {
        nested(items, false, &path.child("items"), errors);
    }
    for (name, property) in properties(schema) {
        nested(property, false, &path.child("properties").key(name), errors);
    }
    const EMPTY: &str = "must be empty to be structural";
    const UNDEFINED: &str = "must be undefined to be structural";
    const FALSE: &str = "must be false to be structural";
    for (name, detail) in [
        ("type", EMPTY),
        ("additionalProperties", UNDEFINED),
        ("default", UNDEFINED),
        ("title", EMPTY),
        ("description", EMPTY),
        ("nullable", FALSE),
        ("x-kubernetes-preserve-unknown-fields", FALSE),
        ("x-kubernetes-embedded-resource", FALSE),
        ("x-kubernetes-int-or-string", FALSE),
        ("x-kubernetes-list-map-keys", EMPTY),
        ("x-kubernetes-list-type", UNDEFINED),
        ("x-kubernetes-map-type", UNDEFINED),
        ("x-kubernetes-validations", EMPTY),
    ] {
        let there = match name {
            "default" => field(schema, name).is_some(),
            "additionalProperties" => field(schema, name).is_some_and(|found| *found != Value::Bool(false)),
            _ => is_set(schema, name),
        };
        if there {
            errors.forbidden(&path.child(name), detail);
        }
    }
    if field(&schema["properties"], "metadata").is_some() {
        errors.forbidden(&path.child("properties").key("metadata"), "must not be specified in a nested context");
    }
}

/// Whatever a junctor speaks of must be said outside too.
fn completeness(values: &Value, outside: Option<&Value>, path: &Path, inside: &Path, errors: &mut ErrorList) {
    let mut check = |branch: &Value, at: Path| nested_completeness(branch, outside, path, &at, errors);
    if let Some(not) = field(values, "not") {
        check(not, inside.child("not"));
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, branch) in list(values, junctor).iter().enumerate() {
            check(branch, inside.child(junctor).index(index));
        }
    }
}

fn nested_completeness(values: &Value, outside: Option<&Value>, path: &Path, inside: &Path, errors: &mut ErrorList) {
    let Some(schema) = outside else {
        return errors.required(path, &format!("because it is defined in {inside}"));
    };
    completeness(values, outside, path, inside, errors);
    if let Some(items) = field(values, "items") {
        nested_completeness(items, field(schema, "items"), &path.child("items"), &inside.child("items"), errors);
    }
    for (name, property) in properties(values) {
        let (path, inside) = (path.child("properties").key(name), inside.child("properties").key(name));
        nested_completeness(property, field(&schema["properties"], name), &path, &inside, errors);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(schema: Value, expected: Expect) {
        let errors = check_structural(&schema, &Path::new("s"));
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn every_place_says_its_type() {
        check(
            json!({"properties": {"a": {}, "l": {"type": "array"}, "i": {"type": "array", "items": {}}}}),
            expect![[r#"
                s.properties[a].type: Required value: must not be empty for specified object fields
                s.properties[i].items.type: Required value: must not be empty for specified array items
                s.properties[l].items: Required value: must be specified
                s.type: Required value: must not be empty at the root
            "#]],
        );
    }

    #[test]
    fn junctors_only_judge_values_that_are_said_outside() {
        check(
            json!({"type": "object", "anyOf": [{"properties": {"x": {"type": "string", "minLength": 1}}}]}),
            expect![[r#"
                s.anyOf[0].properties[x].type: Forbidden: must be empty to be structural
                s.properties[x]: Required value: because it is defined in s.anyOf[0].properties[x]
            "#]],
        );
    }

    #[test]
    fn a_number_or_text_may_be_said_in_the_old_way() {
        check(
            json!({"type": "object", "properties": {"p": {"x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}]}}}),
            expect![""],
        );
    }
}
