//! A stream of changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::Status;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use rand::Rng;
use registry::strategy::Resource;
use serde_json::{Value, json};
use store::{Event, Object, Prefix, Revision, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::body::{self, Body};
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::custom::convert;
use crate::encode::{self, Item, Table};
use crate::negotiate::{Format, Shape};
use crate::options::ListOptions;
use crate::serve::metrics::Sent;
use crate::server::Inner;
use crate::verbs::list::Filter;

/// Upstream's pause between bookmarks.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// Without a limit of its own a watch ends at random between half an hour and an hour.
const TIMEOUT_SECONDS_MIN: u64 = 1800;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Arc<Resource>) -> Result<Response<Body>, Status> {
    call.accept.check_stream()?;
    let options = ListOptions::of(call, true)?;
    let filter = Filter::new(resource, &options)?;
    let stream = open(server, call, resource, &options, filter).await?;
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let frame = stream.next().await?;
        Some((frame, stream))
    });
    let content_type = match call.accept.format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Format::Json | Format::Yaml => "application/json",
    };
    let mut response = Response::new(body::stream(frames));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

async fn open(
    server: &Arc<Inner>,
    call: &Call,
    resource: &Arc<Resource>,
    options: &ListOptions,
    filter: Filter,
) -> Result<Stream, Status> {
    let pinned = !call.info.name.is_empty() && (!resource.namespaced || !call.info.namespace.is_empty());
    let prefix = match pinned {
        true => Prefix::of_key(&resource.key(&call.info.namespace, &call.info.name)),
        false => resource.prefix(&call.info.namespace),
    };
    let version = options.version.unwrap_or(0);
    let initial = options.send_initial_events.unwrap_or(version == 0);
    if options.send_initial_events == Some(true) {
        super::get::check_reached(server, options.version)?;
    }
    let mut pending = VecDeque::new();
    let mut encoder = Encoder::new(call, resource);
    let from = if initial || version == 0 {
        let snapshot = server.store.snapshot();
        if initial {
            let matching = snapshot.range(&prefix, None).filter(|(_, object)| filter.matches(&object.header));
            let matching = matching.map(|(_, object)| object.clone()).collect();
            let items = filter.choose(server, resource, matching).await?;
            pending.extend(items.iter().map(|(_, item)| encoder.event("ADDED", item)));
        }
        if options.send_initial_events == Some(true) && options.bookmarks {
            pending.push_back(encoder.bookmark(snapshot.revision(), true));
        }
        snapshot.revision()
    } else {
        Revision(version)
    };
    let watcher = match server.store.watch(prefix, from) {
        Ok(watcher) => Some(watcher),
        Err(compacted) => {
            let (asked, oldest) = (compacted.requested, compacted.oldest);
            let status = Status::expired(format!("too old resource version: {asked} ({oldest})"));
            pending.push_back(encoder.frame("ERROR", &status.to_value()));
            None
        }
    };
    let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or_else(|| rand::rng().random_range(TIMEOUT_SECONDS_MIN..2 * TIMEOUT_SECONDS_MIN));
    Ok(Stream {
        watcher,
        from,
        filter,
        encoder,
        pending,
        deadline: Instant::now() + Duration::from_secs(seconds),
        bookmarks: options.bookmarks.then(bookmark_interval),
        stop: server.tasks.token(),
        catalogs: server.catalog.changes(),
        sent: server.metrics.watches.of(resource),
        server: server.clone(),
    })
}

