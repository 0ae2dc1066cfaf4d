//! Strategic merge patch: lists merge by key as the schema says, directed by `$patch`, `$retainKeys`,
//! `$deleteFromPrimitiveList/…` and `$setElementOrder/…`.

use api::schema::SchemaNode;
use serde_json::{Map, Value};

use super::PatchError;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

pub fn apply(object: &Value, patch: &[u8], schema: SchemaNode<'_>) -> Result<Value, PatchError> {
    let Value::Object(patch) = super::parse(patch)? else {
        return Err(PatchError::Malformed("invalid JSON document".into()));
    };
    let original = object.as_object().cloned().unwrap_or_default();
    merge_map(original, patch, Some(schema)).map(Value::Object)
}

type Schema<'a> = Option<SchemaNode<'a>>;

fn bad_format(what: &str) -> PatchError {
    PatchError::Malformed(format!("invalid patch format of {what}"))
}

fn unknown_directive(directive: &Value, around: &Map<String, Value>) -> PatchError {
    let around = Value::Object(around.clone());
    PatchError::Contradictory(format!("unknown patch type {directive} in map {around}"))
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Schema<'_>,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    merge_ordered_lists(&mut original, &mut patch, schema)?;
    for (key, change) in patch {
        merge_field(&mut original, &key, change, schema)?;
    }
    Ok(original)
}

fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = list else { return Err(bad_format("retainKeys")) };
    let kept = |name: &str| keys.iter().any(|key| key == name);
    let is_change = |key: &str, value: &Value| {
        !value.is_null() && !key.starts_with(DELETE_PREFIX) && !key.starts_with(ORDER_PREFIX)
    };
    if patch.iter().any(|(key, value)| is_change(key, value) && !kept(key)) {
        return Err(bad_format("retainKeys"));
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

fn merge_ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Schema<'_>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(ORDER_PREFIX)).cloned().collect();
    for directive in directives {
        let order = as_list(patch.remove(&directive))?.unwrap_or_default();
        let name = &directive[ORDER_PREFIX.len()..];
        let node = schema.and_then(|schema| schema.child(name));
        let merged = merge_ordered_list(original.get(name), patch.remove(name), &order, node)?;
        if let Some(merged) = merged {
            original.insert(name.to_owned(), merged.into());
        }
    }
    Ok(())
}

fn merge_ordered_list(
    original: Option<&Value>,
    patch: Option<Value>,
    order: &[Value],
    node: Schema<'_>,
) -> Result<Option<Vec<Value>>, PatchError> {
    let key = node.map_or("", |node| node.patch_merge_key());
    let original_list = as_list(original.cloned())?;
    let patch_list = as_list(patch)?;
    if let Some(patch_list) = &patch_list {
        check_order(patch_list, order, key)?;
    }
    let merged = match (original_list.clone(), patch_list) {
        (None, None) => return Ok(None),
        (Some(original), None) => original,
        (None, Some(patch)) => without_directives(patch),
        (Some(original), Some(patch)) => merge_slice(original, patch, node)?,
    };
    let server_order = original_list.unwrap_or_default();
    Ok(Some(in_order(merged, order, &server_order, key)))
}

fn as_list(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(PatchError::Contradictory(format!("expected a list, but received {other}"))),
    }
}

/// The items of the patch must stand in the order that it demands.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if !rest.any(|ordered| same(item, ordered, key)) {
            let (patch, order) = (Value::from(patch), Value::from(order));
            let why = format!("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n");
            return Err(PatchError::Contradictory(why));
        }
    }
    Ok(())
}

