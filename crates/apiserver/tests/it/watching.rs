use auth::UserInfo;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use apiserver::Body;

use crate::{Bench, whole};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The events of a watch as they come.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    async fn open(bench: &Bench, query: &str) -> Watch {
        Watch::at(bench, &format!("{MAPS}?watch=1&{query}")).await
    }

    pub async fn at(bench: &Bench, path: &str) -> Watch {
        let request = Request::get(path).body(whole("")).expect("a request");
        let response = bench.send(request, Some(&UserInfo::master("admin"))).await;
        assert_eq!(response.status(), 200);
        Watch { body: response.into_body(), buffer: Vec::new() }
    }

    /// Type and object of the next event; none at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).expect("an event");
                return Some((event["type"].as_str().expect("a type").to_string(), event["object"].take()));
            }
            let frame = self.body.frame().await?.expect("a whole body");
            self.buffer.extend_from_slice(&frame.into_data().expect("data"));
        }
    }
}

#[tokio::test]
async fn a_selectors_edge_is_an_arrival_and_a_departure() {
    let bench = Bench::new().await;
    let mut watch =
        Watch::open(&bench, "labelSelector=s%3Din&sendInitialEvents=false&resourceVersionMatch=NotOlderThan").await;
    bench.post(MAPS, &json!({"metadata": {"name": "a", "labels": {"s": "out"}}})).await;
    let relabel = async |label: &str| {
        bench.patch(&format!("{MAPS}/a"), "merge", &json!({"metadata": {"labels": {"s": label}}})).await.body
    };
    relabel("in").await;
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["labels"]["s"]), ("ADDED", &json!("in")));
    let gone = relabel("out").await;
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["labels"]["s"]), ("DELETED", &json!("in")));
    assert_eq!(object["metadata"]["resourceVersion"], gone["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn initial_events_end_with_an_annotated_bookmark() {
    let bench = Bench::new().await;
    bench.post(MAPS, &json!({"metadata": {"name": "a"}})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&bench, query).await;
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test(start_paused = true)]
async fn a_watch_sends_bookmarks_and_ends_at_its_timeout() {
    let bench = Bench::new().await;
    let version = bench.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    let mut watch =
        Watch::open(&bench, &format!("resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=90")).await;
    assert_eq!(watch.next().await.unwrap().0, "BOOKMARK");
    assert!(watch.next().await.is_none());
}
