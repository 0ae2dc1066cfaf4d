//! The tables of what only OpenAPI says of a field or a definition: from the published schema, and from `values.txt`.
//!
//! Start at [`tables`].

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::codegen::{HEAD, scalar_definition, table};

#[derive(Default)]
struct Row {
    refers: String,
    default: String,
    values: Vec<String>,
}

pub fn tables(schema: &Value, values: &str) -> Result<String> {
    let definitions = schema["definitions"].as_object().context("definitions")?;
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    let mut unions = Vec::new();
    for (name, definition) in definitions.iter().filter(|(name, _)| scalar_definition(name).is_none()) {
        for (field, fact) in definition["fields"].as_object().into_iter().flatten() {
            if let Some(refers) = anything(fact) {
                rows.entry((name, field)).or_default().refers = refers;
            }
        }
        if definition["unions"].is_array() {
            unions.push(format!("({name:?}, {:?})", definition["unions"].to_string()));
        }
    }
    for line in values.lines().filter(|line| !line.starts_with('#')) {
        add_values(&mut rows, line).with_context(|| format!("what is {line:?}?"))?;
    }
    let rows: Vec<String> = rows.iter().map(|((definition, field), row)| said(definition, field, row)).collect();
    let mut out = format!("{HEAD}use super::Said;\n\n");
    table(&mut out, "FIELDS", "Said", &rows);
    table(&mut out, "UNIONS", "(&str, &str)", &unions);
    Ok(out)
}

/// The definition of a value that the schema's tables take for any JSON.
fn anything(fact: &Value) -> Option<String> {
    let inner = [fact, &fact["items"], &fact["values"]];
    let name = inner.iter().find_map(|fact| fact.as_str().or_else(|| fact["ref"].as_str()))?;
    (scalar_definition(name)? == "Type::Any").then(|| name.to_owned())
}

fn add_values<'a>(rows: &mut BTreeMap<(&'a str, &'a str), Row>, line: &'a str) -> Option<()> {
    let (definition, rest) = line.split_once(' ')?;
    let (field, rest) = rest.split_once(' ')?;
    let row = rows.entry((definition, field)).or_default();
    let (before, values) = rest.split_once("values=").unwrap_or((rest, ""));
    row.default = before.trim().trim_start_matches("default=").to_owned();
    if rest.contains("values=") {
        row.values = values.split(',').map(str::to_owned).collect();
    }
    Some(())
}

fn said(definition: &str, field: &str, row: &Row) -> String {
    let (refers, default, values) = (&row.refers, &row.default, &row.values);
    format!(
        "Said {{ definition: {definition:?}, field: {field:?}, refers: {refers:?}, default: {default:?}, \
         values: &{values:?} }}"
    )
}
