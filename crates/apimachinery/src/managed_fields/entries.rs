//! The entries of `metadata.managedFields`, as they are stored and as they are worked with.

use serde_json::{Value, json};

use super::field_set::{FieldSet, FieldsError};

/// One manager's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub manager: String,
    /// Whether the manager applies; else it updates.
    pub applied: bool,
    pub api_version: String,
    /// Empty for the main resource.
    pub subresource: String,
    pub time: Option<String>,
    pub fields: FieldSet,
}

impl Entry {
    /// What makes an entry the same manager's. One who applies is the same in every version.
    pub fn identity(&self) -> (&str, &str, &str, &str) {
        let version = if self.applied { "" } else { self.api_version.as_str() };
        (&self.manager, self.operation(), version, &self.subresource)
    }

    pub fn operation(&self) -> &'static str {
        if self.applied { "Apply" } else { "Update" }
    }

    pub fn is_of(&self, other: &Entry) -> bool {
        self.identity() == other.identity()
    }
}

/// Why entries cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
    #[error("error decoding set: {0}")]
    Fields(FieldsError),
}

/// The entries of an object. Of two with the same identity the later one counts.
pub fn decode(object: &Value) -> Result<Vec<Entry>, EntriesError> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut entries: Vec<Entry> = Vec::new();
    for (index, value) in list.into_iter().flatten().enumerate() {
        let entry = decode_entry(index, value)?;
        match entries.iter_mut().find(|known| known.is_of(&entry)) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

fn decode_entry(index: usize, entry: &Value) -> Result<Entry, EntriesError> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let applied = match entry["operation"].as_str() {
        Some("Apply") => true,
        Some("Update") => false,
        _ => return Err(EntriesError::Operation),
    };
    if text("apiVersion").is_empty() {
        return Err(EntriesError::ApiVersion);
    }
    match text("fieldsType").as_str() {
        "FieldsV1" => {}
        "" => return Err(EntriesError::NoFieldsType(index)),
        other => return Err(EntriesError::FieldsType(index, other.into())),
    }
    let fields = match &entry["fieldsV1"] {
        Value::Null => FieldSet::new(),
        fields => FieldSet::from_fields_v1(fields).map_err(EntriesError::Fields)?,
    };
    Ok(Entry {
        manager: text("manager"),
        applied,
        api_version: text("apiVersion"),
        subresource: text("subresource"),
        time: entry["time"].as_str().map(str::to_owned),
        fields,
    })
}

/// The value of `metadata.managedFields`, in upstream's order.
pub fn encode(entries: &[Entry]) -> Value {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted
        .sort_by_key(|entry| (entry.operation(), &entry.time, &entry.manager, &entry.api_version, &entry.subresource));
    sorted.into_iter().map(encode_entry).collect()
}

fn encode_entry(entry: &Entry) -> Value {
    let mut out = json!({
        "manager": entry.manager, "operation": entry.operation(), "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_fields_v1(),
    });
    if let Some(time) = &entry.time {
        out["time"] = time.clone().into();
    }
    if !entry.subresource.is_empty() {
        out["subresource"] = entry.subresource.clone().into();
    }
    out
}

/// Puts the entries into an object; none are absent.
pub fn set(object: &mut Value, entries: &[Entry]) {
    let metadata = crate::object::metadata_mut(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), encode(entries));
    }
}

/// Whether a client resets the entries: it sends an empty list, or one empty entry.
pub fn is_reset(object: &Value) -> bool {
    match object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.is_empty(),
        _ => false,
    }
}

/// Whether two objects are the same but for the times in their managed fields: then a write would change nothing.
pub fn same_but_for_times(a: &Value, b: &Value) -> bool {
    without_times(a) == without_times(b)
}

fn without_times(object: &Value) -> Value {
    let mut object = object.clone();
    let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.remove("time");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(entry: Value) -> Result<Vec<Entry>, EntriesError> {
        decode(&json!({"metadata": {"managedFields": [entry]}}))
    }

    #[test]
    fn says_why_entries_cannot_be_read() {
        let fields = |fields: Value| json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        assert_eq!(decoded(json!({"operation": "Create"})), Err(EntriesError::Operation));
        assert_eq!(decoded(json!({"operation": "Apply"})), Err(EntriesError::ApiVersion));
        assert!(matches!(decoded(fields(json!({"bad": {}}))), Err(EntriesError::Fields(_))));
        // A step of a kind that a later version may know.
        assert!(decoded(fields(json!({"x:new": {}}))).unwrap()[0].fields.is_empty());
    }

    #[test]
    fn an_applier_is_one_manager_in_all_versions_and_an_updater_is_not() {
        let entry = |operation: &str, version: &str| json!({"manager": "m", "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1"});
        let count = |operation: &str| {
            let list = [entry(operation, "v1"), entry(operation, "v2")];
            decode(&json!({"metadata": {"managedFields": list}})).unwrap().len()
        };
        assert_eq!((count("Apply"), count("Update")), (1, 2));
    }

    #[test]
    fn an_empty_list_or_one_empty_entry_resets() {
        let reset = |list: Value| is_reset(&json!({"metadata": {"managedFields": list}}));
        assert!(reset(json!([])) && reset(json!([{}])));
        assert!(!reset(Value::Null) && !reset(json!([{}, {}])) && !is_reset(&json!({})));
    }
}
