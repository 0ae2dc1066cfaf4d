//! What every engine must do.

use std::sync::Arc;

use store::{Companion, Key, Options, Revision, Step, Store, WriteError};

use crate::{Disk, draft, key, open};

fn data(object: &store::Object) -> String {
    object.value()["data"].as_str().unwrap_or_default().to_owned()
}

async fn put(store: &Store, name: &str, text: &str) -> Arc<store::Object> {
    let decide = |_: Option<&Arc<store::Object>>| Ok::<_, ()>(Step::Put(draft(name, text)));
    store.guaranteed_update(&key(name), decide).await.expect("written").expect("changed")
}

pub async fn revisions_count_commits(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    assert_eq!(store.revision(), Revision(0));
    let first = store.create(key("a"), draft("a", "1")).await.expect("created");
    let second = store.create(key("b"), draft("b", "1")).await.expect("created");
    assert_eq!((first.revision, second.revision), (Revision(1), Revision(2)));
    assert_eq!(second.value()["metadata"]["resourceVersion"], "2");
    assert_eq!(store.revision(), Revision(2));
}

pub async fn a_create_finds_the_existing_object(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    store.create(key("a"), draft("a", "1")).await.expect("created");
    let error = store.create(key("a"), draft("a", "2")).await.expect_err("it is there");
    assert!(matches!(error, WriteError::AlreadyExists(object) if data(&object) == "1"));
}

pub async fn an_update_needs_the_revision_it_read(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    let first = store.create(key("a"), draft("a", "1")).await.expect("created");
    store.update(key("a"), first.revision, draft("a", "2")).await.expect("updated");
    let error = store.update(key("a"), first.revision, draft("a", "3")).await.expect_err("it moved on");
    assert!(matches!(error, WriteError::Conflict { current: Some(object) } if data(&object) == "2"));
    let error = store.delete(key("a"), first.revision, None).await.expect_err("it moved on");
    assert!(matches!(error, WriteError::Conflict { .. }));
    let error = store.update(key("b"), Revision(1), draft("b", "3")).await.expect_err("it is not there");
    assert!(matches!(error, WriteError::Conflict { current: None }));
}

pub async fn a_delete_shows_the_last_state_under_its_own_revision(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    let first = store.create(key("a"), draft("a", "1")).await.expect("created");
    let mut watcher = store.watch(Key::prefix("", "pods", None), first.revision).expect("in reach");
    let last = store.delete(key("a"), first.revision, Some(draft("a", "last"))).await.expect("deleted");
    assert_eq!((last.revision, data(&last)), (Revision(2), "last".to_owned()));
    let event = watcher.next().await.expect("not lagging");
    assert!(event.is_delete() && store.get(&key("a")).is_none());
    assert_eq!(data(event.old.as_ref().expect("there was one")), "1");
    assert_eq!(event.object().value()["metadata"]["resourceVersion"], "2");
}

pub async fn companions_are_written_with_their_object_or_not_at_all(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    let with = |name: &str| vec![Companion::Create(key(name), draft(name, "c"))];
    let first = store.create_with(key("a"), draft("a", "1"), with("c")).await.expect("created");
    assert_eq!((first.revision, store.get(&key("c")).map(|it| it.revision)), (Revision(2), Some(Revision(1))));
    let error = store.create_with(key("b"), draft("b", "1"), with("c")).await.expect_err("c is there");
    assert!(matches!(error, WriteError::CompanionExists(taken) if taken == key("c")));
    let error = store.create_with(key("a"), draft("a", "1"), with("d")).await.expect_err("a is there");
    assert!(matches!(error, WriteError::AlreadyExists(_)));
    assert!(store.get(&key("b")).is_none() && store.get(&key("d")).is_none());
    let gone = vec![Companion::Remove(key("c")), Companion::Remove(key("never"))];
    store.delete_with(key("a"), first.revision, None, gone).await.expect("deleted");
    drop(store);
    let store = open(disk, Options::default());
    assert!(store.snapshot().is_empty());
    assert_eq!(store.revision(), Revision(4));
}

pub async fn a_watch_sees_each_commit_once_in_order(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    let mut watcher = store.watch(Key::prefix("", "pods", Some("default")), Revision(0)).expect("in reach");
    for count in 0..600 {
        put(&store, &format!("p{}", count % 7), &count.to_string()).await;
        let other = Key::new("", "pods", "other", &format!("p{count}"));
        store.create(other, draft("x", "not watched")).await.expect("created");
    }
    for count in 0..600 {
        assert_eq!(data(watcher.next().await.expect("not lagging").object()), count.to_string());
    }
    assert!(watcher.try_next().expect("not lagging").is_none());
    assert_eq!(watcher.current_revision().expect("not lagging"), Some(store.revision()));
}

