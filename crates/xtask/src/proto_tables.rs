//! The tables of the protobuf messages: from the published schema, and from `proto.txt` what that leaves out.
//!
//! Kept is what can be reached from a kind. Start at [`tables`].

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Whether Go writes an empty field, by definition or message and field; see `go-fields.txt`.
pub type Letters<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

#[derive(Clone)]
struct Field {
    number: u64,
    /// In JSON; empty for an embedded message.
    name: String,
    label: String,
    /// As in the `.proto` file, references in full.
    ty: String,
    letter: String,
}

type Messages = BTreeMap<String, Vec<Field>>;

/// Rows of messages, of fields and of kinds.
pub struct Tables {
    pub messages: Vec<String>,
    pub fields: Vec<String>,
    pub kinds: Vec<String>,
}

pub fn tables(schema: &Value, facts: &str, letters: &Letters<'_>) -> Result<Tables> {
    let mut messages = messages(schema, letters)?;
    add_facts(&mut messages, facts, letters)?;
    let kinds = kinds(schema, facts);
    let reached = reachable(&messages, kinds.values())?;
    let (classes, rows) = classes(&messages, &reached)?;
    let mut tables = Tables { messages: Vec::new(), fields: Vec::new(), kinds: Vec::new() };
    for own in rows {
        let first = tables.fields.len();
        tables.fields.extend(own);
        let end = tables.fields.len();
        tables.messages.push(format!("Message {{ fields: Span {{ first: {first}, end: {end} }} }}"));
    }
    for ((group, version, kind), message) in &kinds {
        tables.kinds.push(format!("({group:?}, {version:?}, {kind:?}, {})", classes[message.as_str()]));
    }
    Ok(tables)
}

type Classes<'a> = BTreeMap<&'a str, usize>;

/// Messages that look the same are one: the class of each, and the rows of each class. At first all are taken for the
/// same; a class is divided as long as its members have different fields, or fields of different classes.
fn classes<'a>(messages: &Messages, names: &'a [String]) -> Result<(Classes<'a>, Vec<Vec<String>>)> {
    let mut classes: Classes<'a> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let mut found = 1;
    loop {
        let mut distinct: Vec<Vec<String>> = Vec::new();
        let mut by_rows = BTreeMap::new();
        let mut divided = Classes::new();
        for name in names {
            let rows = rows(name, &messages[name], &classes)?;
            let class = *by_rows.entry(rows.clone()).or_insert(distinct.len());
            if class == distinct.len() {
                distinct.push(rows);
            }
            divided.insert(name, class);
        }
        if distinct.len() == found && divided == classes {
            return Ok((classes, distinct));
        }
        (classes, found) = (divided, distinct.len());
    }
}

/// In order of the numbers.
fn rows(message: &str, fields: &[Field], classes: &Classes<'_>) -> Result<Vec<String>> {
    let mut fields: Vec<&Field> = fields.iter().collect();
    fields.sort_by_key(|field| field.number);
    let row = |field: &&Field| row(field, classes).with_context(|| format!("{message}.{}", field.name));
    fields.iter().map(row).collect()
}

/// The message of a definition; the schema does not name those of the aggregated API servers.
fn message_of(definition: &str, fact: &Value) -> String {
    let derived = definition.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_");
    fact["protoMessage"].as_str().map_or(derived, str::to_owned)
}

fn messages(schema: &Value, letters: &Letters<'_>) -> Result<Messages> {
    let without_schema = schema["protoOnlyMessages"].as_object().context("protoOnlyMessages")?;
    let mut found = Messages::new();
    for (name, fields) in without_schema {
        let fields = fields.as_object().context("fields")?;
        found.insert(name.clone(), fields.iter().map(|(json, fact)| field(name, json, fact, "z")).collect());
    }
    for (definition, fact) in schema["definitions"].as_object().context("definitions")? {
        let name = message_of(definition, fact);
        let on_wire = without_schema.get(&name);
        let mut fields = Vec::new();
        for (json, fact) in fact["fields"].as_object().into_iter().flatten() {
            let fact = if fact["number"].is_null() { same_name(on_wire, json) } else { Some(fact) };
            let letter = letters.get(&(definition.as_str(), json.as_str())).copied().unwrap_or("z");
            fields.extend(fact.map(|fact| field(&name, json, fact, letter)));
        }
        if on_wire.is_none() || !fields.is_empty() {
            found.insert(name, fields);
        }
    }
    Ok(found)
}

