//! From `openAPIV3Schema` to [`Structural`].

use serde_json::Value;

use super::intern::{Names, list_key};
use super::{Additional, Constraint, Extra, List, Rule, Structural, Type};
use crate::checks::formats;
use crate::json::{field, flag, int, list, number, text};

/// Why a schema has no structural form at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("OpenAPIV3Schema '{0}' is not supported")]
    Field(&'static str),
    #[error("OpenAPIV3Schema 'items' must be a schema, but is an array")]
    ItemsArray,
    #[error("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined")]
    PreserveFalse,
}

impl Structural {
    pub fn compile(schema: &Value) -> Result<Self, Unsupported> {
        compile(schema, &mut Names::default())
    }
}

fn compile(schema: &Value, names: &mut Names) -> Result<Structural, Unsupported> {
    refuse_unsupported(schema)?;
    let ty = Type::of(text(schema, "type"));
    Ok(Structural {
        ty,
        list: list_type(schema),
        nullable: flag(schema, "nullable"),
        int_or_string: flag(schema, "x-kubernetes-int-or-string"),
        preserves_unknown: preserves_unknown(schema)?,
        embedded: flag(schema, "x-kubernetes-embedded-resource"),
        atomic_map: text(schema, "x-kubernetes-map-type") == "atomic",
        properties: properties(schema, names)?,
        items: items(schema, names)?,
        additional: additional(schema, names)?,
        default: field(schema, "default").map(|value| Box::new(value.clone())),
        constraints: constraints(schema, ty, names)?,
        extra: extra(schema),
    })
}

fn refuse_unsupported(schema: &Value) -> Result<(), Unsupported> {
    let filled = |name: &str| match field(schema, name) {
        None => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    };
    for name in ["id", "$schema", "$ref", "patternProperties", "dependencies", "definitions"] {
        if filled(name) {
            return Err(Unsupported::Field(if name == "$schema" { "schema" } else { name }));
        }
    }
    match field(schema, "additionalItems") {
        Some(_) => Err(Unsupported::Field("additionalItems")),
        None => Ok(()),
    }
}

fn preserves_unknown(schema: &Value) -> Result<bool, Unsupported> {
    match field(schema, "x-kubernetes-preserve-unknown-fields") {
        Some(Value::Bool(false)) => Err(Unsupported::PreserveFalse),
        found => Ok(found.is_some()),
    }
}

fn list_type(schema: &Value) -> List {
    match text(schema, "x-kubernetes-list-type") {
        "set" => List::Set,
        "map" => List::Map,
        _ => List::Atomic,
    }
}

type Properties = Box<[(std::sync::Arc<str>, Structural)]>;

fn properties(schema: &Value, names: &mut Names) -> Result<Properties, Unsupported> {
    let all = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut found = all
        .map(|(name, property)| Ok((names.share(name), compile(property, names)?)))
        .collect::<Result<Vec<_>, Unsupported>>()?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found.into())
}

fn items(schema: &Value, names: &mut Names) -> Result<Option<Box<Structural>>, Unsupported> {
    match field(schema, "items") {
        Some(Value::Array(_)) => Err(Unsupported::ItemsArray),
        Some(items) => Ok(Some(Box::new(compile(items, names)?))),
        None => Ok(None),
    }
}

fn additional(schema: &Value, names: &mut Names) -> Result<Additional, Unsupported> {
    match field(schema, "additionalProperties") {
        None => Ok(Additional::Unsaid),
        Some(Value::Bool(allows)) => Ok(Additional::Bool(*allows)),
        Some(schema) => Ok(Additional::Schema(Box::new(compile(schema, names)?))),
    }
}

fn junctor(schema: &Value, name: &str, names: &mut Names) -> Result<Option<Box<[Structural]>>, Unsupported> {
    let all = list(schema, name).iter().map(|branch| compile(branch, names)).collect::<Result<Vec<_>, _>>()?;
    Ok((!all.is_empty()).then(|| all.into()))
}

/// In the order of [`Constraint`]: the validator walks them as they stand.
fn constraints(schema: &Value, ty: Type, names: &mut Names) -> Result<Box<[Constraint]>, Unsupported> {
    let not = field(schema, "not").map(|not| compile(not, names)).transpose()?;
    let mut all = vec![
        junctor(schema, "anyOf", names)?.map(Constraint::AnyOf),
        junctor(schema, "oneOf", names)?.map(Constraint::OneOf),
        junctor(schema, "allOf", names)?.map(Constraint::AllOf),
        not.map(|not| Constraint::Not(Box::new(not))),
    ];
    all.extend(limits(schema, ty));
    let required = list(schema, "required").iter().filter_map(Value::as_str).map(|name| names.share(name));
    let required: Box<[_]> = required.collect();
    all.push((!required.is_empty()).then_some(Constraint::Required(required)));
    Ok(all.into_iter().flatten().collect())
}

fn limits(schema: &Value, ty: Type) -> [Option<Constraint>; 13] {
    let pattern = text(schema, "pattern");
    let format = text(schema, "format");
    let exclusive = |name: &str| flag(schema, name);
    let values = list(schema, "enum");
    [
        int(schema, "maxLength").map(Constraint::MaxLength),
        int(schema, "minLength").map(Constraint::MinLength),
        (!pattern.is_empty()).then(|| Constraint::Pattern(pattern.into())),
        formats::is_supported(format, schema_type(schema, ty)).then(|| Constraint::Format(format.into())),
        number(schema, "multipleOf").map(Constraint::MultipleOf),
        number(schema, "minimum").map(|limit| Constraint::Minimum { limit, exclusive: exclusive("exclusiveMinimum") }),
        number(schema, "maximum").map(|limit| Constraint::Maximum { limit, exclusive: exclusive("exclusiveMaximum") }),
        int(schema, "minItems").map(Constraint::MinItems),
        int(schema, "maxItems").map(Constraint::MaxItems),
        flag(schema, "uniqueItems").then_some(Constraint::UniqueItems),
        (!values.is_empty()).then(|| Constraint::Enum(values.into())),
        int(schema, "minProperties").map(Constraint::MinProperties),
        int(schema, "maxProperties").map(Constraint::MaxProperties),
    ]
}

/// A place for a number or text has two types, so its format is one of texts.
fn schema_type(schema: &Value, ty: Type) -> Type {
    if flag(schema, "x-kubernetes-int-or-string") { Type::Unsaid } else { ty }
}

fn extra(schema: &Value) -> Option<Box<Extra>> {
    let keys = list(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).map(list_key);
    let extra =
        Extra { list_keys: keys.collect(), rules: list(schema, "x-kubernetes-validations").iter().map(rule).collect() };
    (extra != Extra::default()).then(|| Box::new(extra))
}

fn rule(rule: &Value) -> Rule {
    Rule {
        rule: text(rule, "rule").into(),
        message: text(rule, "message").into(),
        message_expression: text(rule, "messageExpression").into(),
        reason: text(rule, "reason").into(),
        field_path: text(rule, "fieldPath").into(),
        optional_old_self: flag(rule, "optionalOldSelf"),
    }
}