fn bookmark_interval() -> Interval {
    let jitter = Duration::from_millis(rand::rng().random_range(0..5000));
    let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK_PERIOD - jitter, BOOKMARK_PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

struct Stream {
    /// Absent: the stream ends after what is pending.
    watcher: Option<Watcher>,
    from: Revision,
    filter: Filter,
    encoder: Encoder,
    pending: VecDeque<Bytes>,
    deadline: Instant,
    bookmarks: Option<Interval>,
    stop: rt::CancellationToken,
    server: Arc<Inner>,
    sent: Arc<Sent>,
    /// A custom resource may change its schema, or end.
    catalogs: watch::Receiver<()>,
}

/// What the client gets to see of an event.
struct Shown {
    kind: &'static str,
    object: Arc<Object>,
    /// The revision that the object is shown under, if it is not its own.
    at: Option<Revision>,
}

/// Everything that wakes a watch.
enum Wake {
    Event(Arc<Event>),
    Lagged,
    Catalog,
    Bookmark,
    End,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                self.sent.event(frame.len());
                return Some(frame);
            }
            match self.wake().await {
                Wake::Event(event) => self.take(&event).await,
                Wake::Lagged => {
                    self.watcher = None;
                    let status = Status::expired("The resourceVersion for the provided watch is too old.");
                    self.pending.push_back(self.encoder.frame("ERROR", &status.to_value()));
                }
                Wake::Catalog => self.take_catalog(),
                Wake::Bookmark => self.bookmark(),
                Wake::End => return None,
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let Some(watcher) = &mut self.watcher else { return Wake::End };
        let tick = async {
            match &mut self.bookmarks {
                Some(interval) => {
                    interval.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::End,
            () = tokio::time::sleep_until(self.deadline) => Wake::End,
            Ok(()) = self.catalogs.changed(), if self.encoder.resource.custom.is_some() => Wake::Catalog,
            event = watcher.next() => event.map_or(Wake::Lagged, Wake::Event),
            () = tick => Wake::Bookmark,
        }
    }

    /// Goes on under the newest schema; the stream of a resource that is served no longer ends.
    fn take_catalog(&mut self) {
        let old = &self.encoder.resource;
        match self.server.catalog.get().find(old.group, old.version, old.name) {
            Some(new) => self.encoder.resource = new.clone(),
            None => self.watcher = None,
        }
    }

    async fn take(&mut self, event: &Event) {
        if event.revision <= self.from {
            return;
        }
        match self.frame(event).await {
            Ok(frame) => self.pending.extend(frame),
            Err(status) => {
                self.watcher = None;
                self.pending.push_back(self.encoder.frame("ERROR", &status.to_value()));
            }
        }
    }

    async fn frame(&mut self, event: &Event) -> Result<Option<Bytes>, Status> {
        let (before, after) = (self.matches(event.old.as_ref()).await?, self.matches(event.new.as_ref()).await?);
        let Some(shown) = Stream::classify(event, before, after) else { return Ok(None) };
        let item = convert::one(&self.server, &self.encoder.resource, shown.object).await?;
        let item = match shown.at {
            Some(revision) => Item::Value(self.encoder.at_revision(&item, revision)),
            None => item,
        };
        Ok(Some(self.encoder.event(shown.kind, &item)))
    }

    async fn matches(&self, object: Option<&Arc<Object>>) -> Result<bool, Status> {
        let Some(object) = object.filter(|object| self.filter.matches(&object.header)) else { return Ok(false) };
        if !self.filter.reads_objects() {
            return Ok(true);
        }
        let chosen = self.filter.choose(&self.server, &self.encoder.resource, vec![object.clone()]).await?;
        Ok(!chosen.is_empty())
    }

    /// What the change is to somebody who sees only what the selectors choose, before it and after it.
    fn classify(event: &Event, before: bool, after: bool) -> Option<Shown> {
        let shown = |kind| Some(Shown { kind, object: event.object().clone(), at: None });
        match (before, after) {
            (false, false) => None,
            (false, true) => shown("ADDED"),
            (true, true) => shown("MODIFIED"),
            // It lives on, but out of sight: its last visible state is shown, under the revision of the change.
            (true, false) if !event.is_delete() => {
                let object = event.old.as_ref()?.clone();
                Some(Shown { kind: "DELETED", object, at: Some(event.revision) })
            }
            (true, false) => shown("DELETED"),
        }
    }

    fn bookmark(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Ok(Some(revision)) = watcher.current_revision() {
            let frame = self.encoder.bookmark(revision.max(self.from), false);
            self.pending.push_back(frame);
        }
    }
}

/// Turns changes into the client's shape.
struct Encoder {
    resource: Arc<Resource>,
    format: Format,
    shape: Shape,
    table: Table,
    columns_sent: bool,
}

impl Encoder {
    fn new(call: &Call, resource: &Arc<Resource>) -> Encoder {
        let (format, shape) = (call.accept.format, call.shape());
        Encoder { resource: resource.clone(), format, shape, table: Table::new(call), columns_sent: false }
    }

    fn at_revision(&self, item: &Item, revision: Revision) -> Value {
        let mut value = item.value(&self.resource);
        apimachinery::object::set_resource_version(&mut value, &revision.to_string());
        value
    }

    fn event(&mut self, kind: &str, item: &Item) -> Bytes {
        if self.shape != Shape::Object {
            return self.shaped(kind, item.value(&self.resource));
        }
        if self.format == Format::Protobuf {
            return encode::item_frame(kind, &self.resource, item).into();
        }
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(format!(r#"{{"type":"{kind}","object":"#).as_bytes());
        item.write(&self.resource, true, &mut out);
        out.extend_from_slice(b"}\n");
        out.into()
    }

    fn bookmark(&mut self, revision: Revision, end_of_initial: bool) -> Bytes {
        let value = encode::bookmark(&self.resource, revision.0, end_of_initial);
        match self.shape {
            Shape::Object => self.frame("BOOKMARK", &value),
            _ => self.shaped("BOOKMARK", value),
        }
    }

    fn shaped(&mut self, kind: &str, value: Value) -> Bytes {
        if self.shape != Shape::Table {
            return self.frame(kind, &encode::partial(&value));
        }
        let version = value.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        let metadata = json!({"resourceVersion": version});
        // A bookmark's row has nothing but its metadata.
        let table = match std::mem::replace(&mut self.columns_sent, true) {
            false => self.table.whole(&self.resource, &[value], metadata),
            true => self.table.rows(&self.resource, &[value], metadata),
        };
        self.frame(kind, &table)
    }

    fn frame(&self, kind: &str, object: &Value) -> Bytes {
        if self.format == Format::Protobuf {
            return encode::frame(kind, object).into();
        }
        let mut text = json!({"type": kind, "object": object}).to_string();
        text.push('\n');
        text.into()
    }
}
