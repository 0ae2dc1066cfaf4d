//! Rules for one `openAPIV3Schema`.

use apimachinery::field::{ErrorList, Path};
use serde_json::Value;

use super::spec::properties;
use super::{Options, default_values, form, is_set, structurality};
use crate::field_path;
use crate::json::{entries, field, flag, list, text};
use crate::rules::{self, Budget, Scope};
use crate::structural::{Structural, is_meta};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// `version` is the one that the schema is known by, also if it is of all versions.
pub fn validate(
    validation: Option<&Value>,
    status: bool,
    options: &Options<'_>,
    version: &str,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(schema) = validation.and_then(|validation| field(validation, "openAPIV3Schema")) else { return errors };
    let at = path.child("openAPIV3Schema");
    if status {
        root_with_status(schema, &at, &mut errors);
    }
    if flag(schema, "nullable") {
        errors.forbidden(&at.child("nullable"), "nullable cannot be true at the root");
    }
    let compiled = if options.structural { Some(Structural::compile(schema)) } else { None };
    let mut budget = None;
    if let Some(Ok(compiled)) = &compiled {
        let mut wrong = structurality::check_structural(schema, &at);
        if wrong.is_empty() {
            wrong = default_values::validate(schema, compiled, &at, options.pruned_defaults);
        }
        if wrong.is_empty() {
            budget = Some(Budget::new(unchanged(schema, version, options)));
        }
        errors.append(wrong);
    }
    let scope = budget.is_some().then(|| Scope::root(schema));
    let mut walk = Walk { options, schema_errors: ErrorList::new(), rule_errors: ErrorList::new(), budget };
    walk.schema(schema, &at, &Place::root(), scope.as_ref());
    errors.append(walk.schema_errors);
    errors.append(walk.rule_errors);
    if let (true, Some(Err(why))) = (errors.is_empty(), compiled) {
        errors.invalid(&at, "", why.to_string());
    }
    if let Some(budget) = walk.budget {
        errors.append(budget.exceeded(&at));
    }
    errors
}

fn unchanged(schema: &Value, version: &str, options: &Options<'_>) -> bool {
    options.old.is_some_and(|old| form::schema_of(old, version) == Some(schema))
}

/// With a status subresource, the schema of the status is taken out: nothing at the root may say more about it.
fn root_with_status(schema: &Value, path: &Path, errors: &mut ErrorList) {
    const ALLOWED: [&str; 22] = [
        "description",
        "type",
        "format",
        "title",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "multipleOf",
        "required",
        "items",
        "properties",
        "externalDocs",
        "example",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];
    const BEFORE_TYPE: [&str; 3] = ["id", "$schema", "$ref"];
    let set: Vec<&String> =
        schema.as_object().into_iter().flat_map(|map| map.keys()).filter(|n| is_set(schema, n)).collect();
    let ty = text(schema, "type");
    if !ty.is_empty() && ty != "object" && !set.iter().any(|name| BEFORE_TYPE.contains(&name.as_str())) {
        let detail =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return errors.invalid(&path.child("type"), ty, detail);
    }
    if set.iter().any(|name| !ALLOWED.contains(&name.as_str())) {
        let detail = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
                      MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs \
                      Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the \
                      status subresource is enabled";
        errors.invalid(path, schema.clone(), detail);
    }
}

/// What the schemas around one mean for it.
#[derive(Clone)]
struct Place {
    root: bool,
    /// Why a default may not stand here.
    no_defaults: Option<String>,
    inside_meta: bool,
    /// The outermost schema whose objects cannot be told apart between two revisions.
    uncorrelatable: Option<Path>,
}

impl Place {
    fn root() -> Self {
        Self { root: true, no_defaults: None, inside_meta: false, uncorrelatable: None }
    }

    fn below(&self) -> Self {
        Self { root: false, ..self.clone() }
    }

    fn uncorrelatable(mut self, path: &Path) -> Self {
        self.uncorrelatable.get_or_insert_with(|| path.clone());
        self
    }
}

