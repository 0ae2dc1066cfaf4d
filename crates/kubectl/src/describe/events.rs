//! What happened to an object.

use serde_json::Value;

use super::page::{Page, number, text};

/// The oldest first.
pub fn describe(mut events: Vec<Value>, page: &mut Page) {
    if events.is_empty() {
        return page.field(0, "Events", "<none>");
    }
    page.flush();
    let last = |event: &Value| apimachinery::time::seconds(&event["lastTimestamp"]).unwrap_or(i64::MIN);
    events.sort_by_key(last);
    page.line(0, "Events:");
    page.line(1, "Type\tReason\tAge\tFrom\tMessage");
    page.line(1, "----\t------\t----\t----\t-------");
    for event in &events {
        let source = [&event["source"]["component"], &event["reportingComponent"]];
        let source = source.into_iter().map(text).find(|source| !source.is_empty()).unwrap_or_default();
        let mut message = text(&event["message"]).trim().to_owned();
        let path = text(&event["involvedObject"]["fieldPath"]);
        if !path.is_empty() {
            message = format!("{path}: {message}");
        }
        let (kind, reason, age) = (text(&event["type"]), text(&event["reason"]), age(event, page));
        page.line(1, format!("{kind}\t{reason}\t{age}\t{source}\t{message}"));
    }
}

fn age(event: &Value, page: &Page) -> String {
    let first = if event["eventTime"].is_null() { &event["firstTimestamp"] } else { &event["eventTime"] };
    let first = page.since(first);
    let (series, count) = (&event["series"], number(&event["count"]));
    if !series.is_null() {
        let (last, count) = (page.since(&series["lastObservedTime"]), number(&series["count"]));
        format!("{last} (x{count} over {first})")
    } else if count > 1 {
        format!("{} (x{count} over {first})", page.since(&event["lastTimestamp"]))
    } else {
        first
    }
}
