//! The entries of `metadata.managedFields`, and how a write changes them.

use api::schema::SchemaNode;
use serde_json::{Value, json};

use super::compare::compare;
use super::field_set::{FieldSet, PathElement};
use crate::object::metadata_mut;

/// More managers than this are folded into one.
const UPDATE_MANAGERS_MAX: usize = 10;
const FOLDED: &str = "ancient-changes";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    pub name: &'a str,
    pub api_version: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
}

/// One entry. `operation` is `Apply` or `Update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub manager: String,
    pub operation: String,
    pub api_version: String,
    pub subresource: String,
    pub time: Option<String>,
    pub fields: FieldSet,
}

impl Entry {
    fn is_of(&self, manager: &Manager<'_>) -> bool {
        self.operation == "Update"
            && self.manager == manager.name
            && self.api_version == manager.api_version
            && self.subresource == manager.subresource
    }
}

/// The entries of an object. `None` if they cannot be read.
pub fn decode(object: &Value) -> Option<Vec<Entry>> {
    let list = &object["metadata"]["managedFields"];
    list.as_array().map_or(Some(Vec::new()), |list| list.iter().map(decode_entry).collect())
}

fn decode_entry(entry: &Value) -> Option<Entry> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let fields = match &entry["fieldsV1"] {
        Value::Null => FieldSet::new(),
        fields => FieldSet::from_fields_v1(fields)?,
    };
    let known = ["Apply", "Update"].contains(&text("operation").as_str());
    (known && text("fieldsType") == "FieldsV1" && !text("apiVersion").is_empty()).then(|| Entry {
        manager: text("manager"),
        operation: text("operation"),
        api_version: text("apiVersion"),
        subresource: text("subresource"),
        time: entry["time"].as_str().map(str::to_owned),
        fields,
    })
}

/// The value of `metadata.managedFields`, in upstream's order.
pub fn encode(entries: &[Entry]) -> Value {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (&entry.operation, &entry.time, &entry.manager, &entry.api_version, &entry.subresource));
    sorted.into_iter().map(encode_entry).collect()
}

