//! What watchers and lists tell, against a model: no change is skipped, repeated, reordered or invented.
//!
//! Writers count in an annotation of each object under optimistic concurrency, so a gap shows without asking the store.
//! The plain watcher's record, once it agrees with the counts and with every answer that a writer got, is the history;
//! what every other watcher and list must have seen is computed from it.
//!
//! `HISTORY_WRITES` is how many writes each kind gets; with 1,800 the readers of one run are told more than 10⁵ events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiserver::{Body, Config, Server, Storage};
use auth::UserInfo;
use http::{Method, Request};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rt::TaskSet;
use serde_json::{Value, json};

use crate::{Answer, Bench, whole};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const KEYS: usize = 24;
const WRITERS: usize = 6;
/// The last object of a history: whoever sees its second state has seen everything.
const END: &str = "end";

/// A kind whose objects are written.
#[derive(Clone, Copy, Debug)]
struct Kind {
    collection: &'static str,
    spec: &'static str,
    protobuf: bool,
    /// Pods: what a field selector selects changes with the phase.
    phases: bool,
}

const KINDS: &[Kind] = &[
    Kind { collection: "/api/v1/namespaces/default/configmaps", spec: r#"{}"#, protobuf: true, phases: false },
    Kind {
        collection: "/api/v1/namespaces/default/pods",
        spec: r#"{"spec": {"containers": [{"name": "c", "image": "i"}]}}"#,
        protobuf: true,
        phases: true,
    },
    Kind {
        collection: "/apis/history.example.com/v1/namespaces/default/gadgets",
        spec: r#"{"apiVersion": "history.example.com/v1", "kind": "Gadget"}"#,
        protobuf: false,
        phases: false,
    },
];

fn writes() -> usize {
    std::env::var("HISTORY_WRITES").ok().and_then(|count| count.parse().ok()).unwrap_or(600)
}

/// What of an object is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    version: u64,
    count: u64,
    label: String,
    phase: String,
    ending: bool,
}

impl State {
    fn of(object: &Value) -> State {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
        State {
            version: text("/metadata/resourceVersion").parse().unwrap(),
            count: text("/metadata/annotations/count").parse().unwrap(),
            label: text("/metadata/labels/in"),
            phase: text("/status/phase"),
            ending: object.pointer("/metadata/deletionTimestamp").is_some(),
        }
    }
}

/// One event as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: String,
    name: String,
    state: State,
}

/// What a watcher asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Everything,
    /// `in=yes`
    Labelled,
    /// `status.phase=Running`
    Running,
}

impl Only {
    fn query(self) -> &'static str {
        match self {
            Only::Everything => "",
            Only::Labelled => "&labelSelector=in%3Dyes",
            Only::Running => "&fieldSelector=status.phase%3DRunning",
        }
    }

    fn matches(self, state: &State) -> bool {
        match self {
            Only::Everything => true,
            Only::Labelled => state.label == "yes",
            Only::Running => state.phase == "Running",
        }
    }
}

/// An open watch in any of the encodings.
struct Stream {
    body: Body,
    buffer: Vec<u8>,
    accept: &'static str,
}

impl Stream {
    async fn open(bench: &Bench, path: &str, accept: &'static str) -> Stream {
        let request = Request::get(path).header("accept", accept).body(whole("")).expect("a request");
        let response = bench.send(request, Some(&UserInfo::master("watcher"))).await;
        assert_eq!(response.status(), 200, "{path}");
        Stream { body: response.into_body(), buffer: Vec::new(), accept }
    }

    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            let frame = self.body.frame().await?.expect("a whole body");
            self.buffer.extend_from_slice(&frame.into_data().expect("data"));
        }
    }

    /// An event that has come whole.
    fn take(&mut self) -> Option<(String, Value)> {
        if self.accept == PROTOBUF {
            let length: [u8; 4] = self.buffer.get(..4)?.try_into().unwrap();
            let end = 4 + usize::try_from(u32::from_be_bytes(length)).unwrap();
            let frame: Vec<u8> = (self.buffer.len() >= end).then(|| self.buffer.drain(..end).collect())?;
            return Some(crate::encodings::event_of(&frame));
        }
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let mut event: Value = serde_json::from_slice(&line).expect("an event");
        let mut object = event["object"].take();
        if self.accept == TABLE && object["kind"] == "Table" {
            object = object["rows"][0]["object"].take();
        }
        Some((event["type"].as_str().expect("a type").to_string(), object))
    }
}

