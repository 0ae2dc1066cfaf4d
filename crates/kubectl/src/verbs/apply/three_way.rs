//! The patch of a three-way merge: what the file adds or changes against the server, and what it no longer says.
//!
//! With a schema the patch is a strategic merge patch, without one a JSON merge patch.

use api::schema::SchemaNode;
use serde_json::{Map, Value, json};

type Schema<'a> = Option<SchemaNode<'a>>;

/// `original` is the file as it was applied last, `modified` the file now, `current` the server's object.
pub fn patch(original: &Value, modified: &Value, current: &Value, schema: Schema<'_>) -> Value {
    Value::Object(map_patch(original, modified, current, schema))
}

fn map_patch(original: &Value, modified: &Value, current: &Value, schema: Schema<'_>) -> Map<String, Value> {
    let nothing = Map::new();
    let fields = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| nothing.clone());
    let (original, modified, current) = (fields(original), fields(modified), fields(current));
    let mut patch = Map::new();
    for (key, wanted) in &modified {
        let child = schema.and_then(|schema| schema.child(key));
        let before = original.get(key).unwrap_or(&Value::Null);
        match current.get(key) {
            // An explicit null asks for the field to be gone.
            _ if wanted.is_null() => {
                if current.contains_key(key) || original.contains_key(key) {
                    patch.insert(key.clone(), Value::Null);
                }
            }
            None => drop(patch.insert(key.clone(), wanted.clone())),
            Some(is) => field_patch(&mut patch, key, [before, wanted, is], child),
        }
    }
    for key in original.keys().filter(|key| !modified.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

fn field_patch(patch: &mut Map<String, Value>, key: &str, [before, wanted, is]: [&Value; 3], schema: Schema<'_>) {
    match (wanted, is) {
        (Value::Object(wanted_fields), Value::Object(_)) if !schema.is_some_and(|schema| schema.patch_replace()) => {
            let mut inner = map_patch(before, wanted, is, schema);
            if inner.is_empty() {
                return;
            }
            if schema.is_some_and(|schema| schema.patch_retain_keys()) {
                let kept: Vec<&String> = wanted_fields.keys().collect();
                inner.insert("$retainKeys".into(), json!(kept));
            }
            patch.insert(key.to_owned(), Value::Object(inner));
        }
        (Value::Array(wanted), Value::Array(is)) if schema.is_some_and(|schema| schema.patch_merge()) => {
            let none = Vec::new();
            let before = before.as_array().unwrap_or(&none);
            let schema = schema.expect("checked by the guard");
            match schema.patch_merge_key() {
                "" => primitives_patch(patch, key, [before, wanted, is]),
                merge_key => items_patch(patch, key, merge_key, [before, wanted, is], schema.items()),
            }
        }
        _ if wanted != is => drop(patch.insert(key.to_owned(), wanted.clone())),
        _ => {}
    }
}

/// Lists of plain values that merge as sets.
fn primitives_patch(patch: &mut Map<String, Value>, key: &str, [before, wanted, is]: [&Vec<Value>; 3]) {
    let added: Vec<&Value> = wanted.iter().filter(|value| !is.contains(value)).collect();
    let removed: Vec<&Value> = before.iter().filter(|value| !wanted.contains(value)).collect();
    if added.is_empty() && removed.is_empty() {
        return;
    }
    if !added.is_empty() {
        patch.insert(key.to_owned(), json!(added));
    }
    if !removed.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), json!(removed));
    }
    patch.insert(format!("$setElementOrder/{key}"), json!(wanted));
}