/// `$ref` is `ref` on the wire, `x-kubernetes-map-type` is `xKubernetesMapType`.
fn same_name<'a>(on_wire: Option<&'a Value>, json: &str) -> Option<&'a Value> {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let found = on_wire?.as_object()?.iter().find(|(name, _)| plain(name) == plain(json));
    found.map(|(_, fact)| fact)
}

fn field(message: &str, json: &str, fact: &Value, letter: &str) -> Field {
    Field {
        number: fact["number"].as_u64().unwrap_or_default(),
        name: json.to_owned(),
        label: fact["label"].as_str().unwrap_or_default().to_owned(),
        ty: resolve(message, fact["proto"].as_str().unwrap_or_default()),
        letter: letter.to_owned(),
    }
}

/// References are relative to the message's package.
fn resolve(message: &str, ty: &str) -> String {
    match ty.split_once(',') {
        Some((key, value)) => format!("{key},{}", resolve(message, value)),
        None if ty.starts_with(|first: char| first.is_ascii_lowercase()) => ty.to_owned(),
        None => match (ty.strip_prefix('.'), message.rsplit_once('.')) {
            (None, Some((package, _))) => format!("{package}.{ty}"),
            (absolute, _) => absolute.unwrap_or(ty).to_owned(),
        },
    }
}

fn add_facts(messages: &mut Messages, facts: &str, letters: &Letters<'_>) -> Result<()> {
    for line in facts.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["embed", message, number, ty] => embed(messages, message, number.parse()?, ty, letters)?,
            ["field", message, number, name, label, ty] => {
                let definition = definition_of(message);
                let letter = letters.get(&(definition.as_str(), *name)).copied().unwrap_or("z");
                let fact = serde_json::json!({"number": number.parse::<u64>()?, "label": label, "proto": ty});
                let fields = own(messages, message)?;
                fields.retain(|field| Some(field.number) != fact["number"].as_u64());
                fields.push(field(message, name, &fact, letter));
            }
            ["go", message, pairs @ ..] => {
                for (name, letter) in pairs.iter().filter_map(|pair| pair.split_once(':')) {
                    let found = own(messages, message)?.iter_mut().find(|field| field.name == name);
                    found.with_context(|| format!("{message}.{name}"))?.letter = letter.to_owned();
                }
            }
            _ => ensure!(words[0] == "kind", "what is {line:?}?"),
        }
    }
    Ok(())
}

fn own<'a>(messages: &'a mut Messages, name: &str) -> Result<&'a mut Vec<Field>> {
    messages.get_mut(name).with_context(|| format!("unknown message {name}"))
}

fn definition_of(message: &str) -> String {
    message.replacen("k8s.io.", "io.k8s.", 1)
}

/// The fields of what is embedded stand in the outer definition, and so do their letters.
fn embed(messages: &mut Messages, outer: &str, number: u64, ty: &str, letters: &Letters<'_>) -> Result<()> {
    let inner = resolve(outer, ty);
    let definition = definition_of(outer);
    for field in own(messages, &inner)? {
        if let Some(letter) = letters.get(&(definition.as_str(), field.name.as_str())) {
            field.letter = (*letter).to_owned();
        }
    }
    let embedded =
        Field { number, name: String::new(), label: "optional".into(), ty: inner.clone(), letter: "z".into() };
    // Where the schema knows the inner message it lists its fields at the outer one by mistake of name.
    let fields = own(messages, outer)?;
    fields.retain(|field| field.number != number);
    fields.push(embedded);
    Ok(())
}