fn seen(kind: String, object: &Value) -> Seen {
    let name = object["metadata"]["name"].as_str().unwrap().to_string();
    Seen { kind, name, state: State::of(object) }
}

fn is_last(event: &Seen) -> bool {
    event.name == END && event.state.count == 1
}

/// Reads until the end of the history.
async fn read_all(mut stream: Stream) -> Vec<Seen> {
    let mut events = Vec::new();
    while let Some((kind, object)) = stream.event().await {
        if kind == "BOOKMARK" {
            continue;
        }
        assert_ne!(kind, "ERROR", "{object}");
        events.push(seen(kind, &object));
        if events.last().is_some_and(is_last) {
            return events;
        }
    }
    panic!("the watch ended before the history did, after {} events", events.len());
}

/// Disconnects now and then, and goes on after the last revision that it knows of.
async fn read_with_resumes(bench: &Bench, kind: Kind, only: Only, seed: u64) -> Vec<Seen> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut events, mut from): (Vec<Seen>, u64) = (Vec::new(), 1);
    loop {
        let path =
            format!("{}?watch=1&resourceVersion={from}&allowWatchBookmarks=true{}", kind.collection, only.query());
        let mut stream = Stream::open(bench, &path, "application/json").await;
        for _ in 0..rng.random_range(1..60) {
            let (kind, object) = stream.event().await.expect("an event");
            if kind == "BOOKMARK" {
                from = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                continue;
            }
            events.push(seen(kind, &object));
            let last = events.last().unwrap();
            from = last.state.version;
            if is_last(last) {
                return events;
            }
        }
    }
}

/// The initial events of a WatchList up to its bookmark, and what follows.
async fn read_watch_list(bench: &Bench, kind: Kind, only: Only) -> (u64, Vec<Seen>, Vec<Seen>) {
    let path = format!(
        "{}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true{}",
        kind.collection,
        only.query()
    );
    let mut stream = Stream::open(bench, &path, "application/json").await;
    let mut initial = Vec::new();
    loop {
        let (kind, object) = stream.event().await.expect("an event");
        if kind == "BOOKMARK" {
            assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
            let version = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            return (version, initial, read_all(stream).await);
        }
        initial.push(seen(kind, &object));
    }
}

/// A list in pages, taken while others write.
async fn read_pages(bench: &Bench, kind: Kind, only: Only) -> (u64, Vec<(String, State)>) {
    let (mut items, mut token, mut version) = (Vec::new(), String::new(), None);
    loop {
        let answer = bench.get(&format!("{}?limit=5&continue={token}{}", kind.collection, only.query())).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        let metadata = &answer.body["metadata"];
        let own: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert_eq!(*version.get_or_insert(own), own, "pages of one list are of one revision");
        for item in answer.body["items"].as_array().unwrap() {
            items.push((item["metadata"]["name"].as_str().unwrap().to_string(), State::of(item)));
        }
        token = metadata["continue"].as_str().unwrap_or_default().to_string();
        if token.is_empty() {
            return (own, items);
        }
        tokio::task::yield_now().await;
    }
}

/// What writers were told.
#[derive(Default)]
struct Told {
    states: Mutex<Vec<(String, State)>>,
    conflicts: AtomicUsize,
}

struct Writer<'a> {
    bench: &'a Bench,
    kind: Kind,
    told: &'a Told,
    rng: StdRng,
}

