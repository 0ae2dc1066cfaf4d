//! Watchers: what each sees, from where it starts, and that all see the same order.

use futures::future::join_all;
use serde_json::json;

use super::api::{Api, CORE};

fn map(name: &str, label: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "labels": {"watch": label}}})
}

#[tokio::test]
async fn watches_with_selectors_see_what_is_made_changed_and_deleted() {
    let api = Api::start("watchers-selectors").await;
    let maps = format!("{CORE}/configmaps");
    let selected = |values: &str| format!("{maps}?labelSelector=watch%20in%20({values})");
    let mut of_a = api.watch(&selected("a")).await;
    let mut of_b = api.watch(&selected("b")).await;
    let mut of_both = api.watch(&selected("a,b")).await;
    api.post(&maps, &map("a", "a")).await.ok();
    api.merge(&format!("{maps}/a"), &json!({"data": {"mutation": "1"}})).await.ok();
    api.merge(&format!("{maps}/a"), &json!({"data": {"mutation": "2"}})).await.ok();
    api.delete(&format!("{maps}/a")).await.ok();
    api.post(&maps, &map("b", "b")).await.ok();
    api.delete(&format!("{maps}/b")).await.ok();
    assert_eq!(of_a.names(4).await, ["ADDED a", "MODIFIED a", "MODIFIED a", "DELETED a"]);
    assert_eq!(of_b.names(2).await, ["ADDED b", "DELETED b"]);
    let both = ["ADDED a", "MODIFIED a", "MODIFIED a", "DELETED a", "ADDED b", "DELETED b"];
    assert_eq!(of_both.names(6).await, both);
}

#[tokio::test]
async fn a_watch_starts_from_a_version_and_is_taken_up_where_another_ended() {
    let api = Api::start("watchers-resume").await;
    let maps = format!("{CORE}/configmaps");
    api.post(&maps, &map("one", "x")).await.ok();
    let first = api.merge(&format!("{maps}/one"), &json!({"data": {"mutation": "1"}})).await.ok();
    api.merge(&format!("{maps}/one"), &json!({"data": {"mutation": "2"}})).await.ok();
    api.delete(&format!("{maps}/one")).await.ok();
    let from = |version: &serde_json::Value| {
        format!("{maps}?labelSelector=watch%3Dx&resourceVersion={}", version.as_str().unwrap())
    };
    let mut watch = api.watch(&from(&first["metadata"]["resourceVersion"])).await;
    let (kind, seen) = watch.next().await;
    assert_eq!((kind.as_str(), &seen["data"]["mutation"]), ("MODIFIED", &json!("2")));
    drop(watch);
    let mut again = api.watch(&from(&seen["metadata"]["resourceVersion"])).await;
    let (kind, last) = again.next().await;
    assert_eq!((kind.as_str(), &last["data"]["mutation"]), ("DELETED", &json!("2")));
    assert_ne!(last["metadata"]["resourceVersion"], seen["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn what_leaves_a_selector_is_deleted_for_its_watcher_and_comes_back_as_new() {
    let api = Api::start("watchers-edge").await;
    let maps = format!("{CORE}/configmaps");
    let own = format!("{maps}/one");
    let mut watch = api.watch(&format!("{maps}?labelSelector=watch%3Din")).await;
    api.post(&maps, &map("one", "in")).await.ok();
    api.merge(&own, &json!({"data": {"mutation": "1"}})).await.ok();
    api.merge(&own, &json!({"metadata": {"labels": {"watch": "out"}}})).await.ok();
    api.merge(&own, &json!({"data": {"mutation": "2"}})).await.ok();
    api.merge(&own, &json!({"metadata": {"labels": {"watch": "in"}}})).await.ok();
    api.merge(&own, &json!({"data": {"mutation": "3"}})).await.ok();
    api.delete(&own).await.ok();
    let expected = ["ADDED one", "MODIFIED one", "DELETED one", "ADDED one", "MODIFIED one", "DELETED one"];
    assert_eq!(watch.names(6).await, expected);
}

#[tokio::test]
async fn concurrent_watches_see_the_same_order_wherever_they_start() {
    let api = Api::start("watchers-order").await;
    let maps = format!("{CORE}/configmaps");
    let start = api.get(&maps).await.ok()["metadata"]["resourceVersion"].clone();
    for round in 0..10 {
        let writes = (0..10).map(|index| write(&api, &maps, round, format!("m-{index}")));
        join_all(writes).await;
    }
    let seen = versions(&api, &maps, start.as_str().unwrap(), 100).await;
    let watches = (0..seen.len() - 1).step_by(9).map(|index| versions(&api, &maps, &seen[index], 99 - index));
    let starts = (0..seen.len() - 1).step_by(9);
    for (index, versions) in starts.zip(join_all(watches).await) {
        assert_eq!(versions, seen[index + 1..], "from {}", seen[index]);
    }
}

async fn write(api: &Api, maps: &str, round: u32, name: String) {
    let own = format!("{maps}/{name}");
    let answer = match round {
        0 => api.post(maps, &map(&name, "x")).await,
        9 => api.delete(&own).await,
        _ => api.merge(&own, &json!({"data": {"round": round.to_string()}})).await,
    };
    answer.ok();
}

/// The versions of as many events after this one.
async fn versions(api: &Api, maps: &str, from: &str, count: usize) -> Vec<String> {
    let mut watch = api.watch(&format!("{maps}?resourceVersion={from}")).await;
    let mut versions = Vec::new();
    while versions.len() < count {
        let (_, object) = watch.next().await;
        versions.push(object["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
    }
    versions
}
