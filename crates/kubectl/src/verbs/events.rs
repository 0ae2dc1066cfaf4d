//! `events`: what has happened, the oldest first; and what goes on happening.

use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Call, Matching, Watcher, members};
use crate::print::{Format, OUTPUT_FLAGS, TabWriter};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "events",
    about: "List events",
    usage: "[(-o|--output=)FORMAT] [--for TYPE/NAME] [--watch] [--types=Normal,Warning] [options]",
    flags: &[OUTPUT_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all-namespaces", "If present, list the requested object(s) across all namespaces.").short('A'),
    Flag::number("chunk-size", "500", "Return large lists in chunks rather than all at once. Pass 0 to disable."),
    Flag::text("for", "Filter events to only those pertaining to the specified resource."),
    Flag::switch("no-headers", "When using the default output format, don't print headers."),
    Flag::list("types", "Output only events of given types."),
    Flag::switch("watch", "After listing the requested events, watch for more events.").short('w'),
];

const CHUNK_SIZE: i64 = 500;

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let fields = match parsed.some("for") {
        Some(named) => fields_of(session, named).await?,
        None => String::new(),
    };
    let mut printer = Printer::new(&parsed)?;
    let types = parsed.list("types");
    let is_type = |text: &&String| ["normal", "warning"].contains(&text.to_lowercase().as_str());
    if !types.iter().all(|text| is_type(&text)) {
        return fail!("valid --types are Normal or Warning");
    }
    let all = parsed.on("all-namespaces");
    let namespace = if all { String::new() } else { session.namespace() };
    let mapping = session.catalog().await?.resource("events.v1.")?;
    let matching = Matching { mappings: vec![mapping.clone()], namespace, labels: String::new(), fields };
    if parsed.on("watch") {
        let call = matching.call(&mapping).query("limit", &CHUNK_SIZE.to_string());
        return watch(session, call, &types, &mut printer).await;
    }
    let pages = matching.pages(session.client()?, &mapping, CHUNK_SIZE, |call| call).await?;
    let mut events: Vec<Value> =
        pages.into_iter().flat_map(|page| members(&mapping, page)).map(|info| info.object).collect();
    events.retain(|event| is_wanted(event, &types));
    if events.is_empty() {
        let place = if all { String::new() } else { format!(" in {} namespace", session.namespace()) };
        session.streams.note(format!("No events found{place}."));
        return Ok(());
    }
    events.sort_by_key(time);
    let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": events});
    session.streams.print(printer.print(&list)?)
}

/// A field selector for events about `TYPE/NAME`.
async fn fields_of(session: &Session, named: &str) -> Result<String, Failure> {
    let Some((resource, name)) = named.split_once('/') else {
        return fail!("--for must be in resource/name form");
    };
    if name.contains('/') {
        return fail!("arguments in resource/name form may not have more than one slash");
    }
    let mapping = session.catalog().await?.resource_alone(&resource.to_lowercase())?;
    let (kind, version) = (&mapping.kind, mapping.api_version());
    Ok(format!("involvedObject.kind={kind},involvedObject.apiVersion={version},involvedObject.name={name}"))
}

async fn watch(session: &Session, call: Call, types: &[String], printer: &mut Printer) -> Result<(), Failure> {
    let mut watcher = Watcher::start(session.client()?, call).await?;
    // An end of the watch is an end of the command, whatever the reason.
    while let Ok(Some(event)) = watcher.next().await {
        if event.kind != "DELETED" && event.kind != "BOOKMARK" && is_wanted(&event.object, types) {
            session.streams.print(printer.print(&event.object)?)?;
        }
    }
    Ok(())
}

fn is_wanted(event: &Value, types: &[String]) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    types.is_empty() || types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
}

/// In nanoseconds; what has no time goes before all.
fn time(event: &Value) -> i128 {
    let candidates = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    let times = if event["series"].is_object() { &candidates[..1] } else { &candidates[1..] };
    let parsed = times.iter().find_map(|time| apimachinery::time::parse(time.as_str()?));
    parsed.map_or(i128::MIN, jiff::Timestamp::as_nanosecond)
}