pub async fn a_watch_goes_on_after_a_restart(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    let second = put(&store, "b", "1").await;
    store.delete(key("b"), second.revision, None).await.expect("deleted");
    drop(store);
    let store = open(disk, Options::default());
    let mut watcher = store.watch(Key::prefix("", "pods", None), Revision(1)).expect("in reach");
    let event = watcher.next().await.expect("not lagging");
    assert_eq!(data(event.old.as_ref().expect("the state before is known")), "1");
    assert_eq!(data(event.object()), "2");
    assert_eq!(watcher.next().await.expect("not lagging").revision, Revision(3));
    assert!(watcher.next().await.expect("not lagging").is_delete());
    put(&store, "c", "1").await;
    assert_eq!(watcher.next().await.expect("not lagging").revision, Revision(5));
}

pub async fn a_watch_from_before_the_history_is_refused(disk: &dyn Disk) {
    let options = Options { history_events_max: 4, ..Options::default() };
    let store = open(disk, options);
    for count in 0..10 {
        put(&store, "a", &count.to_string()).await;
    }
    let range = Key::prefix("", "pods", None);
    let error = store.watch(range.clone(), Revision(5)).err().expect("compacted");
    assert_eq!((error.requested, error.oldest), (Revision(5), Revision(6)));
    assert!(store.watch(range.clone(), Revision(6)).is_ok());
    drop(store);
    let store = open(disk, options);
    assert!(store.watch(range.clone(), Revision(5)).is_err(), "nor after a restart");
    assert!(store.watch(range, Revision(6)).is_ok());
}

pub async fn a_slow_watcher_is_ended(disk: &dyn Disk) {
    let store = open(disk, Options { history_events_max: 4, ..Options::default() });
    let mut watcher = store.watch(Key::prefix("", "pods", None), Revision(0)).expect("in reach");
    for count in 0..10 {
        put(&store, "a", &count.to_string()).await;
    }
    assert!(watcher.next().await.is_err());
}

pub async fn a_list_can_be_read_at_a_past_revision(disk: &dyn Disk) {
    let store = open(disk, Options { snapshots_max: 5, ..Options::default() });
    for name in ["a", "b", "c", "d", "e", "f"] {
        put(&store, name, "1").await;
    }
    let range = Key::prefix("", "pods", None);
    let past = store.snapshot_at(Revision(3)).expect("kept");
    let names: Vec<_> = past.range(&range, Some(&key("a"))).map(|(key, _)| key.name().to_owned()).collect();
    assert_eq!((past.revision(), names), (Revision(3), vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(store.snapshot_at(Revision(1)).expect_err("forgotten").oldest, Revision(2));
}

pub async fn a_restart_finds_the_same_state(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    for count in 0..50 {
        put(&store, &format!("p{}", count % 9), &count.to_string()).await;
    }
    let gone = store.get(&key("p3")).expect("there");
    store.delete(key("p3"), gone.revision, None).await.expect("deleted");
    let text = |store: &Store| -> Vec<_> {
        store.snapshot().range(&Key::prefix("", "pods", None), None).map(|(_, object)| object.json()).collect()
    };
    let before = (store.revision(), text(&store));
    drop(store);
    let store = open(disk, Options::default());
    assert_eq!((store.revision(), text(&store)), before);
    assert_eq!(put(&store, "new", "1").await.revision, Revision(before.0.0 + 1));
}

pub async fn concurrent_updates_lose_nothing(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    put(&store, "counter", "0").await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            async move {
                for _ in 0..25 {
                    let add = |object: Option<&Arc<store::Object>>| {
                        let count: u32 = data(object.expect("there")).parse().expect("a number");
                        Ok::<_, ()>(Step::Put(draft("counter", &(count + 1).to_string())))
                    };
                    store.guaranteed_update(&key("counter"), add).await.expect("written");
                }
            }
        })
        .collect();
    let mut set = tokio::task::JoinSet::new();
    tasks.into_iter().for_each(|task| drop(set.spawn(task)));
    set.join_all().await;
    assert_eq!(data(&store.get(&key("counter")).expect("there")), "200");
}

pub async fn a_closed_store_takes_no_writes_and_frees_its_file(disk: &dyn Disk) {
    let store = open(disk, Options::default());
    store.create(key("a"), draft("a", "1")).await.expect("created");
    store.close();
    let error = store.create(key("b"), draft("b", "1")).await.expect_err("it is closed");
    assert!(matches!(error, WriteError::Stopped), "{error}");
    assert!(store.get(&key("a")).is_some(), "what was read stays");
    let next = open(disk, Options::default());
    assert_eq!(next.revision(), store.revision());
}