struct Walk<'a> {
    options: &'a Options<'a>,
    schema_errors: ErrorList,
    rule_errors: ErrorList,
    budget: Option<Budget>,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, path: &Path, place: &Place, scope: Option<&Scope<'_>>) {
        let errors_before = self.schema_errors.len();
        self.forbidden(schema, path, place);
        if flag(schema, "uniqueItems") {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.schema_errors.forbidden(&path.child("uniqueItems"), detail);
        }
        self.additional(schema, path, place, scope);
        self.properties(schema, path, place, scope);
        self.junctors(schema, path, place);
        self.items(schema, path, place, scope);
        self.schema_errors.append(extensions(schema, path));
        self.schema_errors.append(map_and_list_types(schema, path, self.options));
        if self.options.list_keys {
            self.schema_errors.append(list_items(schema, path));
        }
        self.schema_errors.append(rule_texts(schema, path));
        let clean = self.schema_errors.len() == errors_before;
        if let (true, Some(scope), Some(budget)) = (clean, scope, &mut self.budget) {
            let uncorrelatable = place.uncorrelatable.as_ref();
            self.rule_errors.append(rules::check(scope, path, uncorrelatable, budget));
        }
    }

    fn forbidden(&mut self, schema: &Value, path: &Path, place: &Place) {
        let errors = &mut self.schema_errors;
        let ty = text(schema, "type");
        if self.options.valid_types && has_invalid_type(schema) {
            errors.not_supported(&path.child("type"), ty, &TYPES);
        }
        if let (Some(why), true) = (&place.no_defaults, field(schema, "default").is_some()) {
            errors.forbidden(&path.child("default"), format!("must not be set {why}"));
        }
        for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            let there = match name {
                "id" | "patternProperties" | "definitions" => is_set(schema, name),
                _ => field(schema, name).is_some(),
            };
            if there {
                errors.forbidden(&path.child(name), format!("{name} is not supported"));
            }
        }
        if ty == "null" {
            errors.forbidden(&path.child("type"), "type cannot be set to null, use nullable as an alternative");
        }
        if !list(schema, "items").is_empty() {
            errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
        }
        if place.inside_meta && flag(schema, "x-kubernetes-embedded-resource") {
            errors.forbidden(&path.child("x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
        }
    }

    fn additional(&mut self, schema: &Value, path: &Path, place: &Place, scope: Option<&Scope<'_>>) {
        let Some(additional) = field(schema, "additionalProperties") else { return };
        let at = path.child("additionalProperties");
        if is_set(schema, "properties") && *additional != Value::Bool(true) {
            self.schema_errors.forbidden(&at, "additionalProperties and properties are mutual exclusive");
        }
        let mut below = place.below();
        if place.inside_meta {
            below.no_defaults = Some("inside additionalProperties applying to object metadata".into());
        }
        if additional.is_object() {
            let scope = scope.and_then(Scope::additional);
            self.schema(additional, &at, &below, scope.as_ref());
        }
    }

    fn properties(&mut self, schema: &Value, path: &Path, place: &Place, scope: Option<&Scope<'_>>) {
        let map_type = text(schema, "x-kubernetes-map-type");
        for (name, property) in properties(schema) {
            let mut below = place.below();
            if !["", "granular", "atomic"].contains(&map_type) {
                below = below.uncorrelatable(path);
            }
            if is_meta(name) && (place.root || flag(schema, "x-kubernetes-embedded-resource")) {
                below.inside_meta = true;
                if place.root {
                    below.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            let scope = scope.and_then(|scope| scope.property(name));
            self.schema(property, &path.child("properties").key(name), &below, scope.as_ref());
        }
    }

    fn junctors(&mut self, schema: &Value, path: &Path, place: &Place) {
        let below = place.below();
        if let Some(not) = field(schema, "not") {
            self.schema(not, &path.child("not"), &below, None);
        }
        for junctor in ["allOf", "oneOf", "anyOf"] {
            for (index, branch) in list(schema, junctor).iter().enumerate() {
                self.schema(branch, &path.child(junctor).index(index), &below, None);
            }
        }
        for map in ["definitions", "dependencies"] {
            for (name, child) in entries(schema, map).filter(|(_, child)| child.is_object()) {
                self.schema(child, &path.child(map).key(name), &below, None);
            }
        }
    }

    fn items(&mut self, schema: &Value, path: &Path, place: &Place, scope: Option<&Scope<'_>>) {
        let mut below = place.below();
        if text(schema, "x-kubernetes-list-type") != "map" {
            below = below.uncorrelatable(path);
        }
        let at = path.child("items");
        match field(schema, "items") {
            Some(Value::Array(all)) => {
                for (index, items) in all.iter().enumerate() {
                    self.schema(items, &at.index(index), &below, None);
                }
            }
            Some(items) => {
                let scope = scope.and_then(Scope::items);
                self.schema(items, &at, &below, scope.as_ref());
            }
            None => {}
        }
    }
}

pub fn has_invalid_type(schema: &Value) -> bool {
    let ty = text(schema, "type");
    !ty.is_empty() && !TYPES.contains(&ty)
}

fn extensions(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if field(schema, preserve) == Some(&Value::Bool(false)) {
        errors.invalid(&path.child(preserve), false, "must be true or undefined");
    }
    errors
}

fn map_and_list_types(schema: &Value, path: &Path, options: &Options<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(map_type) = field(schema, "x-kubernetes-map-type").and_then(Value::as_str) {
        must_be(schema, "object", "x-kubernetes-map-type", path, &mut errors);
        if !["atomic", "granular"].contains(&map_type) {
            errors.not_supported(&path.child("x-kubernetes-map-type"), map_type, &["atomic", "granular"]);
        }
    }
    let list_type = field(schema, "x-kubernetes-list-type").and_then(Value::as_str);
    if let Some(list_type) = list_type {
        must_be(schema, "array", "x-kubernetes-list-type", path, &mut errors);
        if options.atomic_sets && text(schema, "type") == "array" {
            errors.append(set_items(schema, path));
        }
        if !["atomic", "set", "map"].contains(&list_type) {
            errors.not_supported(&path.child("x-kubernetes-list-type"), list_type, &["atomic", "set", "map"]);
        }
    }
    if is_set(schema, "x-kubernetes-list-map-keys") && list_type != Some("map") {
        let (at, detail) =
            (path.child("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
        match list_type {
            None => errors.required(&at, detail),
            Some(list_type) => errors.invalid(&at, list_type, detail),
        }
    }
    if list_type == Some("map") {
        errors.append(map_list(schema, path));
    }
    errors
}

fn must_be(schema: &Value, expected: &str, because: &str, path: &Path, errors: &mut ErrorList) {
    let (ty, detail) = (text(schema, "type"), format!("must be {expected} if {because} is specified"));
    match ty {
        "" => errors.required(&path.child("type"), &detail),
        _ if ty != expected => errors.invalid(&path.child("type"), ty, detail),
        _ => {}
    }
}

/// Items of a set are compared as a whole.
fn set_items(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if has_non_atomic_set(schema) {
        let items = &schema["items"];
        let array = text(items, "type") == "array";
        let name = if array { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.invalid(&path.child("items").child(name), items["x-kubernetes-list-type"].clone(), detail);
    }
    errors
}

pub fn has_non_atomic_set(schema: &Value) -> bool {
    let Some(items) = field(schema, "items").filter(|items| items.is_object()) else { return false };
    let kind = |name: &str| field(items, name).and_then(Value::as_str);
    text(schema, "x-kubernetes-list-type") == "set"
        && match text(items, "type") {
            "array" => kind("x-kubernetes-list-type").is_some_and(|list_type| list_type != "atomic"),
            "object" => kind("x-kubernetes-map-type") != Some("atomic"),
            _ => false,
        }
}

fn map_list(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.required(&keys_path, "must not be empty if x-kubernetes-list-type is map");
    }
    let items = match field(schema, "items") {
        None => {
            errors.required(&path.child("items"), "must have a schema if x-kubernetes-list-type is map");
            return errors;
        }
        Some(items @ Value::Array(_)) => {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            errors.invalid(&path.child("items"), items.clone(), detail);
            return errors;
        }
        Some(items) => items,
    };
    let ty = text(items, "type");
    if ty != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&path.child("items").child("type"), ty, detail);
        return errors;
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match field(&items["properties"], name).map(|property| text(property, "type")) {
            None => errors.invalid(&keys_path, keys.to_vec(), "entries must all be names of item properties"),
            Some("array" | "object") => {
                let at = path.child("items").child("properties").key(name).child("type");
                errors.invalid(&at, ty, "must be a scalar type if parent array's x-kubernetes-list-type is map");
            }
            Some(_) => {}
        }
        if keys[..index].contains(key) {
            errors.invalid(&keys_path, keys.to_vec(), "must not contain duplicate entries");
        }
    }
    errors
}

/// Items of sets and maps are never null, and what identifies them is always there.
pub fn list_items(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list_type = text(schema, "x-kubernetes-list-type");
    let Some(items) = field(schema, "items").filter(|items| items.is_object()) else { return errors };
    if !["set", "map"].contains(&list_type) {
        return errors;
    }
    let at = path.child("items");
    if flag(items, "nullable") {
        errors
            .forbidden(&at.child("nullable"), format!("cannot be nullable when x-kubernetes-list-type is {list_type}"));
    }
    if list_type == "set" {
        return errors;
    }
    for key in list(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str) {
        let Some(property) = field(&items["properties"], key) else { continue };
        let at = at.child("properties").key(key);
        let required = list(items, "required").iter().any(|name| name == key);
        if !required && field(property, "default").is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            errors.required(&at.child("default"), detail);
        }
        if flag(property, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), detail);
        }
    }
    errors
}

