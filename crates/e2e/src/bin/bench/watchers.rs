//! A thousand watchers of one collection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::server::{Scratch, Server};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

use crate::objects::request;
use crate::runtime;
use crate::table::{Table, percentiles};

const CONNECTIONS: usize = 10;
const A_CONNECTION: usize = 100;
const WATCHERS: usize = CONNECTIONS * A_CONNECTION;
const WRITES: usize = 200;
/// Between two writes, more than their delivery takes.
const PACE: Duration = Duration::from_millis(50);
/// Nobody else writes here.
const PATH: &str = "/api/v1/namespaces/default/secrets";

/// From before the request of a write until each watcher has its event: more than the way from the commit.
pub fn watchers(table: &mut Table) -> Result<()> {
    let directory = Scratch::new("bench-watchers")?;
    let server = Server::start(directory.path())?;
    server.ready()?;
    let times = runtime()?.block_on(deliveries(&server));
    server.end()?;
    let mut times = times?;
    let what = format!("a write until each of {WATCHERS} watchers has it, {CONNECTIONS} connections");
    table.row(&what, &percentiles(&mut times));
    Ok(())
}

async fn deliveries(server: &Server) -> Result<Vec<Duration>> {
    let writer = server.client()?;
    let newest: serde_json::Value = writer.get(PATH).await?;
    let revision = newest["metadata"]["resourceVersion"].as_str().context("a revision")?;
    let path = format!("{PATH}?watch=true&allowWatchBookmarks=false&resourceVersion={revision}");
    let (seen, mut arrivals) = channel(WATCHERS);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = server.client()?;
        for _ in 0..A_CONNECTION {
            let response = client.stream(request(&path, "")?).await?;
            tasks.spawn(follow(response.into_body(), seen.clone()));
        }
    }
    let mut times = Vec::with_capacity(WATCHERS * WRITES);
    for number in 0..WRITES {
        let object = format!(r#"{{"metadata":{{"name":"write-{number}"}},"data":{{"key":"dmFsdWU="}}}}"#);
        let began = Instant::now();
        writer.bytes(request(PATH, &object)?).await?;
        for _ in 0..WATCHERS {
            times.push(arrivals.recv().await.context("a watch ended")?.duration_since(began));
        }
        tokio::time::sleep(PACE).await;
    }
    tasks.abort_all();
    ensure!(times.len() == WATCHERS * WRITES, "events are missing");
    Ok(times)
}

/// Says when each event came. An event ends its line.
async fn follow(mut body: client::Body, seen: Sender<Instant>) {
    while let Some(Ok(frame)) = body.frame().await {
        let ends = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
        for _ in 0..ends {
            if seen.send(Instant::now()).await.is_err() {
                return;
            }
        }
    }
}
