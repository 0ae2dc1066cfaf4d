//! The control plane alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use e2e::server::{Scratch, Server};
use e2e::{eventually, processes};
use serde_json::json;

use crate::IDLE;
use crate::proxy::Proxy;
use crate::table::{Table, milliseconds, usage};
use crate::wrk::{CREATE, wrk};

const OBJECTS: u64 = 10_000;
const FILL_ROUNDS_MAX: u32 = 20;

pub fn control_plane(table: &mut Table) -> Result<()> {
    let directory = Scratch::new("bench")?;
    let (began, server) = (Instant::now(), Server::start(directory.path())?);
    server.ready()?;
    table.row("time to API ready, fresh", &milliseconds(began.elapsed()));
    server_idle(&server, table, "control plane alone")?;
    match wrk_token(&server) {
        Ok(token) => loaded(table, server, &token, directory.path()),
        Err(error) => {
            table.skip("GET, LIST, creates, restart", &format!("{error:#}"));
            server.end().map(drop)
        }
    }
}

fn loaded(table: &mut Table, server: Server, token: &str, directory: &Path) -> Result<()> {
    let script = directory.join("create.lua");
    fs::write(&script, CREATE)?;
    throughput(table, &server, token, &script)?;
    let count = fill(&server, token, &script)?;
    server.end()?;
    let (began, server) = (Instant::now(), Server::start(directory)?);
    server.ready()?;
    table.row(&format!("time to API ready, restarted with {count} objects"), &milliseconds(began.elapsed()));
    server.end().map(drop)
}

fn server_idle(server: &Server, table: &mut Table, what: &str) -> Result<()> {
    let find = || processes::all().remove(&server.pid()).context("the server ended");
    let began = find()?;
    std::thread::sleep(IDLE);
    let now = find()?;
    let memory = now.proportional_memory().context("read the server's memory")?;
    table.row(&format!("idle, {what}"), &usage(memory, now.ticks - began.ticks));
    Ok(())
}

/// A token that may do everything, since wrk presents no certificate.
fn wrk_token(server: &Server) -> Result<String> {
    ensure!(Command::new("wrk").arg("-v").output().is_ok(), "wrk is not on this machine");
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some))?;
    let kind = |kind: &str, version: &str, name: &str| json!({"kind": kind, "apiVersion": version, "metadata": {"name": name}});
    let mut account = kind("ServiceAccount", "v1", "bench");
    account["metadata"]["namespace"] = "default".into();
    server.create(&account)?;
    let mut binding = kind("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "bench");
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "bench", "namespace": "default"}]);
    server.create(&binding)?;
    let request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"audiences": [], "expirationSeconds": 3600}});
    let proxy = Proxy::start(&server.kubeconfig, None)?;
    let answer = proxy.post("/api/v1/namespaces/default/serviceaccounts/bench/token", &request)?;
    Ok(answer["status"]["token"].as_str().with_context(|| format!("no token in {answer}"))?.to_owned())
}

/// Makes objects until there are enough for the restart, and says how many there are.
fn fill(server: &Server, token: &str, script: &Path) -> Result<u64> {
    let proxy = Proxy::start(&server.kubeconfig, None)?;
    for _ in 0..FILL_ROUNDS_MAX {
        let list = proxy.get("/api/v1/namespaces/default/configmaps?limit=1")?;
        let count = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) + 1;
        if count >= OBJECTS {
            return Ok(count);
        }
        wrk(&server.url("/api/v1/namespaces/default/configmaps"), token, Some(script))?;
    }
    bail!("{FILL_ROUNDS_MAX} loads did not make {OBJECTS} objects")
}

fn throughput(table: &mut Table, server: &Server, token: &str, script: &Path) -> Result<()> {
    let config_map = |name: String| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "kube-public"}, "data": {"key": "value"}});
    eventually("the namespace kube-public", || server.kubectl("get namespace kube-public").map(Some))?;
    let items: Vec<_> = (0..100).map(|number| config_map(format!("item-{number}"))).collect();
    server.create(&json!({"kind": "List", "apiVersion": "v1", "items": items}))?;
    let path = "/api/v1/namespaces/kube-public/configmaps";
    table.row("GET of a ConfigMap, 32 connections", &wrk(&server.url(&format!("{path}/item-1")), token, None)?);
    table.row("LIST of 100 ConfigMaps, 32 connections", &wrk(&server.url(path), token, None)?);
    let creates = wrk(&server.url("/api/v1/namespaces/default/configmaps"), token, Some(script))?;
    table.row("durable creates of a ConfigMap, 32 connections", &creates);
    Ok(())
}
