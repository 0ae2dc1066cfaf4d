//! Defaults must be what the schema lets in.

use apimachinery::field::{ErrorList, Path};
use serde_json::{Value, json};

use crate::checks;
use crate::json::field;
use crate::rules;
use crate::structural::{self, Malformed, Structural, is_meta};

/// Complaints about the defaults of a schema.
pub fn validate(json: &Value, schema: &Structural, path: &Path, pruned: bool) -> ErrorList {
    let mut walk = Walk { pruned, errors: ErrorList::new() };
    walk.schema(json, schema, path, &Around { resource: schema, steps: Vec::new(), inside_meta: false, root: true });
    walk.errors
}

/// The object around a place: the nearest that has a kind, and the steps from there.
#[derive(Clone)]
struct Around<'a> {
    resource: &'a Structural,
    steps: Vec<Step<'a>>,
    inside_meta: bool,
    root: bool,
}

#[derive(Clone)]
enum Step<'a> {
    Child(&'a str),
    Index,
}

impl<'a> Around<'a> {
    fn step(&self, step: Step<'a>) -> Self {
        let mut next = Self { root: false, ..self.clone() };
        next.steps.push(step);
        next
    }

    /// An object that holds nothing but the value.
    fn object_with(&self, value: &Value) -> Value {
        let wrap = |inner: Value, step: &Step<'_>| match step {
            Step::Child(name) => json!({ *name: inner }),
            Step::Index => json!([inner]),
        };
        let mut object = self.steps.iter().rev().fold(value.clone(), wrap);
        for (name, value) in [("kind", "Validation"), ("apiVersion", "validation/v1")] {
            if field(&object, name).is_none() {
                object[name] = value.into();
            }
        }
        object
    }
}

struct Walk {
    pruned: bool,
    errors: ErrorList,
}

impl Walk {
    fn schema<'a>(&mut self, json: &Value, schema: &'a Structural, path: &Path, around: &Around<'a>) {
        let mut around = around.clone();
        if schema.embedded || around.root {
            around = Around { resource: schema, steps: Vec::new(), inside_meta: false, root: around.root };
        }
        if let Some(default) = &schema.default {
            self.default(default, json, schema, &path.child("default"), &around);
        }
        if let Some(items) = &schema.items {
            self.schema(&json["items"], items, &path.child("items"), &around.step(Step::Index));
        }
        for (name, property) in &schema.properties {
            let mut below = around.step(Step::Child(name));
            below.inside_meta |= is_meta(name) && (schema.embedded || around.root);
            self.schema(&json["properties"][&**name], property, &path.child("properties").key(name), &below);
        }
    }

    fn default(&mut self, default: &Value, json: &Value, schema: &Structural, path: &Path, around: &Around<'_>) {
        let embedded = schema.embedded || around.root;
        let metadata = if around.inside_meta {
            metadata_inside(default, path, around)
        } else {
            self.unknown_fields(default, schema, path, embedded);
            metadata_outside(default, schema, path, embedded)
        };
        if !metadata.is_empty() {
            return self.errors.append(metadata);
        }
        let wrong = checks::validate(default, schema, path);
        if !wrong.is_empty() {
            return self.errors.append(wrong);
        }
        self.errors.append(rules::check_default(json, schema, default, path, embedded));
    }

    fn unknown_fields(&mut self, default: &Value, schema: &Structural, path: &Path, embedded: bool) {
        let mut pruned = default.clone();
        structural::prune(&mut pruned, schema, embedded);
        if self.pruned && pruned != *default {
            self.errors.invalid(path, default.clone(), "must not have unknown fields");
        }
    }
}

fn metadata_inside(default: &Value, path: &Path, around: &Around<'_>) -> ErrorList {
    let mut object = around.object_with(default);
    let complaint = match structural::coerce(&mut object, around.resource, false) {
        Err(why) => Some(why.to_string()),
        Ok(_) => {
            let errors = structural::check_metadata(&object, around.resource, &Path::root(), true);
            (!errors.is_empty()).then(|| errors.to_string())
        }
    };
    let mut errors = ErrorList::new();
    if let Some(why) = complaint {
        errors.invalid(path, default.clone(), format!("must result in valid metadata: {why}"));
    }
    errors
}

fn metadata_outside(default: &Value, schema: &Structural, path: &Path, embedded: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    match structural::coerce(&mut default.clone(), schema, false) {
        Ok(_) => errors.append(structural::check_metadata(default, schema, path, embedded)),
        Err(Malformed::Embedded(mut error)) => {
            error.field = path.child(&error.field).to_string();
            errors.push(error);
        }
        Err(Malformed::Metadata(why)) => errors.invalid(&path.child("metadata"), default["metadata"].clone(), why),
    }
    errors
}

/// Whether a default of the schema has fields that the schema does not know.
pub fn has_unpruned(schema: &Value) -> bool {
    Structural::compile(schema).is_ok_and(|schema| below(&schema, true))
}

fn below(schema: &Structural, root: bool) -> bool {
    let own = schema.default.as_ref().is_some_and(|default| {
        let mut pruned = (**default).clone();
        structural::prune(&mut pruned, schema, schema.embedded || root);
        pruned != **default
    });
    own || schema.children().any(|child| below(child, false))
}