impl Writer<'_> {
    async fn run(mut self, count: usize) {
        for _ in 0..count {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let name = format!("k{:02}", self.rng.random_range(0..KEYS));
        let path = format!("{}/{name}", self.kind.collection);
        let current = self.bench.get(&path).await;
        if current.code == 404 {
            return self.create(&name).await;
        }
        match self.rng.random_range(0..40) {
            0..5 => self.remove(&path).await,
            5 => self.remove_some().await,
            6..20 => self.update(&path, current.body).await,
            _ => self.patch(&path, &current.body).await,
        }
    }

    fn label(&mut self) -> &'static str {
        if self.rng.random() { "yes" } else { "no" }
    }

    async fn create(&mut self, name: &str) {
        let mut object: Value = serde_json::from_str(self.kind.spec).unwrap();
        object["metadata"] = json!({"name": name, "annotations": {"count": "0"}, "labels": {"in": self.label(), "g": self.rng.random_range(0..8).to_string()}});
        if self.rng.random_range(0..4) == 0 {
            object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        }
        let made = self.bench.post(self.kind.collection, &object).await;
        self.note(&made);
    }

    /// The next state of an object, as it was read.
    fn next(&mut self, current: &Value) -> Value {
        let count: u64 = current["metadata"]["annotations"]["count"].as_str().unwrap().parse().unwrap();
        let mut metadata = json!({
            "resourceVersion": current["metadata"]["resourceVersion"],
            "annotations": {"count": (count + 1).to_string()},
            "labels": {"in": self.label()},
        });
        if current["metadata"].get("deletionTimestamp").is_some() {
            metadata["finalizers"] = json!(null);
        }
        metadata
    }

    async fn update(&mut self, path: &str, mut current: Value) {
        let next = self.next(&current);
        for (field, value) in next.as_object().unwrap() {
            match value {
                Value::Object(map) => {
                    map.iter().for_each(|(key, value)| current["metadata"][field][key] = value.clone())
                }
                _ => current["metadata"][field] = value.clone(),
            }
        }
        let written = self.bench.put(path, &current).await;
        self.note(&written);
    }

    async fn patch(&mut self, path: &str, current: &Value) {
        let mut patch = json!({"metadata": self.next(current)});
        let ends = patch["metadata"].get("finalizers").is_some();
        let path = if self.kind.phases && !ends && self.rng.random() {
            let phases = ["Pending", "Running", "Succeeded"];
            patch["status"] = json!({"phase": phases[self.rng.random_range(0..phases.len())]});
            format!("{path}/status")
        } else {
            path.to_string()
        };
        let written = self.bench.patch(&path, "merge", &patch).await;
        self.note(&written);
    }

    async fn remove(&mut self, path: &str) {
        let options = json!({"gracePeriodSeconds": 0});
        let removed = self.bench.admin(Method::DELETE, path, &options).await;
        assert!(matches!(removed.code, 200 | 202 | 404 | 409), "{} {}", removed.code, removed.body);
    }

    async fn remove_some(&mut self) {
        let group = self.rng.random_range(0..8);
        let path = format!("{}?labelSelector=g%3D{group}", self.kind.collection);
        let removed = self.bench.admin(Method::DELETE, &path, &json!({"gracePeriodSeconds": 0})).await;
        assert!(matches!(removed.code, 200 | 409), "{} {}", removed.code, removed.body);
    }

    fn note(&self, answer: &Answer) {
        match answer.code {
            200 | 201 => {
                let name = answer.body["metadata"]["name"].as_str().unwrap().to_string();
                self.told.states.lock().push((name, State::of(&answer.body)));
            }
            404 | 409 => _ = self.told.conflicts.fetch_add(1, Ordering::Relaxed),
            _ => panic!("{} {}", answer.code, answer.body),
        }
    }
}

/// Writes the last object of the history.
async fn write_end(bench: &Bench, kind: Kind) {
    let mut object: Value = serde_json::from_str(kind.spec).unwrap();
    object["metadata"] = json!({"name": END, "annotations": {"count": "0"}, "labels": {"in": "no"}});
    assert_eq!(bench.post(kind.collection, &object).await.code, 201);
    let sub = if kind.phases { "/status" } else { "" };
    let patch =
        json!({"metadata": {"annotations": {"count": "1"}, "labels": {"in": "yes"}}, "status": {"phase": "Running"}});
    let path = format!("{}/{END}{sub}", kind.collection);
    let written = bench.patch(&path, "merge", &patch).await;
    assert_eq!(written.code, 200, "{}", written.body);
}

/// A history that was found to be true.
struct History(Vec<Seen>);

impl History {
    /// Checks order and counts.
    fn check(events: Vec<Seen>) -> History {
        let mut alive: BTreeMap<&str, &State> = BTreeMap::new();
        let mut version = 0;
        for event in &events {
            assert!(event.state.version > version, "out of order: {event:?} after {version}");
            version = event.state.version;
            let before = alive.get(event.name.as_str()).copied();
            match (event.kind.as_str(), before) {
                ("ADDED", None) => assert_eq!(event.state.count, 0, "{event:?}"),
                ("MODIFIED", Some(before)) if event.state.ending && !before.ending => {
                    assert_eq!(event.state.count, before.count, "{event:?}")
                }
                ("MODIFIED", Some(before)) => assert_eq!(event.state.count, before.count + 1, "{event:?}"),
                ("DELETED", Some(before)) => {
                    let step = event.state.count - before.count;
                    assert!(step == 0 || (step == 1 && before.ending), "{event:?} after {before:?}");
                }
                _ => panic!("{event:?} after {before:?}"),
            }
            match event.kind.as_str() {
                "DELETED" => alive.remove(event.name.as_str()),
                _ => alive.insert(&event.name, &event.state),
            };
        }
        History(events)
    }