fn encode_entry(entry: &Entry) -> Value {
    let mut out = json!({
        "manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version,
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

/// Sets `metadata.managedFields` of `new` for a create (`live` is `None`), an update or a patch that is not an apply.
///
/// `ignored` are the fields that this endpoint resets, e.g. `status` on the main resource. `now` is RFC 3339 in seconds.
pub fn update(
    live: Option<&Value>,
    new: &mut Value,
    schema: SchemaNode<'_>,
    manager: &Manager<'_>,
    ignored: &[&str],
    now: &str,
) {
    let entries = current_entries(live, new, manager);
    metadata_mut(new).remove("managedFields");
    if live.is_some() && entries.is_empty() {
        return;
    }
    let mut before = live.cloned().unwrap_or_else(|| empty_object(new, schema));
    metadata_mut(&mut before).remove("managedFields");
    let entries = after_write(entries, &before, new, schema, manager, ignored, now);
    if !entries.is_empty() {
        metadata_mut(new).insert("managedFields".into(), encode(&entries));
    }
}

fn empty_object(new: &Value, schema: SchemaNode<'_>) -> Value {
    let mut empty = crate::strict::zero(schema);
    empty["apiVersion"] = new["apiVersion"].clone();
    empty["kind"] = new["kind"].clone();
    empty
}

/// A client may set the entries itself, or reset them with one empty entry; one that does not know them keeps them.
fn current_entries(live: Option<&Value>, new: &Value, manager: &Manager<'_>) -> Vec<Entry> {
    let of_live = || live.and_then(decode).unwrap_or_default();
    if !manager.subresource.is_empty() {
        return of_live();
    }
    let sent = new["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if sent.len() == 1 && sent[0].as_object().is_some_and(serde_json::Map::is_empty) {
        return Vec::new();
    }
    decode(new).filter(|entries| !entries.is_empty()).unwrap_or_else(of_live)
}

fn after_write(
    mut entries: Vec<Entry>,
    before: &Value,
    after: &Value,
    schema: SchemaNode<'_>,
    manager: &Manager<'_>,
    ignored: &[&str],
    now: &str,
) -> Vec<Entry> {
    let comparison = compare(before, after, schema);
    let never = stripped();
    let taken =
        comparison.added.union(&comparison.modified).recursive_difference(&ignored_set(ignored)).difference(&never);
    for entry in &mut entries {
        entry.fields = entry.fields.difference(&comparison.removed);
        if !entry.is_of(manager) {
            entry.fields = entry.fields.difference(&taken);
        }
    }
    if !taken.is_empty() {
        take(&mut entries, taken, manager, now);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    fold_oldest(entries)
}

fn take(entries: &mut Vec<Entry>, taken: FieldSet, manager: &Manager<'_>, now: &str) {
    match entries.iter_mut().find(|entry| entry.is_of(manager)) {
        Some(own) => {
            own.fields = own.fields.union(&taken);
            own.time = Some(now.to_owned());
        }
        None => entries.push(Entry {
            manager: manager.name.into(),
            operation: "Update".into(),
            api_version: manager.api_version.into(),
            subresource: manager.subresource.into(),
            time: Some(now.to_owned()),
            fields: taken,
        }),
    }
}

fn ignored_set(ignored: &[&str]) -> FieldSet {
    let path = |pointer: &&str| pointer.split('.').map(|name| PathElement::Field(name.to_owned())).collect::<Vec<_>>();
    ignored.iter().map(path).collect()
}

/// What nobody owns.
fn stripped() -> FieldSet {
    let system = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let field = |name: &str| PathElement::Field(name.to_owned());
    let mut set: FieldSet = ["apiVersion", "kind", "metadata"].iter().map(|name| vec![field(name)]).collect();
    for name in system {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
}

/// Folds the oldest updaters into one entry for each version when there are too many.
fn fold_oldest(mut entries: Vec<Entry>) -> Vec<Entry> {
    let updaters = entries.iter().filter(|entry| entry.operation == "Update").count();
    if updaters <= UPDATE_MANAGERS_MAX {
        return entries;
    }
    entries.sort_by(|a, b| (&a.operation, &a.time, &a.manager).cmp(&(&b.operation, &b.time, &b.manager)));
    let appliers = entries.len() - updaters;
    let mut updaters = entries.split_off(appliers);
    let mut folded: Vec<Entry> = Vec::new();
    while folded.len() + updaters.len() > UPDATE_MANAGERS_MAX && !updaters.is_empty() {
        let oldest = updaters.remove(0);
        match folded.iter_mut().find(|entry| entry.api_version == oldest.api_version) {
            Some(entry) => {
                entry.fields = entry.fields.union(&oldest.fields);
                entry.time = oldest.time;
            }
            None => folded.push(Entry { manager: FOLDED.into(), subresource: String::new(), ..oldest }),
        }
    }
    entries.extend(folded);
    entries.extend(updaters);
    entries
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

    fn schema() -> SchemaNode<'static> {
        api::schema::kind("", "v1", "Pod").unwrap().node()
    }

    fn manager(name: &str) -> Manager<'_> {
        Manager { name, api_version: "v1", subresource: "" }
    }

    fn pod(image: &str) -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        });
        crate::strict::normalize(&mut pod, schema()).unwrap();
        pod
    }

    fn fields_of(object: &Value, manager: &str) -> Value {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        entries.iter().find(|entry| entry["manager"] == manager).map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }

    #[test]
    fn a_creator_owns_what_it_set() {
        let mut created = pod("1");
        update(None, &mut created, schema(), &manager("a"), &["status"], "2026-01-01T00:00:00Z");
        assert_eq!(
            fields_of(&created, "a"),
            json!({
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}},
            })
        );
    }

    #[test]
    fn ownership_moves_to_who_changes_a_value() {
        let mut created = pod("1");
        update(None, &mut created, schema(), &manager("a"), &["status"], "2026-01-01T00:00:00Z");
        let mut changed = pod("2");
        update(Some(&created), &mut changed, schema(), &manager("b"), &["status"], "2026-01-02T00:00:00Z");
        let container =
            |owner: &str| fields_of(&changed, owner)["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"].clone();
        assert_eq!(container("b"), json!({"f:image": {}}));
        assert_eq!(container("a"), json!({".": {}, "f:name": {}, "f:resources": {}}));
        let mut same = changed.clone();
        update(Some(&changed), &mut same, schema(), &manager("c"), &["status"], "2026-01-03T00:00:00Z");
        assert_eq!(same, changed);
    }

    #[test]
    fn one_empty_entry_resets() {
        let mut created = pod("1");
        update(None, &mut created, schema(), &manager("a"), &["status"], "2026-01-01T00:00:00Z");
        let mut reset = pod("1");
        reset["metadata"]["managedFields"] = json!([{}]);
        update(Some(&created), &mut reset, schema(), &manager("b"), &["status"], "2026-01-02T00:00:00Z");
        assert!(reset["metadata"].get("managedFields").is_none());
    }

    #[test]
    fn the_eleventh_manager_folds_the_oldest() {
        let mut live = pod("0");
        update(None, &mut live, schema(), &manager("m0"), &[], "2026-01-01T00:00:00Z");
        for n in 1..15 {
            let mut new = live.clone();
            crate::object::set_label(&mut new, &format!("l{n}"), "x");
            let now = format!("2026-01-01T00:00:{n:02}Z");
            update(Some(&live), &mut new, schema(), &manager(&format!("m{n}")), &[], &now);
            live = new;
        }
        assert_eq!(decode(&live).unwrap().len(), 10);
        assert!(!fields_of(&live, "ancient-changes").is_null());
    }
}