/// What is asked of rules before they are compiled.
fn rule_texts(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (index, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        let at = path.child("x-kubernetes-validations").index(index);
        message_of_rule(rule, &at, &mut errors);
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            errors.required(&at.child("messageExpression"), "messageExpression must be non-empty if specified");
        }
        if let Some(reason) = field(rule, "reason").and_then(Value::as_str)
            && !REASONS.contains(&reason)
        {
            errors.not_supported(&at.child("reason"), reason, &REASONS);
        }
        field_path_of_rule(schema, rule, &at.child("fieldPath"), &mut errors);
    }
    errors
}

fn message_of_rule(rule: &Value, path: &Path, errors: &mut ErrorList) {
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    let broken = |text: &str| text.contains(['\n', '\r']);
    let at = path.child("message");
    match () {
        () if expression.is_empty() => errors.required(&path.child("rule"), "rule is not specified"),
        () if !message.is_empty() && message.trim().is_empty() => {
            errors.invalid(&at, message, "must be non-empty if specified");
        }
        () if broken(message.trim()) => errors.invalid(&at, message, "must not contain line breaks"),
        () if broken(expression) && message.trim().is_empty() => {
            errors.required(&at, "message must be specified if rule contains line breaks");
        }
        () => {}
    }
}

fn field_path_of_rule(schema: &Value, rule: &Value, at: &Path, errors: &mut ErrorList) {
    let path = text(rule, "fieldPath");
    if path.is_empty() {
        return;
    }
    if path.trim().is_empty() {
        errors.invalid(at, path, "must be non-empty if specified");
    }
    if path.contains(['\n', '\r']) {
        errors.invalid(at, path, "must not contain line breaks");
    }
    let leads_nowhere = Structural::compile(schema).is_ok_and(|found| field_path::resolve(path, &found, true).is_err());
    if leads_nowhere {
        errors.invalid(at, path, "must be a valid path");
    }
}
