//! What ten thousand pods and fifty definitions cost.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::Client;
use e2e::processes;
use e2e::server::{Scratch, Server};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::table::{Table, median, megabytes, milliseconds};
use crate::{IDLE, runtime};

const PODS: usize = 10_000;
/// Pods that share a label.
const ALIKE: usize = 100;
const DEFINITIONS: usize = 50;
const FIELDS: usize = 100;
const AT_ONCE: usize = 64;
const LISTS: usize = 9;
const LISTS_AT_ONCE: usize = 16;
const PATH: &str = "/api/v1/namespaces/default/pods";

pub fn many_objects(table: &mut Table) -> Result<()> {
    let directory = Scratch::new("bench-objects")?;
    let server = Server::start(directory.path())?;
    server.ready()?;
    runtime()?.block_on(measure(table, &server))?;
    server.end()?;
    let (began, server) = (Instant::now(), Server::start(directory.path())?);
    server.ready()?;
    let what = format!("time to API ready, restarted with {PODS} pods and {DEFINITIONS} definitions");
    table.row(&what, &milliseconds(began.elapsed()));
    server.end().map(drop)
}

async fn measure(table: &mut Table, server: &Server) -> Result<()> {
    let client = server.client()?;
    wait_for_account(&client).await?;
    definitions(table, server, &client).await?;
    pods(table, server, &client).await?;
    lists(table, server, &client).await
}

/// Pods need it, and a controller makes it.
async fn wait_for_account(client: &Client) -> Result<()> {
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let watch =
        client.stream(request(&format!("{path}?watch=true&fieldSelector=metadata.name%3Ddefault"), "")?).await?;
    let event = watch.into_body().frame().await.context("the watch ended")?;
    event.map(drop).map_err(anyhow::Error::from_boxed)
}

async fn pods(table: &mut Table, server: &Server, client: &Client) -> Result<()> {
    let before = settled(server).await?;
    let began = Instant::now();
    create_all(client, PATH, (0..PODS).map(pod)).await?;
    let rate = PODS as f64 / began.elapsed().as_secs_f64();
    table.row(&format!("durable creates of pods, {AT_ONCE} at once, HTTP/2"), &format!("{rate:.0} /s"));
    let grown = settled(server).await?.saturating_sub(before);
    table.row("memory of a stored pod", &format!("{:.1} kB", grown as f64 / PODS as f64 / 1e3));
    Ok(())
}

async fn definitions(table: &mut Table, server: &Server, client: &Client) -> Result<()> {
    let before = settled(server).await?;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    create_all(client, path, (0..DEFINITIONS).map(definition)).await?;
    let grown = settled(server).await?.saturating_sub(before);
    let what = format!("memory of a definition with {FIELDS} fields, {DEFINITIONS} of them");
    table.row(&what, &format!("{:.0} kB", grown as f64 / DEFINITIONS as f64 / 1e3));
    Ok(())
}

async fn lists(table: &mut Table, server: &Server, client: &Client) -> Result<()> {
    let before = fresh_peak(server)?;
    let (times, bytes) = repeat(client, PATH).await?;
    let grown = megabytes(peak(server)?.saturating_sub(before));
    let size = megabytes(bytes as u64);
    table.row(&format!("LIST of {PODS} pods ({size} of JSON)"), &format!("{}, peak of memory +{grown}", median(times)));
    let before = fresh_peak(server)?;
    let took = lists_at_once(server).await?;
    let grown = megabytes(peak(server)?.saturating_sub(before));
    let what = format!("{LISTS_AT_ONCE} LISTs of {PODS} pods at once, a connection each");
    table.row(&what, &format!("{} for all, peak of memory +{grown}", milliseconds(took)));
    let (times, _) = repeat(client, &format!("{PATH}?labelSelector=app%3Dload-7")).await?;
    table.row(&format!("LIST of {ALIKE} of {PODS} pods by label"), &median(times));
    let (times, _) = repeat(client, &format!("{PATH}?limit=500")).await?;
    table.row(&format!("LIST of the first 500 of {PODS} pods"), &median(times));
    Ok(())
}

/// What comes is counted and dropped: the client shall not be what takes the memory.
async fn lists_at_once(server: &Server) -> Result<Duration> {
    let mut lists = JoinSet::new();
    let began = Instant::now();
    for _ in 0..LISTS_AT_ONCE {
        let client = server.client()?;
        lists.spawn(async move {
            let mut body = client.stream(request(PATH, "")?).await?.into_body();
            while let Some(frame) = body.frame().await {
                frame.map_err(anyhow::Error::from_boxed)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = lists.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

async fn repeat(client: &Client, path: &str) -> Result<(Vec<Duration>, usize)> {
    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..LISTS {
        let began = Instant::now();
        size = client.bytes(request(path, "")?).await?.len();
        times.push(began.elapsed());
    }
    Ok((times, size))
}

async fn create_all(client: &Client, path: &str, objects: impl Iterator<Item = Value>) -> Result<()> {
    let objects = Arc::new(Queue::new(objects.map(|object| object.to_string()).collect()));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, path, objects) = (client.clone(), path.to_owned(), objects.clone());
        workers.spawn(async move {
            while let Some(object) = next(&objects) {
                client.bytes(request(&path, &object)?).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

type Queue = std::sync::Mutex<Vec<String>>;

fn next(objects: &Queue) -> Option<String> {
    objects.lock().ok()?.pop()
}

pub fn request(path: &str, object: &str) -> Result<Request<client::Body>> {
    let builder = Request::builder().uri(path).header("content-type", "application/json");
    let builder = if object.is_empty() { builder } else { builder.method("POST") };
    builder.body(client::body(object.to_owned())).context("a request")
}

/// Its memory once it has given back what it needed for a moment only.
async fn settled(server: &Server) -> Result<u64> {
    tokio::time::sleep(IDLE).await;
    let process = processes::all().remove(&server.pid()).context("the server ended")?;
    process.proportional_memory().context("read the server's memory")
}

/// The peak from now on.
fn fresh_peak(server: &Server) -> Result<u64> {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").context("forget the peak of the memory")?;
    peak(server)
}

fn peak(server: &Server) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// As a Deployment would make it; for a scheduler that is not there, so that it stays as it is.
fn pod(number: usize) -> Value {
    let app = format!("load-{}", number % (PODS / ALIKE));
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {
        "name": format!("pod-{number}"), "labels": {"app": app, "pod-template-hash": "5d4f8c7b9"},
    }, "spec": {"schedulerName": "none", "containers": [{
        "name": "main", "image": "registry.example.com/team/application:1.2.3",
        "args": ["--listen=:8080", "--verbose"], "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "MODE", "value": "production"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": probe, "livenessProbe": probe,
    }]}})
}

fn definition(number: usize) -> Value {
    let field = |index: usize| {
        let kind = ["string", "integer", "boolean"][index % 3];
        (format!("field{index}"), json!({"type": kind, "description": "One of the fields of a benchmark."}))
    };
    let spec: serde_json::Map<_, _> = (0..FIELDS).map(field).collect();
    let plural = format!("things{number}");
    json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {"name": format!("{plural}.bench.example.com")},
    "spec": {"group": "bench.example.com", "scope": "Namespaced",
        "names": {"kind": format!("Thing{number}"), "plural": plural},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": spec},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}}}]}})
}