    /// Every answer that a writer got is in the history: what was acknowledged was told to watchers.
    fn check_told(&self, told: &Told) {
        let events: BTreeMap<u64, &Seen> = self.0.iter().map(|event| (event.state.version, event)).collect();
        for (name, state) in told.states.lock().iter() {
            let event = events.get(&state.version).unwrap_or_else(|| panic!("nobody was told of {name} {state:?}"));
            assert_eq!(&event.name, name);
            // What ends with its last finalizer is answered as it was written.
            assert_eq!(State { ending: event.state.ending, ..state.clone() }, event.state, "{name}");
        }
    }

    fn at(&self, version: u64, only: Only) -> BTreeMap<String, State> {
        let mut alive = BTreeMap::new();
        for event in self.0.iter().take_while(|event| event.state.version <= version) {
            match event.kind.as_str() {
                "DELETED" => _ = alive.remove(&event.name),
                _ => _ = alive.insert(event.name.clone(), event.state.clone()),
            }
        }
        alive.retain(|_, state| only.matches(state));
        alive
    }

    /// What a watcher of a selection is told after a revision.
    fn after(&self, version: u64, only: Only) -> Vec<Seen> {
        let mut alive: BTreeMap<String, State> = BTreeMap::new();
        let mut told = Vec::new();
        for event in &self.0 {
            let before = alive.get(&event.name).cloned();
            let was = before.as_ref().is_some_and(|state| only.matches(state));
            let is = event.kind != "DELETED" && only.matches(&event.state);
            let kind = match (was, is) {
                (false, true) => Some("ADDED"),
                (true, true) => Some("MODIFIED"),
                (true, false) => Some("DELETED"),
                (false, false) => None,
            };
            if let Some(kind) = kind.filter(|_| event.state.version > version) {
                // Who leaves a selection is shown as he was in it, under the revision that took him out.
                let state = match (kind, event.kind.as_str()) {
                    ("DELETED", "MODIFIED") => State { version: event.state.version, ..before.unwrap() },
                    _ => event.state.clone(),
                };
                told.push(Seen { kind: kind.to_string(), name: event.name.clone(), state });
            }
            match event.kind.as_str() {
                "DELETED" => _ = alive.remove(&event.name),
                _ => _ = alive.insert(event.name.clone(), event.state.clone()),
            }
        }
        told
    }

    fn check_watch(&self, version: u64, only: Only, mut events: Vec<Seen>, accept: &str) -> usize {
        let mut wanted = self.after(version, only);
        if matches!(accept, TABLE | METADATA) {
            // Only metadata is told.
            wanted.iter_mut().chain(&mut events).for_each(|event| event.state.phase.clear());
        }
        for (index, (seen, wanted)) in events.iter().zip(&wanted).enumerate() {
            assert_eq!(seen, wanted, "event {index} of {only:?} after {version} as {accept}");
        }
        assert_eq!(events.len(), wanted.len(), "{only:?} after {version} as {accept}");
        events.len()
    }
}

async fn define_gadgets(bench: &Bench) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": "gadgets.history.example.com"},
        "spec": {
            "group": "history.example.com", "scope": "Namespaced", "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    assert_eq!(bench.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await.code, 201);
    crate::established(bench, "gadgets.history.example.com").await;
}

/// Starts the writers of a kind; they end with the history.
fn spawn_writers(
    tasks: &TaskSet,
    bench: &Arc<Bench>,
    kind: Kind,
    told: &Arc<Told>,
    seed: u64,
) -> futures::future::BoxFuture<'static, ()> {
    let mut ends = Vec::new();
    for writer in 0..WRITERS {
        let (bench, told, (done, end)) = (bench.clone(), told.clone(), tokio::sync::oneshot::channel());
        tasks.spawn("writer", async move {
            let rng = StdRng::seed_from_u64(seed + writer as u64);
            Writer { bench: &bench, kind, told: &told, rng }.run(writes() / WRITERS).await;
            _ = done.send(());
        });
        ends.push(end);
    }
    Box::pin(async move {
        for end in ends {
            end.await.expect("a writer ends well");
        }
    })
}

