//! Filling in what is absent.

use serde_json::{Map, Value};

/// Sets a field that is absent, null or the empty string. `object` must be an object, else nothing happens.
pub fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    let absent = map.get(name).is_none_or(|old| old.is_null() || old == "");
    if absent {
        map.insert(name.into(), value.into());
    }
}

/// Sets a field that is absent or null: of one that is a pointer for upstream, empty text is a value, and mostly a wrong one.
pub fn set_pointer(object: &mut Value, name: &str, value: impl Into<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.into(), value.into());
    }
}

/// Sets a number whose zero means absent.
pub fn set_nonzero(object: &mut Value, name: &str, value: i64) {
    if object.get(name) == Some(&Value::from(0)) {
        object[name] = Value::Null;
    }
    set(object, name, value);
}

/// The field as an object, made one if it is absent. `None` if it is something else.
pub fn object<'a>(parent: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let map = parent.as_object_mut()?;
    let child = map.entry(name).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    child.is_object().then_some(child)
}

/// The field, if it is an object.
pub fn present<'a>(parent: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    parent.get_mut(name).filter(|child| child.is_object())
}

/// The items of a list.
pub fn items<'a>(parent: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    parent.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

pub fn remove(object: &mut Value, name: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(name);
    }
}

/// Whether the field is absent, null or empty text.
pub fn lacks(object: &Value, name: &str) -> bool {
    object.get(name).is_none_or(|value| value.is_null() || value == "")
}