fn same(left: &Value, right: &Value, key: &str) -> bool {
    if key.is_empty() { left == right } else { left.get(key).is_some() && left.get(key) == right.get(key) }
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: &str,
    change: Value,
    schema: Schema<'_>,
) -> Result<(), PatchError> {
    if let Some(name) = key.strip_prefix(DELETE_PREFIX) {
        return delete_from_primitives(original, name, &change);
    }
    if change.is_null() {
        original.remove(key);
        return Ok(());
    }
    let node = schema.and_then(|schema| schema.child(key));
    match (original.remove(key), change) {
        (Some(Value::Object(current)), Value::Object(change)) => {
            let merged = if is_replaced(node) { change } else { merge_map(current, change, node)? };
            original.insert(key.to_owned(), Value::Object(merged));
        }
        (Some(Value::Array(current)), Value::Array(change)) => {
            let merged = if merges(node) { merge_slice(current, change, node)? } else { change };
            original.insert(key.to_owned(), merged.into());
        }
        (_, mut change) => {
            discard_nulls(&mut change);
            if let Some(value) = without_directive(change) {
                original.insert(key.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn merges(node: Schema<'_>) -> bool {
    node.is_some_and(|node| node.patch_merge())
}

/// The one object of the API that is replaced by a strategic merge is the selector of a PodDisruptionBudget.
fn is_replaced(node: Schema<'_>) -> bool {
    node.is_some_and(|node| node.patch_replace())
}

fn delete_from_primitives(original: &mut Map<String, Value>, name: &str, change: &Value) -> Result<(), PatchError> {
    let Some(deleted) = change.as_array() else { return Err(bad_format("primitive list")) };
    if let Some(list) = original.get_mut(name).and_then(Value::as_array_mut) {
        list.retain(|item| !deleted.contains(item));
    }
    Ok(())
}

fn merge_slice(original: Vec<Value>, patch: Vec<Value>, node: Schema<'_>) -> Result<Vec<Value>, PatchError> {
    let key = node.map_or("", |node| node.patch_merge_key());
    check_types(original.iter().chain(&patch))?;
    if !original.iter().chain(&patch).any(Value::is_object) {
        let mut merged = original.clone();
        merged.extend(patch.iter().filter(|item| !original.contains(item)).cloned());
        return Ok(in_order(merged, &patch, &original, ""));
    }
    if key.is_empty() {
        return Err(PatchError::Contradictory("cannot merge lists without merge key".into()));
    }
    let server_order = original.clone();
    let (mut merged, patch) = apply_item_directives(original, patch, key)?;
    let item_node = node.and_then(|node| node.items());
    for change in &patch {
        merge_item(&mut merged, change, key, item_node)?;
    }
    Ok(in_order(merged, &patch, &server_order, key))
}

/// Items are all of one type, and none is a list.
fn check_types<'a>(mut items: impl Iterator<Item = &'a Value>) -> Result<(), PatchError> {
    let Some(first) = items.next() else { return Ok(()) };
    if first.is_array() {
        return Err(PatchError::Unprocessable("lists of lists are not supported".into()));
    }
    match items.find(|item| std::mem::discriminant(*item) != std::mem::discriminant(first)) {
        Some(other) => Err(PatchError::Contradictory(format!("list element types are not identical: {first} {other}"))),
        None => Ok(()),
    }
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Contradictory(format!("map: {item} does not contain declared merge key: {key}"))
}

fn apply_item_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut changes, mut replace) = (Vec::new(), false);
    for item in patch {
        let Some(map) = item.as_object() else {
            return Err(PatchError::Unprocessable(format!("expected an object in the list, but received {item}")));
        };
        match map.get(DIRECTIVE).map(|directive| (directive, directive.as_str())) {
            None => changes.push(item),
            Some((_, Some("delete"))) if map.contains_key(key) => {
                original.retain(|candidate| candidate.get(key) != map.get(key));
            }
            Some((_, Some("delete"))) => return Err(no_merge_key(&item, key)),
            Some((_, Some("replace"))) => replace = true,
            Some((_, Some("merge"))) => {
                return Err(PatchError::Contradictory("merging lists cannot yet be specified in the patch".into()));
            }
            Some((directive, _)) => return Err(unknown_directive(directive, map)),
        }
    }
    Ok(if replace { (changes, Vec::new()) } else { (original, changes) })
}

fn merge_item(merged: &mut Vec<Value>, change: &Value, key: &str, node: Schema<'_>) -> Result<(), PatchError> {
    let (Some(map), Some(identity)) = (change.as_object(), change.get(key)) else {
        return Err(no_merge_key(change, key));
    };
    match merged.iter_mut().find(|item| item.get(key) == Some(identity)) {
        Some(item) => {
            let current = item.as_object().cloned().unwrap_or_default();
            *item = Value::Object(merge_map(current, map.clone(), node)?);
        }
        None => {
            let mut item = change.clone();
            discard_nulls(&mut item);
            merged.extend(without_directive(item));
        }
    }
    Ok(())
}

/// Items that the patch names in its order, the others where they stood relative to those that both know.
fn in_order(merged: Vec<Value>, order: &[Value], server_order: &[Value], key: &str) -> Vec<Value> {
    let position = |list: &[Value], item: &Value| list.iter().position(|other| same(item, other, key));
    let (mut ordered, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(order, item).is_some());
    ordered.sort_by_key(|item| position(order, item));
    let mut result = Vec::with_capacity(ordered.len() + others.len());
    let mut ordered = ordered.into_iter().peekable();
    for other in others {
        let place = position(server_order, &other);
        while let Some(next) = ordered.peek() {
            let before = position(server_order, next);
            if place.zip(before).is_some_and(|(place, before)| place < before) {
                break;
            }
            result.extend(ordered.next());
        }
        result.push(other);
    }
    result.extend(ordered);
    result
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

fn without_directive(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !key.starts_with('$') || !is_directive(key));
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key, without_directive(value)?))).collect()))
        }
        Value::Array(list) => Some(without_directives(list).into()),
        other => Some(other),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(ORDER_PREFIX) || key.starts_with(DELETE_PREFIX)
}

fn without_directives(list: Vec<Value>) -> Vec<Value> {
    list.into_iter().filter_map(without_directive).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: Value, patch: Value, expected: Value) {
        let schema = api::schema::kind("apps", "v1", "Deployment").unwrap().node();
        let patched = apply(&object, patch.to_string().as_bytes(), schema);
        assert_eq!(patched, Ok(expected));
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn containers_merge_by_name_and_new_ones_come_first() {
        check(
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
            containers(json!([{"name": "b", "image": "2"}, {"name": "c", "image": "3"}])),
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}])),
        );
        check(
            containers(json!([{"name": "a"}])),
            containers(json!([{"name": "z"}])),
            containers(json!([{"name": "z"}, {"name": "a"}])),
        );
    }

    #[test]
    fn items_are_deleted_and_lists_replaced_by_directive() {
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "a", "$patch": "delete"}])),
            containers(json!([{"name": "b"}])),
        );
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"$patch": "replace"}, {"name": "x"}])),
            containers(json!([{"name": "x"}])),
        );
    }

    #[test]
    fn primitives_are_deleted_and_ordered() {
        check(
            json!({"metadata": {"finalizers": ["e/a", "e/b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["e/a"], "$setElementOrder/finalizers": ["e/c", "e/b"], "finalizers": ["e/c"]}}),
            json!({"metadata": {"finalizers": ["e/c", "e/b"]}}),
        );
    }

    #[test]
    fn retain_keys_drops_the_others() {
        check(
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
    }
}
