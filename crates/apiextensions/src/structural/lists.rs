//! Lists of which no two items may be the same.

use apimachinery::field::{ErrorList, Path};
use serde_json::{Map, Value};

use super::{List, Structural};

/// Items of sets and of maps that came before.
pub fn check_lists(object: &Value, schema: &Structural, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    below(object, schema, path, &mut errors);
    errors
}

fn below(value: &Value, schema: &Structural, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(property) = schema.property(name) {
                    below(child, property, &path.child(name), errors);
                }
                if let Some(additional) = schema.additional_schema() {
                    below(child, additional, &path.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list {
                List::Atomic => {}
                List::Set => {
                    for index in repeated(items) {
                        errors.duplicate(&path.index(index), items[index].clone());
                    }
                }
                List::Map => map_list(items, schema.list_keys(), path, errors),
            }
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    below(item, schema, &path.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn map_list(items: &[Value], keys: &[&str], path: &Path, errors: &mut ErrorList) {
    if let Some(index) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
        let detail = "must be an object for an array of list-type map";
        errors.invalid(&path.index(index), items[index].clone(), detail);
        return;
    }
    let identities: Vec<Value> = items.iter().map(|item| identity(item, keys)).collect();
    for index in repeated(&identities) {
        errors.duplicate(&path.index(index), identities[index].clone());
    }
}

/// The keys of an item that it has.
fn identity(item: &Value, keys: &[&str]) -> Value {
    let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())));
    Value::Object(found.collect::<Map<_, _>>())
}

/// Where a value stands for the second time. Further repeats are not told.
fn repeated(values: &[Value]) -> Vec<usize> {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    let mut second = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            second.push(index);
        }
    }
    second
}
