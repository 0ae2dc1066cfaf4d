//! Another server's version 2 in ours. Names that both have for different things are told apart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The parts that are merged.
const PARTS: [&str; 2] = ["definitions", "parameters"];

/// Of a document the paths that begin so, and what they refer to.
pub fn below(document: &Value, prefix: &str) -> Value {
    let kept = entries(document, "paths").filter(|(path, _)| path.starts_with(prefix));
    let paths: Map<String, Value> = kept.map(|(path, item)| (path.clone(), item.clone())).collect();
    let mut reached = BTreeSet::new();
    paths.values().for_each(|item| reach(item, document, &mut reached));
    let mut filtered = json!({"paths": paths});
    for part in PARTS {
        let kept = entries(document, part).filter(|(name, _)| reached.contains(&reference(part, name)));
        filtered[part] = kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into();
    }
    filtered
}

fn entries<'a>(document: &'a Value, part: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    document[part].as_object().into_iter().flatten()
}

fn reference(part: &str, name: &str) -> String {
    format!("#/{part}/{name}")
}

fn reach(value: &Value, document: &Value, reached: &mut BTreeSet<String>) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                let to = fields.get("$ref").and_then(Value::as_str);
                if let Some(to) = to.filter(|to| !reached.contains(*to)) {
                    reached.insert(to.to_owned());
                    open.extend(document.pointer(to.trim_start_matches('#')));
                }
                open.extend(fields.values());
            }
            _ => {}
        }
    }
}

/// Adds what `base` has not. A path that it has stays as it is.
pub fn add(base: &mut Value, other: &Value) {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for part in PARTS {
        for (name, value) in entries(other, part) {
            let free = free_name(&base[part], name, value);
            if free != *name {
                names.insert(reference(part, name), reference(part, &free));
            }
        }
    }
    for part in PARTS {
        for (name, value) in entries(other, part) {
            let own = reference(part, name);
            let name = names.get(&own).unwrap_or(&own).rsplit('/').next().unwrap_or(name).to_owned();
            let added = renamed(value, &names);
            let slot = &mut base[part][&name];
            if slot.is_null() {
                *slot = added;
            } else {
                add_kinds(slot, &added);
            }
        }
    }
    for (path, item) in entries(other, "paths") {
        let slot = &mut base["paths"][path];
        if slot.is_null() {
            *slot = renamed(item, &names);
        }
    }
}

const KINDS: &str = "x-kubernetes-group-version-kind";

fn add_kinds(own: &mut Value, other: &Value) {
    let more = other[KINDS].as_array().cloned().unwrap_or_default();
    if let Some(kinds) = own.get_mut(KINDS).and_then(Value::as_array_mut) {
        let new: Vec<Value> = more.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        kinds.extend(new);
    }
}

/// The name itself where nobody has it, or has it for the same; else with a number.
fn free_name(taken: &Value, name: &str, value: &Value) -> String {
    let numbered = (2..).map(|number| format!("{name}_v{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| taken.get(name).is_none_or(|own| same(own, value)));
    free.expect("there are more numbers than definitions")
}

/// The kinds of a definition are who uses it, not what it is.
fn same(a: &Value, b: &Value) -> bool {
    let without_kinds = |value: &Value| {
        let mut value = value.clone();
        value.as_object_mut().map(|fields| fields.remove(KINDS));
        value
    };
    without_kinds(a) == without_kinds(b)
}

fn renamed(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| renamed(item, names)).collect(),
        Value::Object(fields) => {
            let each = fields.iter().map(|(name, value)| match value {
                Value::String(to) if name == "$ref" => (name.clone(), names.get(to).unwrap_or(to).clone().into()),
                value => (name.clone(), renamed(value, names)),
            });
            each.collect::<Map<_, _>>().into()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Value {
        json!({
            "paths": {
                "/apis/a/v1/x": {"get": {"parameters": [{"$ref": "#/parameters/p"}], "s": {"$ref": "#/definitions/X"}}},
                "/apis/b/v1/y": {"get": {"s": {"$ref": "#/definitions/Y"}}},
            },
            "definitions": {"X": {"properties": {"m": {"$ref": "#/definitions/Meta"}}}, "Y": {}, "Meta": {"a": 1}},
            "parameters": {"p": {"name": "p"}, "q": {"name": "q"}},
        })
    }

    #[test]
    fn only_what_the_version_needs_is_kept() {
        let kept = below(&other(), "/apis/a/v1/");
        assert_eq!(kept["paths"].as_object().unwrap().len(), 1);
        assert_eq!(kept["definitions"], json!({"X": other()["definitions"]["X"], "Meta": {"a": 1}}));
        assert_eq!(kept["parameters"], json!({"p": {"name": "p"}}));
    }

    #[test]
    fn a_name_for_two_things_becomes_two_names() {
        let mut base = json!({
            "paths": {}, "parameters": {"p": {"name": "p"}},
            "definitions": {"Meta": {"a": 2, KINDS: [1]}, "Meta_v2": {"a": 3}},
        });
        add(&mut base, &below(&other(), "/apis/a/v1/"));
        assert_eq!(base["definitions"]["Meta_v3"], json!({"a": 1}));
        assert_eq!(base["definitions"]["X"]["properties"]["m"]["$ref"], "#/definitions/Meta_v3");
        assert_eq!(base["parameters"], json!({"p": {"name": "p"}}));
    }

    #[test]
    fn the_same_thing_keeps_its_name_and_gains_kinds() {
        let mut base =
            json!({"paths": {"/apis/a/v1/x": 1}, "definitions": {"Meta": {"a": 1, KINDS: [1]}}, "parameters": {}});
        let mut more = other();
        more["definitions"]["Meta"][KINDS] = json!([1, 2]);
        add(&mut base, &more);
        assert_eq!(base["definitions"]["Meta"], json!({"a": 1, KINDS: [1, 2]}));
        assert_eq!(base["paths"]["/apis/a/v1/x"], 1);
    }
}
