//! Events: stored in the form of the core group, served in two.

mod rules;

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{int, name, text};
use crate::strategy::{Column, NameRule, Strategy};

/// Events of the core group.
pub struct CoreEvent;

/// Events of `events.k8s.io`.
pub struct Event;

const COLUMNS: &[Column] = &[
    Column::text("Last Seen"),
    Column::text("Type"),
    Column::text("Reason"),
    Column::text("Object"),
    Column::wide("Subobject"),
    Column::wide("Source"),
    Column::text("Message"),
    Column::wide("First Seen"),
    Column::wide("Count"),
    Column::new("Name", "string", "name", 1),
];

impl Strategy for CoreEvent {
    fn prepare_for_create(&self, _object: &mut Value, _context: &crate::Context<'_>) {}

    fn validate(&self, event: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        rules::lenient(&At::root(event), "reportingComponent", &mut errors);
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_for_update(&self, _new: &mut Value, _old: &Value, _context: &crate::Context<'_>) {}

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn row(&self, event: &Value, now: i64) -> Vec<Value> {
        row(event, now)
    }

    fn fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        fields(event)
    }
}

impl Strategy for Event {
    fn prepare_for_create(&self, _object: &mut Value, _context: &crate::Context<'_>) {}

    fn validate(&self, event: &Value) -> ErrorList {
        let (event, mut errors) = (self.to_storage(event.clone()), ErrorList::new());
        rules::lenient(&At::root(&event), "reportingController", &mut errors);
        rules::strict(&At::root(&event), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let (new, old, mut errors) = (self.to_storage(new.clone()), self.to_storage(old.clone()), ErrorList::new());
        rules::lenient(&At::root(&new), "reportingController", &mut errors);
        rules::change(&At::root(&new), &old, &mut errors);
        errors
    }

    fn prepare_for_update(&self, _new: &mut Value, _old: &Value, _context: &crate::Context<'_>) {}

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn row(&self, event: &Value, now: i64) -> Vec<Value> {
        row(&self.to_storage(event.clone()), now)
    }

    fn fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        fields(&self.to_storage(event.clone()))
    }

    fn selected_field<'a>(&self, label: &'a str) -> Option<&'a str> {
        SELECTED.iter().find(|(own, _)| *own == label).map(|(_, core)| *core)
    }

    fn to_storage(&self, event: Value) -> Value {
        renamed(event, "v1", &FORMS, false)
    }

    fn from_storage(&self, event: Value) -> Value {
        let mut event = renamed(event, "events.k8s.io/v1", &FORMS, true);
        if let Some(map) = event.as_object_mut() {
            map.retain(|name, value| !(OMITTED.contains(&name.as_str()) && value == ""));
        }
        event
    }
}

/// What selectors name in this form and in the core form.
const SELECTED: [(&str, &str); 12] = [
    ("metadata.name", "metadata.name"),
    ("metadata.namespace", "metadata.namespace"),
    ("reason", "reason"),
    ("type", "type"),
    ("reportingController", "reportingComponent"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
];

/// What the core form always shows and this one only where it says something.
const OMITTED: [&str; 2] = ["reportingController", "reportingInstance"];

/// Names of a field in the core form and in the other.
const FORMS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn renamed(mut event: Value, api_version: &str, forms: &[(&str, &str)], forward: bool) -> Value {
    let Some(map) = event.as_object_mut() else { return event };
    for (core, other) in forms {
        let (from, to) = if forward { (core, other) } else { (other, core) };
        if let Some(value) = map.remove(*from) {
            map.insert((*to).to_owned(), value);
        }
    }
    map.insert("apiVersion".into(), api_version.into());
    event
}

fn row(event: &Value, now: i64) -> Vec<Value> {
    let seen = |field: &str| {
        let time = event.get(field).filter(|time| !time.is_null()).or_else(|| event.get("eventTime"));
        table::since(time, now)
    };
    let series = event.get("series").filter(|series| series.is_object());
    let first = seen("firstTimestamp");
    let last = match event.get("lastTimestamp").filter(|time| !time.is_null()) {
        Some(time) => table::since(Some(time), now),
        None => first.clone(),
    };
    let last = series.map_or(last, |series| table::since(series.get("lastObservedTime"), now));
    // Events of today that happened once have no count.
    let count = series.map_or(int(event, "/count").max(1), |series| int(series, "/count"));
    let object = &event["involvedObject"];
    let target = match text(object, "/name") {
        "" => text(object, "/kind").to_lowercase(),
        name => format!("{}/{name}", text(object, "/kind").to_lowercase()),
    };
    let component = match text(event, "/source/component") {
        "" => text(event, "/reportingComponent"),
        component => component,
    };
    let instance = match text(event, "/source/host") {
        "" => text(event, "/reportingInstance"),
        host => host,
    };
    let source = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        last,
        text(event, "/type").into(),
        text(event, "/reason").into(),
        target.into(),
        text(object, "/fieldPath").into(),
        source.into(),
        text(event, "/message").trim().into(),
        first,
        count.into(),
        name(event),
    ]
}

fn fields(event: &Value) -> Vec<(&'static str, String)> {
    let source = match text(event, "/source/component") {
        "" => text(event, "/reportingComponent"),
        component => component,
    };
    let involved = [
        ("involvedObject.kind", "/involvedObject/kind"),
        ("involvedObject.namespace", "/involvedObject/namespace"),
        ("involvedObject.name", "/involvedObject/name"),
        ("involvedObject.uid", "/involvedObject/uid"),
        ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
        ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
        ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
        ("reason", "/reason"),
        ("reportingComponent", "/reportingComponent"),
        ("type", "/type"),
    ];
    let mut fields: Vec<_> = involved.iter().map(|(name, at)| (*name, text(event, at).to_owned())).collect();
    fields.push(("source", source.to_owned()));
    fields
}
