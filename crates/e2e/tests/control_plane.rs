//! A control plane without nodes: it ends when it is asked to, goes on from where it was, and survives a full disk.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::process::Command;

use anyhow::Result;
use e2e::cluster::succeeded;
use e2e::eventually;
use e2e::server::{Scratch, Server};
use serde_json::json;

const VERSION: &str = "get configmap kept -o jsonpath={.metadata.resourceVersion}/{.metadata.uid}/{.data.key}";

#[test]
fn a_bare_control_plane_ends_in_order_and_starts_again_with_what_it_had() {
    let directory = Scratch::new("control-plane").unwrap();
    let server = Server::start(directory.path()).unwrap();
    server.ready().unwrap();
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some)).unwrap();
    server.kubectl("create configmap kept --from-literal=key=value").unwrap();
    let before = server.kubectl(VERSION).unwrap();
    // Its controllers run by now: what they made is there.
    eventually("the service account", || server.kubectl("get serviceaccount default").map(Some)).unwrap();
    let status = server.end().unwrap();
    assert!(status.success(), "{status}");
    let server = Server::start(directory.path()).unwrap();
    server.ready().unwrap();
    assert_eq!(server.kubectl(VERSION).unwrap(), before);
    assert!(server.end().unwrap().success());
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    if !e2e::cluster::is_root() {
        eprintln!("SKIPPED: a small file system needs root to be mounted");
        return;
    }
    let disk = SmallDisk::mount().unwrap();
    let server = Server::start(disk.0.path()).unwrap();
    server.ready().unwrap();
    eventually("the namespace default", || server.kubectl("get namespace default").map(Some)).unwrap();
    let value = "x".repeat(200_000);
    let config_map = |number: u32| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("big-{number:02}"), "namespace": "default"},
            "data": {"value": value}})
    };
    let made = (0..100).take_while(|number| server.create(&config_map(*number)).is_ok()).count();
    assert!((1..100).contains(&made), "{made} objects of 200 KB are on a disk of {DISK}");
    let refused = server.create(&config_map(100)).unwrap_err().to_string();
    assert!(refused.contains("No space left on device"), "{refused}");
    assert_eq!(big(&server), made, "what was confirmed is still read");
    disk.resize("64m").unwrap();
    eventually("writes go on", || server.create(&config_map(101)).map(Some)).unwrap();
    drop(server);
    let server = Server::start(disk.0.path()).unwrap();
    server.ready().unwrap();
    assert_eq!(big(&server), made + 1, "a killed server starts with all that was confirmed");
}

fn big(server: &Server) -> usize {
    let list = server.kubectl("get configmaps -o name").expect("a list");
    list.lines().filter(|line| line.contains("/big-")).count()
}

const DISK: &str = "6m";

/// A file system in memory that is soon full.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn mount() -> Result<Self> {
        let scratch = Scratch::new("small-disk")?;
        let path = scratch.path().to_string_lossy().into_owned();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={DISK}"), "none", &path])?;
        Ok(Self(scratch))
    }

    fn resize(&self, size: &str) -> Result<()> {
        run("mount", &["-o", &format!("remount,size={size}"), &self.0.path().to_string_lossy()])
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[&self.0.path().to_string_lossy()]) {
            eprintln!("the small disk stays: {error:#}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    succeeded(program, &Command::new(program).args(arguments).output()?).map(drop)
}
