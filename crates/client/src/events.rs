//! Events: what components tell users about objects.
//!
//! Recording never blocks and never fails its caller: events go through a bounded queue to a task that writes them. The same
//! event again within ten minutes raises the count of the first one.

use std::collections::HashMap;
use std::time::Duration;

use api::corev1::{Event, EventSource, ObjectReference};
use api::metav1::{MicroTime, ObjectMeta, Time};
use jiff::Timestamp;
use rt::TaskSet;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Api, Client, Error, Object, Patch};

/// Events that may wait. A storm beyond it is dropped and counted: events are best effort by contract.
const QUEUE_MAX: usize = 1000;
const AGGREGATION: Duration = Duration::from_mins(10);
const REMEMBERED_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A reference to an object, as events carry it.
pub fn reference<K: Object>(object: &K) -> ObjectReference {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    ObjectReference {
        api_version: Some(K::API_VERSION.into()),
        kind: Some(K::KIND.into()),
        namespace: text(object.namespace()),
        name: text(object.name()),
        uid: text(object.uid()),
        resource_version: text(object.resource_version()),
        field_path: None,
    }
}

struct Note {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
}

/// Tells users about objects. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Note>,
}

impl EventRecorder {
    /// Starts the task that writes. `component` and `host` are shown as the source.
    pub fn new(client: &Client, component: &str, host: &str, tasks: &TaskSet) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE_MAX);
        let writer = EventWriter {
            client: client.clone(),
            component: component.to_owned(),
            host: host.to_owned(),
            known: HashMap::new(),
        };
        tasks.spawn_until_cancelled("event recorder", writer.run(notes));
        Self { queue }
    }

    pub fn record(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let note = Note { about: about.clone(), kind, reason: reason.into(), message: message.into() };
        if self.queue.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: too many wait");
        }
    }

    pub fn normal(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(about, EventType::Normal, reason, message);
    }

    pub fn warning(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(about, EventType::Warning, reason, message);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Same {
    uid: String,
    name: String,
    kind: EventType,
    field_path: Option<String>,
    reason: String,
    message: String,
}

struct Written {
    name: String,
    count: i32,
    last: Instant,
}

struct EventWriter {
    client: Client,
    component: String,
    host: String,
    known: HashMap<Same, Written>,
}

impl EventWriter {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        while let Some(note) = notes.recv().await {
            if let Err(error) = self.write(note).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "event not written");
            }
        }
    }

    async fn write(&mut self, note: Note) -> Result<(), Error> {
        let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".into());
        let events = Api::<Event>::namespaced(&self.client, &namespace);
        let same = same(&note);
        self.forget_old();
        if let Some(written) = self.known.get_mut(&same) {
            written.count += 1;
            written.last = Instant::now();
            let patch = json!({"count": written.count, "lastTimestamp": Time(seconds(Timestamp::now()))});
            match events.patch(&written.name, &Patch::Merge(patch)).await {
                Err(error) if error.is_not_found() => drop(self.known.remove(&same)),
                result => return result.map(drop),
            }
        }
        let event = self.event(note, &namespace);
        let created = events.create(&event).await?;
        self.known.insert(same, Written { name: created.name().to_owned(), count: 1, last: Instant::now() });
        Ok(())
    }

    fn forget_old(&mut self) {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.retain(|_, written| written.last.elapsed() < AGGREGATION);
    }

    fn event(&self, note: Note, namespace: &str) -> Event {
        let now = Timestamp::now();
        let name = note.about.name.as_deref().unwrap_or_default();
        let host = (!self.host.is_empty()).then(|| self.host.clone());
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.about,
            type_: Some(note.kind.as_str().into()),
            reason: Some(note.reason),
            message: Some(note.message),
            count: Some(1),
            first_timestamp: Some(Time(seconds(now))),
            last_timestamp: Some(Time(seconds(now))),
            event_time: None::<MicroTime>,
            source: Some(EventSource { component: Some(self.component.clone()), host: host.clone() }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: host,
            ..Event::default()
        }
    }
}

fn same(note: &Note) -> Same {
    Same {
        uid: note.about.uid.clone().unwrap_or_default(),
        name: note.about.name.clone().unwrap_or_default(),
        kind: note.kind,
        field_path: note.about.field_path.clone(),
        reason: note.reason.clone(),
        message: note.message.clone(),
    }
}

fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
