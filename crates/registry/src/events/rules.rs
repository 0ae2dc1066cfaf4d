//! Validation of events, in the form of the core group.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_qualified_name};
use apimachinery::{object, time};
use serde_json::Value;

use crate::at::At;

const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// What a change in the form of `events.k8s.io` leaves as it was.
const FIXED: [&str; 12] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

/// The rules of either form. `controller` is the name of the field that says who reports.
pub fn lenient(event: &At<'_>, controller: &str, errors: &mut ErrorList) {
    let own = object::namespace(event.value);
    let involved = event.to("involvedObject.namespace");
    if event.at("eventTime").present() {
        if involved.empty() && !["default", "kube-system"].contains(&own) {
            errors.invalid(&involved.path, involved.text(), "does not match event.namespace");
        }
        reported(event, controller, errors);
    } else if own != involved.text() && !(involved.empty() && ["", "default"].contains(&own)) {
        errors.invalid(&involved.path, involved.text(), "does not match event.namespace");
    }
    errors.invalid_all(&Path::new("namespace"), own, is_dns1123_subdomain(own));
}

/// An event of today says who reports what, within limits.
fn reported(event: &At<'_>, controller: &str, errors: &mut ErrorList) {
    let path = Path::new(controller);
    let reporter = event.at("reportingComponent");
    if reporter.empty() {
        errors.required(&path, "");
    }
    errors.invalid_all(&path, reporter.text(), is_qualified_name(reporter.text()));
    for at in ["reportingInstance", "action", "reason"].map(|field| event.at(field)) {
        at.required(errors, "");
        at_most(&at, TEXT_MAX, errors);
    }
    at_most(&event.at("message"), MESSAGE_MAX, errors);
}

fn at_most(at: &At<'_>, limit: usize, errors: &mut ErrorList) {
    if at.text().len() > limit {
        errors.invalid(&at.path, "", format!("can have at most {limit} characters"));
    }
}

/// What the form of `events.k8s.io` asks of a new event beside.
pub fn strict(event: &At<'_>, errors: &mut ErrorList) {
    series(&event.at("series"), errors);
    if !event.at("eventTime").present() {
        errors.required(&event.at("eventTime").path, "");
    }
    let kind = event.at("type");
    if !["Normal", "Warning"].contains(&kind.text()) {
        errors.invalid(&kind.path, "", format!("has invalid value: {}", kind.text()));
    }
    let unset = |at: &At<'_>| at.empty() || at.int() == Some(0);
    for at in ["firstTimestamp", "lastTimestamp", "count"].map(|field| event.at(field)).iter().filter(|at| !unset(at)) {
        errors.invalid(&at.path, "", "needs to be unset");
    }
    let source = event.at("source");
    if ["component", "host"].iter().any(|field| !source.at(field).empty()) {
        errors.invalid(&source.path, "", "needs to be unset");
    }
}

fn series(series: &At<'_>, errors: &mut ErrorList) {
    if !series.present() {
        return;
    }
    if series.at("count").int().unwrap_or_default() < 2 {
        errors.invalid(&series.at("count").path, "", "should be at least 2");
    }
    if !series.at("lastObservedTime").present() {
        errors.required(&series.at("lastObservedTime").path, "");
    }
}

/// What the form of `events.k8s.io` asks of a change beside: little more than the series goes on.
pub fn change(new: &At<'_>, old: &Value, errors: &mut ErrorList) {
    if new.at("series").value != &old["series"] {
        series(&new.at("series"), errors);
    }
    for field in FIXED {
        let before = &old[field];
        let nothing = |value: &Value| At::root(value).empty() || *value == 0;
        if nothing(before) && nothing(new.at(field).value) {
            continue;
        }
        // The internal form has one name for who reports.
        let shown = if field == "reportingComponent" { "reportingController" } else { field };
        At { value: new.at(field).value, path: Path::new(shown) }.immutable(errors, before);
    }
    let instant = |value: &Value| value.as_str().and_then(time::parse).map(|time| time.as_microsecond());
    if instant(new.at("eventTime").value) != instant(&old["eventTime"]) {
        new.at("eventTime").immutable(errors, &old["eventTime"]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::events::{CoreEvent, Event};
    use crate::strategy::Strategy;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
    }

    fn event(more: &[(&str, Value)]) -> Value {
        let mut event = json!({
            "metadata": {"name": "e", "namespace": "default"}, "regarding": {"namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c",
            "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal",
        });
        more.iter().for_each(|(name, value)| event[*name] = value.clone());
        event
    }

    #[test]
    fn an_event_of_the_core_group_lies_with_what_it_is_about() {
        let about = |own: &str, other: &str| {
            let event = json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": other}});
            causes(&CoreEvent.validate(&event))
        };
        assert_eq!(about("default", ""), [""; 0]);
        assert_eq!(about("a", "a"), [""; 0]);
        assert_eq!(about("a", ""), ["involvedObject.namespace Invalid"]);
        assert_eq!(about("a", "b"), ["involvedObject.namespace Invalid"]);
    }

    #[test]
    fn a_new_event_says_who_reports_and_nothing_of_old() {
        assert_eq!(causes(&Event.validate(&event(&[]))), [""; 0]);
        let old = [("deprecatedCount", 1.into()), ("deprecatedSource", json!({"host": "h"})), ("type", "Odd".into())];
        assert_eq!(causes(&Event.validate(&event(&old))), ["type Invalid", "count Invalid", "source Invalid"]);
        let series = [("series", json!({"count": 1})), ("action", "a".repeat(129).into())];
        let expected = ["action Invalid", "series.count Invalid", "series.lastObservedTime Required"];
        assert_eq!(causes(&Event.validate(&event(&series))), expected);
    }

    #[test]
    fn a_change_goes_on_with_the_series() {
        let goes_on = event(&[("series", json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}))]);
        assert_eq!(causes(&Event.validate_update(&goes_on, &event(&[]))), [""; 0]);
        let note = event(&[("note", "other".into())]);
        assert_eq!(causes(&Event.validate_update(&note, &event(&[]))), ["message Invalid"]);
    }
}