/// Runs a reader beside the writers.
fn spawn<T: Send + 'static>(
    tasks: &TaskSet,
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::sync::oneshot::Receiver<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    tasks.spawn("reader", async move { _ = done.send(work.await) });
    result
}

/// One kind under writers and all sorts of readers; how many events were checked.
async fn history_of(bench: Arc<Bench>, kind: Kind, seed: u64) -> usize {
    let tasks = TaskSet::new();
    let begin: u64 =
        bench.get(kind.collection).await.body["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let selections: &[Only] = if kind.phases {
        &[Only::Everything, Only::Labelled, Only::Running]
    } else {
        &[Only::Everything, Only::Labelled]
    };
    let mut encodings = vec!["application/json", TABLE, METADATA];
    if kind.protobuf {
        encodings.push(PROTOBUF);
    }
    let mut plain = Vec::new();
    for &only in selections {
        for &accept in &encodings {
            let path = format!("{}?watch=1&resourceVersion={begin}{}", kind.collection, only.query());
            let stream = Stream::open(&bench, &path, accept).await;
            plain.push((only, accept, spawn(&tasks, read_all(stream))));
        }
    }
    let mut resumed = Vec::new();
    for &only in selections {
        let bench = bench.clone();
        resumed.push((only, spawn(&tasks, async move { read_with_resumes(&bench, kind, only, seed).await })));
    }
    let told = Arc::new(Told::default());
    let mut writers = spawn_writers(&tasks, &bench, kind, &told, seed);
    let (mut lists, mut pages) = (Vec::new(), Vec::new());
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let only = selections[rng.random_range(0..selections.len())];
        tokio::select! {
            biased;
            () = &mut writers => break,
            page = read_pages(&bench, kind, only) => pages.push((only, page)),
        }
        if pages.len() % 10 == 1 && lists.len() < 6 {
            let bench = bench.clone();
            lists.push((only, spawn(&tasks, async move { read_watch_list(&bench, kind, only).await })));
        }
    }
    write_end(&bench, kind).await;

    let mut records = Vec::new();
    for (only, accept, record) in plain {
        records.push((only, accept, record.await.expect("a watcher ends well")));
    }
    let history = History::check(records.remove(0).2);
    history.check_told(&told);
    let mut checked = history.0.len();
    for (only, accept, record) in records {
        checked += history.check_watch(begin, only, record, accept);
    }
    for (only, record) in resumed {
        checked += history.check_watch(begin, only, record.await.expect("a watcher ends well"), "application/json");
    }
    for (only, record) in lists {
        let (version, initial, after) = record.await.expect("a watcher ends well");
        let initial: BTreeMap<_, _> = initial.into_iter().map(|event| (event.name, event.state)).collect();
        assert_eq!(initial, history.at(version, only), "initial events at {version}");
        checked += history.check_watch(version, only, after, "application/json");
    }
    for (only, (version, items)) in &pages {
        let names: BTreeSet<_> = items.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), items.len(), "an object is in one page only");
        let items: BTreeMap<_, _> = items.iter().cloned().collect();
        assert_eq!(items, history.at(*version, *only), "{only:?} at {version}");
    }
    checked += check_past(&bench, kind, &history, selections, &mut rng).await;
    let conflicts = told.conflicts.load(Ordering::Relaxed);
    println!("{}: {} changes, {conflicts} conflicts, {} lists", kind.collection, history.0.len(), pages.len());
    checked
}

