//! Events and Events API: the life of events in both groups, which show the same objects.

use serde_json::{Value, json};

use super::api::{Api, CORE, names};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"of": "conformance"}}, "message": "This is a test event", "reason": "Test", "type": "Normal",
        "count": 1, "involvedObject": {"namespace": "default"},
    })
}

fn modern(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"of": "conformance"}}, "eventTime": "2026-01-02T03:04:05.678900Z", "note": "This is a test event",
        "reason": "Test", "action": "Do", "type": "Normal", "reportingController": "test.example.org/one", "reportingInstance": "one",
        "regarding": {"namespace": "default"},
    })
}

#[tokio::test]
async fn an_event_lives_and_is_found_among_all() {
    let api = Api::start("events-core").await;
    let events = format!("{CORE}/events");
    api.post(&events, &core("one")).await.ok();
    let listed = api.get("/api/v1/events?labelSelector=of%3Dconformance").await.ok();
    assert_eq!(names(&listed), ["one"]);
    let own = format!("{events}/one");
    let patch = json!({"message": "This is a test event - patched"});
    api.patch(&own, "strategic-merge-patch+json", &patch).await.ok();
    let mut got = api.get(&own).await.ok();
    assert_eq!(got["message"], "This is a test event - patched");
    got["series"] = json!({"count": 100, "lastObservedTime": "2026-01-02T03:04:05.000000Z"});
    assert_eq!(api.put(&own, &got).await.ok()["series"]["count"], 100);
    api.delete(&own).await.ok();
    let listed = api.get("/api/v1/events?labelSelector=of%3Dconformance").await.ok();
    assert!(names(&listed).is_empty());
    for name in ["a", "b", "c"] {
        api.post(&events, &core(name)).await.ok();
    }
    let selected = format!("{events}?labelSelector=of%3Dconformance");
    assert_eq!(names(&api.get(&selected).await.ok()), ["a", "b", "c"]);
    api.delete(&selected).await.ok();
    assert!(names(&api.get(&selected).await.ok()).is_empty());
}

#[tokio::test]
async fn an_event_of_the_newer_group_lives_and_is_the_same_in_the_older() {
    let api = Api::start("events-modern").await;
    api.post(EVENTS, &modern("one")).await.ok();
    let fields = "fieldSelector=reportingController%3Dtest.example.org%2Fone";
    assert_eq!(names(&api.get(&format!("{EVENTS}?{fields}")).await.ok()), ["one"]);
    assert_eq!(names(&api.get(&format!("/apis/events.k8s.io/v1/events?{fields}")).await.ok()), ["one"]);
    let own = format!("{EVENTS}/one");
    let got = api.get(&own).await.ok();
    assert_eq!(
        (&got["eventTime"], &got["note"]),
        (&json!("2026-01-02T03:04:05.678900Z"), &json!("This is a test event"))
    );
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000001Z"}});
    assert_eq!(api.patch(&own, "strategic-merge-patch+json", &series).await.ok()["series"], series["series"]);
    let mut updated = api.get(&own).await.ok();
    updated["series"] = json!({"count": 100, "lastObservedTime": "2026-01-02T03:06:05.000001Z"});
    assert_eq!(api.put(&own, &updated).await.ok()["series"]["count"], 100);
    let older = api.get(&format!("{CORE}/events/one")).await.ok();
    assert_eq!((&older["message"], &older["reportingComponent"]), (&got["note"], &json!("test.example.org/one")));
    api.delete(&own).await.ok();
    api.get(&own).await.refused(404, "events.events.k8s.io \"one\" not found");
    for name in ["a", "b", "c"] {
        api.post(EVENTS, &modern(name)).await.ok();
    }
    let selected = format!("{EVENTS}?labelSelector=of%3Dconformance");
    api.delete(&selected).await.ok();
    assert!(names(&api.get(&selected).await.ok()).is_empty());
}