fn kinds(schema: &Value, facts: &str) -> BTreeMap<(String, String, String), String> {
    let mut kinds = BTreeMap::new();
    for (definition, fact) in schema["definitions"].as_object().into_iter().flatten() {
        for gvk in fact["gvk"].as_array().into_iter().flatten() {
            let part = |at: usize| gvk[at].as_str().unwrap_or_default().to_owned();
            kinds.insert((part(0), part(1), part(2)), message_of(definition, fact));
        }
    }
    for line in facts.lines() {
        if let ["kind", group, version, kind, message] = line.split(' ').collect::<Vec<_>>().as_slice() {
            let group = if *group == "-" { "" } else { group };
            kinds.insert((group.to_owned(), (*version).to_owned(), (*kind).to_owned()), (*message).to_owned());
        }
    }
    kinds
}

fn reachable<'a>(messages: &Messages, roots: impl Iterator<Item = &'a String>) -> Result<Vec<String>> {
    let mut open: Vec<String> = roots.cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let fields = messages.get(&name).with_context(|| format!("unknown message {name}"))?;
        if seen.insert(name) {
            let values = fields.iter().map(|field| field.ty.rsplit(',').next().unwrap_or_default());
            open.extend(values.filter(|ty| ty.contains('.') && special(ty).is_none()).map(str::to_owned));
        }
    }
    Ok(seen.into_iter().collect())
}

/// Messages that stand for a value of another form in JSON.
fn special(message: &str) -> Option<&'static str> {
    let (package, name) = message.rsplit_once('.')?;
    Some(match name {
        "Quantity" => "Quantity",
        "Time" => "Time",
        "MicroTime" => "MicroTime",
        "IntOrString" => "IntOrString",
        "RawExtension" | "FieldsV1" | "JSON" => "Raw",
        "ExtraValue" | "Verbs" => "Strings",
        _ => return None,
    })
    .filter(|_| package.starts_with("k8s.io."))
}

/// A few messages have fields of their own but another form in JSON.
fn either(message: &str) -> Option<&'static str> {
    Some(match message.rsplit('.').next()? {
        "JSONSchemaPropsOrArray" => "SchemaOrArray",
        "JSONSchemaPropsOrBool" => "SchemaOrBool",
        "JSONSchemaPropsOrStringArray" => "SchemaOrStrings",
        _ => return None,
    })
}

fn row(field: &Field, index: &BTreeMap<&str, usize>) -> Result<String> {
    let ty = match field.ty.split_once(',') {
        Some((_, value)) => format!("Type::Map(&{})", type_of(value, index)?),
        None => type_of(&field.ty, index)?,
    };
    let go = match field.letter.as_str() {
        "p" => "Pointer",
        "z" => "OmitEmpty",
        "y" => "OmitZero",
        "a" => "Always",
        "n" => "PointerAlways",
        other => anyhow::bail!("unknown letter {other}"),
    };
    let (number, name, repeated) = (field.number, &field.name, field.label == "repeated");
    Ok(format!("Field {{ number: {number}, name: {name:?}, ty: {ty}, repeated: {repeated}, go: Go::{go} }}"))
}

fn type_of(ty: &str, index: &BTreeMap<&str, usize>) -> Result<String> {
    if let Some(special) = special(ty) {
        return Ok(format!("Type::{special}"));
    }
    let scalar = match ty {
        "string" => "String",
        "bytes" => "Bytes",
        "int32" => "Int32",
        "int64" => "Int64",
        "bool" => "Bool",
        "double" => "Double",
        message => {
            let at = index.get(message).with_context(|| format!("unknown type {message}"))?;
            return Ok(format!("Type::{}({at})", either(message).unwrap_or("Message")));
        }
    };
    Ok(format!("Type::{scalar}"))
}