/// Lists and watches of past revisions are what they were, or gone with 410.
async fn check_past(bench: &Bench, kind: Kind, history: &History, selections: &[Only], rng: &mut StdRng) -> usize {
    let mut checked = 0;
    for _ in 0..20 {
        let version = history.0[rng.random_range(0..history.0.len() - 1)].state.version;
        let only = selections[rng.random_range(0..selections.len())];
        let exact = format!("{}?resourceVersion={version}&resourceVersionMatch=Exact{}", kind.collection, only.query());
        let answer = bench.get(&exact).await;
        if answer.code == 410 {
            assert_eq!(answer.body["reason"], "Expired");
        } else {
            let items = answer.body["items"].as_array().unwrap();
            let items: BTreeMap<_, _> = items
                .iter()
                .map(|item| (item["metadata"]["name"].as_str().unwrap().to_string(), State::of(item)))
                .collect();
            assert_eq!(items, history.at(version, only), "{only:?} at {version}");
        }
        let path = format!("{}?watch=1&resourceVersion={version}{}", kind.collection, only.query());
        let mut stream = Stream::open(bench, &path, "application/json").await;
        let (first, object) = stream.event().await.expect("an event");
        if first == "ERROR" {
            assert_eq!((&object["code"], &object["reason"]), (&json!(410), &json!("Expired")));
            assert!(stream.event().await.is_none());
            continue;
        }
        let mut events = vec![seen(first, &object)];
        if !is_last(&events[0]) {
            events.extend(read_all(stream).await);
        }
        checked += history.check_watch(version, only, events, "application/json");
    }
    checked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_and_list_agrees_with_one_history() {
    let bench = Arc::new(Bench::new().await);
    define_gadgets(&bench).await;
    let kinds = KINDS.iter().zip([7, 8, 9]).map(|(kind, seed)| history_of(bench.clone(), *kind, seed));
    let checked: usize = futures::future::join_all(kinds).await.into_iter().sum();
    println!("{checked} events checked");
    assert!(checked > writes() * 6, "the readers saw {checked} events only");
}

/// A store that forgets soon.
fn forgetful() -> Config {
    let options = store::Options { history_events_max: 100, snapshots_max: 20, ..store::Options::default() };
    let store = store::Store::open(Box::new(store::engine::Memory::new()), &apiserver::indexer(), options).unwrap();
    Config { storage: Storage::Opened(store), ..Config::default() }
}

#[tokio::test]
async fn what_is_compacted_is_gone_for_watches_and_lists_and_says_so() {
    let bench = Bench::with(forgetful()).await;
    let kind = KINDS[0];
    let first = bench.post(kind.collection, &json!({"metadata": {"name": "first"}})).await.body;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    let page = bench.get("/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=2").await.body;
    for index in 0..150 {
        bench.patch(&format!("{}/first", kind.collection), "merge", &json!({"data": {"n": index.to_string()}})).await;
    }
    let path = format!("{}?watch=1&resourceVersion={version}", kind.collection);
    let (event, object) = Stream::open(&bench, &path, "application/json").await.event().await.unwrap();
    assert_eq!((event.as_str(), &object["code"], &object["reason"]), ("ERROR", &json!(410), &json!("Expired")));
    let exact = format!("{}?resourceVersion={version}&resourceVersionMatch=Exact", kind.collection);
    assert_eq!(bench.get(&exact).await.code, 410);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let expired = bench.get(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=2&continue={token}")).await;
    assert_eq!((expired.code, &expired.body["reason"]), (410, &json!("Expired")));
    let anew = expired.body["metadata"]["continue"].as_str().expect("a token to go on inconsistently");
    assert_eq!(
        bench.get(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=2&continue={anew}")).await.code,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_goes_on_across_a_restart_as_if_nothing_had_happened() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { storage: Storage::File(directory.path().join("state.redb")), ..Config::default() };
    let kind = KINDS[0];
    let (mut events, mut from, told) = (Vec::new(), 1, Arc::new(Told::default()));
    for life in 0..4 {
        let (tasks, of_server) = (TaskSet::new(), TaskSet::new());
        let server = Server::start(config.clone(), &of_server).await.expect("the store opens again");
        let bench = Arc::new(Bench { server, _tasks: TaskSet::new() });
        let path = format!("{}?watch=1&resourceVersion={from}", kind.collection);
        let mut stream = Stream::open(&bench, &path, "application/json").await;
        let mut writers = spawn_writers(&tasks, &bench, kind, &told, 100 + life);
        loop {
            // The first lives end with changes that the watcher has not read.
            tokio::select! {
                biased;
                () = &mut writers => break,
                event = stream.event() => {
                    let (event, object) = event.expect("an event");
                    events.push(seen(event, &object));
                    from = events.last().map_or(from, |event: &Seen| event.state.version);
                }
            }
        }
        if life == 3 {
            write_end(&bench, kind).await;
            events.extend(read_all(stream).await);
        }
        tasks.join().await;
        drop(bench);
        of_server.shutdown().await;
    }
    History::check(events).check_told(&told);
}