/// Lists whose items are told apart by one of their fields.
fn items_patch(
    patch: &mut Map<String, Value>,
    key: &str,
    merge_key: &str,
    [before, wanted, is]: [&Vec<Value>; 3],
    schema: Schema<'_>,
) {
    let find = |list: &'_ [Value], item: &Value| list.iter().find(|other| other[merge_key] == item[merge_key]).cloned();
    if wanted.iter().chain(before).any(|item| item[merge_key].is_null()) {
        if wanted != is {
            patch.insert(key.to_owned(), json!(wanted));
        }
        return;
    }
    let mut changes = Vec::new();
    for item in wanted {
        let Some(current) = find(is, item) else {
            changes.push(item.clone());
            continue;
        };
        let mut change = map_patch(&find(before, item).unwrap_or(Value::Null), item, &current, schema);
        if !change.is_empty() {
            change.insert(merge_key.to_owned(), item[merge_key].clone());
            changes.push(Value::Object(change));
        }
    }
    for gone in before.iter().filter(|item| find(wanted, item).is_none()) {
        changes.push(json!({"$patch": "delete", merge_key: gone[merge_key]}));
    }
    let keys = |list: &[Value]| list.iter().map(|item| item[merge_key].clone()).collect::<Vec<_>>();
    let wanted_keys = keys(wanted);
    let order_now: Vec<Value> = keys(is).into_iter().filter(|key| wanted_keys.contains(key)).collect();
    let known: Vec<Value> = wanted_keys.iter().filter(|key| order_now.contains(key)).cloned().collect();
    if changes.is_empty() && order_now == known {
        return;
    }
    if !changes.is_empty() {
        patch.insert(key.to_owned(), changes.into());
    }
    let order: Vec<Value> = wanted_keys.into_iter().map(|value| json!({merge_key: value})).collect();
    patch.insert(format!("$setElementOrder/{key}"), order.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn schema() -> Schema<'static> {
        Some(api::schema::kind("apps", "v1", "Deployment").expect("a built-in kind").node())
    }

    fn check(original: &Value, modified: &Value, current: &Value, wanted: Expect) {
        let made = patch(original, modified, current, schema());
        wanted.assert_eq(&made.to_string());
        // Applied, it leads to what the file says, keeps what others said, and leaves nothing more to do.
        let bytes = made.to_string();
        let node = schema().expect("a schema");
        let after = apimachinery::patch::strategic::apply(current, bytes.as_bytes(), node).expect("applies");
        assert_eq!(patch(modified, modified, &after, schema()), json!({}), "{after}");
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn nothing_to_do_is_nothing() {
        let object = json!({"spec": {"replicas": 3}});
        check(&object, &object, &json!({"spec": {"replicas": 3, "paused": false}, "status": {}}), expect!["{}"]);
    }

    #[test]
    fn fields_are_set_and_removed() {
        check(
            &json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 3}}),
            &json!({"metadata": {"labels": {"a": "9"}}, "spec": {"replicas": 4}}),
            &json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}, "spec": {"replicas": 3}}),
            expect![[r#"{"metadata":{"labels":{"a":"9","b":null}},"spec":{"replicas":4}}"#]],
        );
    }

    #[test]
    fn containers_merge_by_name() {
        check(
            &containers(json!([{"name": "a", "image": "1"}, {"name": "old", "image": "1"}])),
            &containers(json!([{"name": "a", "image": "2"}, {"name": "new", "image": "1"}])),
            &containers(
                json!([{"name": "a", "image": "1", "tty": true}, {"name": "old", "image": "1"}, {"name": "injected"}]),
            ),
            expect![[
                r#"{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"a"},{"name":"new"}],"containers":[{"image":"2","name":"a"},{"image":"1","name":"new"},{"$patch":"delete","name":"old"}]}}}}"#
            ]],
        );
    }

    #[test]
    fn finalizers_merge_as_a_set() {
        check(
            &json!({"metadata": {"finalizers": ["a", "b"]}}),
            &json!({"metadata": {"finalizers": ["a", "c"]}}),
            &json!({"metadata": {"finalizers": ["a", "b", "x"]}}),
            expect![[
                r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["b"],"$setElementOrder/finalizers":["a","c"],"finalizers":["c"]}}"#
            ]],
        );
    }

    #[test]
    fn without_a_schema_lists_are_replaced() {
        let made = patch(
            &json!({"spec": {"list": [1, 2], "x": 1}}),
            &json!({"spec": {"list": [1, 3]}}),
            &json!({"spec": {"list": [1, 2], "x": 1, "y": 2}}),
            None,
        );
        assert_eq!(made, json!({"spec": {"list": [1, 3], "x": null}}));
    }
}
