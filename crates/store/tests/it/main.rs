//! One suite for the store, run on every engine.

mod suite;

use std::sync::Arc;

use serde_json::{Value, json};
use store::engine::{Engine, Memory, Redb};
use store::{Draft, Header, Indexer, Key, Options, Store};

/// Something a store can be opened on again and again.
trait Disk {
    fn engine(&self) -> Box<dyn Engine>;
}

impl Disk for Memory {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(self.clone())
    }
}

struct File(tempfile::TempDir);

impl Disk for File {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(Redb::open(self.0.path().join("state.db")).expect("the file opens"))
    }
}

fn file() -> File {
    File(tempfile::tempdir().expect("a directory can be made"))
}

struct Names;

impl Indexer for Names {
    fn header(&self, key: &Key, _value: &Value) -> Header {
        Header { namespace: key.namespace().into(), name: key.name().into(), ..Header::default() }
    }
}

fn open(disk: &dyn Disk, options: Options) -> Arc<Store> {
    let indexer: Arc<dyn Indexer> = Arc::new(Names);
    Store::open(disk.engine(), &indexer, options).expect("the store opens")
}

fn key(name: &str) -> Key {
    Key::new("", "pods", "default", name)
}

fn draft(name: &str, data: &str) -> Draft {
    let value = json!({"metadata": {"name": name}, "data": data});
    Draft::new(&value, Names.header(&key(name), &value))
}

macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $test() { crate::suite::$test(&store::engine::Memory::new()).await })* }
        mod redb { $(#[tokio::test] async fn $test() { crate::suite::$test(&crate::file()).await })* }
    };
}

on_every_engine!(
    revisions_count_commits,
    a_create_finds_the_existing_object,
    an_update_needs_the_revision_it_read,
    a_delete_shows_the_last_state_under_its_own_revision,
    companions_are_written_with_their_object_or_not_at_all,
    a_watch_sees_each_commit_once_in_order,
    a_watch_goes_on_after_a_restart,
    a_watch_from_before_the_history_is_refused,
    a_slow_watcher_is_ended,
    a_list_can_be_read_at_a_past_revision,
    a_restart_finds_the_same_state,
    concurrent_updates_lose_nothing,
    a_closed_store_takes_no_writes_and_frees_its_file,
);

#[tokio::test]
async fn a_failed_commit_leaves_nothing_behind() {
    let disk = Memory::new();
    let store = open(&disk, Options::default());
    disk.fail_next_commit();
    let error = store.create(key("a"), draft("a", "1")).await.expect_err("the disk is full");
    assert!(error.to_string().contains("could not be made durable"), "{error}");
    assert!(store.get(&key("a")).is_none());
    let object = store.create(key("a"), draft("a", "1")).await.expect("there is room again");
    assert_eq!(object.revision.0, 1);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let disk = file();
    open(&disk, Options::default()).create(key("a"), draft("a", "precious")).await.expect("written");
    let path = disk.0.path().join("state.db");
    let mut bytes = std::fs::read(&path).expect("read the file");
    let text = b"precious";
    let places: Vec<_> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!places.is_empty(), "the object stands in the file");
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).expect("write the file");
    let indexer: Arc<dyn Indexer> = Arc::new(Names);
    let opened = Redb::open(&path).map(|engine| Store::open(Box::new(engine), &indexer, Options::default()).is_ok());
    assert!(!matches!(opened, Ok(true)), "damage is never served");
}
