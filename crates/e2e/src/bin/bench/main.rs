//! Measures the binary under test and prints a Markdown table: `cargo xtask bench`.
//!
//! Starts its own control plane and its own cluster, and ends them. Every load is bounded in count and time; a row whose tool is
//! missing says so. `--only TEXT` measures only the groups whose name has the text.
//!
//! How it measures: throughput with `wrk` over TLS with a service account's token, on the machine that serves (both share its
//! cores); a durable create is a 201 to a POST, which the server sends after its store has synced; a pod's start is the time from
//! before its POST until its phase is Running in a watch, both through `kubectl proxy`; memory is the proportional set size.
#![allow(clippy::disallowed_methods, reason = "black-box measurements run programs and wait for time to pass")]

mod cluster;
mod control_plane;
mod objects;
mod proxy;
mod table;
mod watchers;
mod wrk;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use e2e::cluster::{binary, succeeded};
use table::Table;

const NAME: &str = "e2e-bench";
const IDLE: Duration = Duration::from_secs(10);
/// Of a load of DNS.
const LOAD: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Arguments {
    /// Only the groups whose name has this text: binary, control-plane, objects, watchers, idle, pods, dns, rules
    #[arg(long, default_value = "")]
    only: String,
    #[command(subcommand)]
    load: Option<Load>,
}

#[derive(Subcommand)]
enum Load {
    /// Ask over HTTP until standard input ends, and print what became of it
    #[command(hide = true)]
    HttpLoad { address: SocketAddr, at_least: u64, at_most: u64 },
    /// Ask a DNS server, and print the answers per second
    #[command(hide = true)]
    DnsLoad { server: SocketAddr, name: String },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.load {
        Some(Load::HttpLoad { address, at_least, at_most }) => e2e::load::http(address, at_least, at_most),
        Some(Load::DnsLoad { server, name }) => e2e::load::dns(server, &name, 8, LOAD),
        None => measure(&arguments.only),
    }
}

fn measure(only: &str) -> Result<()> {
    let id = succeeded("id", &Command::new("id").arg("-u").output()?)?;
    ensure!(id.trim() == "0", "a dev cluster needs root");
    let mut table = Table::begin()?;
    let wanted = |group: &str| group.contains(only);
    if wanted("binary") {
        table.row("binary size", &format!("{:.1} MB", fs::metadata(binary())?.len() as f64 / 1e6));
    }
    if wanted("control-plane") {
        table.group("control plane", control_plane::control_plane);
    }
    if wanted("objects") {
        table.group("many objects", objects::many_objects);
    }
    if wanted("watchers") {
        table.group("watchers", watchers::watchers);
    }
    if ["idle", "pods", "dns"].into_iter().any(wanted) {
        table.group("cluster", |table| cluster::on_cluster(table, &wanted));
    }
    if wanted("rules") {
        table.group("service rules", service_rules);
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}

fn service_rules(table: &mut Table) -> Result<()> {
    let Some(load) = std::env::var_os("CORACLE_SERVICE_LOAD") else {
        table.skip("service rules", "CORACLE_SERVICE_LOAD names no program; `cargo xtask bench` builds it");
        return Ok(());
    };
    for services in ["1000", "5000"] {
        let text = succeeded("the load of services", &Command::new(&load).args([services, "2"]).output()?)?;
        text.lines().for_each(|line| table.row(&format!("rules of {services} services"), line));
    }
    Ok(())
}