struct Printer {
    format: Option<Format>,
    writer: TabWriter,
    headers: bool,
    with_namespace: bool,
}

impl Printer {
    fn new(parsed: &Parsed) -> Result<Self, Failure> {
        Ok(Self {
            format: Format::of_written(parsed)?,
            writer: TabWriter::table(),
            headers: !parsed.on("no-headers"),
            with_namespace: parsed.on("all-namespaces"),
        })
    }

    /// An event, or a list of them.
    fn print(&mut self, value: &Value) -> Result<String, Failure> {
        if let Some(format) = &mut self.format {
            // Upstream gives a list of events no name, nor its members.
            if matches!(format, Format::Name) && value["items"].is_array() {
                return Ok(String::new());
            }
            return format.render(value);
        }
        let mut lines = String::new();
        if std::mem::take(&mut self.headers) {
            lines.push_str(if self.with_namespace { "NAMESPACE\t" } else { "" });
            lines.push_str("LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n");
        }
        let now = jiff::Timestamp::now().as_second();
        crate::print::items(value).for_each(|event| lines.push_str(&self.line(event, now)));
        self.writer.write(&lines);
        Ok(self.writer.flush())
    }

    fn line(&self, event: &Value, now: i64) -> String {
        let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
        let mut cells = Vec::new();
        if self.with_namespace {
            cells.push(apimachinery::object::namespace(event).to_owned());
        }
        let involved = &event["involvedObject"];
        cells.extend([last_seen(event, now), text(&event["type"]), text(&event["reason"])]);
        cells.push(format!("{}/{}", text(&involved["kind"]), text(&involved["name"])));
        cells.push(escaped(event["message"].as_str().unwrap_or_default().trim()));
        cells.join("\t") + "\n"
    }
}

fn escaped(text: &str) -> String {
    text.replace('\u{1b}', "^[").replace('\r', "\\r")
}

/// How long ago, how often, and since when.
fn last_seen(event: &Value, now: i64) -> String {
    let since = |time: &Value| {
        let age = apimachinery::table::since(Some(time).filter(|time| !time.is_null()), now);
        age.as_str().unwrap_or_default().to_owned()
    };
    let first = if event["eventTime"].is_null() { &event["firstTimestamp"] } else { &event["eventTime"] };
    let (first, series) = (since(first), &event["series"]);
    let count = event["count"].as_i64().unwrap_or(0);
    if series.is_object() {
        let count = series["count"].as_i64().unwrap_or(0);
        format!("{} (x{count} over {first})", since(&series["lastObservedTime"]))
    } else if count > 1 {
        format!("{} (x{count} over {first})", since(&event["lastTimestamp"]))
    } else {
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_how_often_they_came() {
        let now = 1_000_000;
        let at = |seconds: i64| apimachinery::time::format(jiff::Timestamp::from_second(seconds).expect("a time"));
        let once = json!({"firstTimestamp": at(now - 30), "count": 1});
        assert_eq!(last_seen(&once, now), "30s");
        let often = json!({"firstTimestamp": at(now - 600), "lastTimestamp": at(now - 5), "count": 3});
        assert_eq!(last_seen(&often, now), "5s (x3 over 10m)");
        let series = json!({"eventTime": at(now - 600), "series": {"count": 4, "lastObservedTime": at(now - 7)}});
        assert_eq!(last_seen(&series, now), "7s (x4 over 10m)");
        assert_eq!(last_seen(&json!({}), now), "<unknown>");
        let mut events = [series, often, once, json!({})];
        events.sort_by_key(time);
        assert_eq!(
            events.map(|event| last_seen(&event, now)),
            ["30s", "<unknown>", "7s (x4 over 10m)", "5s (x3 over 10m)"]
        );
    }
}
