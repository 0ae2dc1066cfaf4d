//! Recorded requests and a real server's answers to them, sent to ours.
//!
//! The cases that differ are listed in `tests/output/replay.txt`, which may only shrink.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;
use serde_json::Value;

use crate::bare::Bare;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/output/replay.txt");

/// What is promised, in percent.
const RATE_MIN: f64 = 98.0;

/// They wait for a compaction, minutes each.
const SKIPPED: [&str; 2] = ["list/rv-exact-ancient", "watch/ancient-rv-410"];

/// Cases that differ wait up to half a minute for what does not come: many at a time cost nothing.
const JOBS: &str = "--jobs=16";

#[test]
fn recorded_requests_are_answered_as_a_real_server_answered_them() {
    let Some(recordings) = recordings() else { return };
    let bare = Bare::start("replay");
    let results = bare.scratch.path().join("results.json");
    let mut command = replay(&bare, &recordings);
    let output = command.arg(format!("--json={}", results.display())).arg(recordings.join("cases")).output().unwrap();
    let text =
        fs::read(&results).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    judge(&serde_json::from_slice(&text).unwrap());
}

fn recordings() -> Option<PathBuf> {
    let root = std::env::var_os("CORACLE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let recordings = root.join("replay");
    if recordings.join("replay.py").exists() {
        return Some(recordings);
    }
    eprintln!("SKIPPED: no {}: set CORACLE_SHARED", recordings.display());
    None
}

fn replay(bare: &Bare, recordings: &Path) -> Command {
    let mut command = bare.command(Path::new("python3"));
    command.arg(recordings.join("replay.py")).arg(format!("--server={}", bare.server.url(""))).args(["--quiet", JOBS]);
    command.args(SKIPPED.map(|case| format!("--skip={case}")));
    let config = serde_json::to_value(Kubeconfig::read_from(&bare.server.kubeconfig).unwrap()).unwrap();
    for (option, pointer) in [
        ("cert", "/users/0/user/client-certificate-data"),
        ("key", "/users/0/user/client-key-data"),
        ("ca", "/clusters/0/cluster/certificate-authority-data"),
    ] {
        let path = bare.scratch.path().join(option);
        let data = config.pointer(pointer).and_then(Value::as_str).expect("the kubeconfig holds its files");
        fs::write(&path, STANDARD.decode(data).unwrap()).unwrap();
        command.arg(format!("--{option}={}", path.display()));
    }
    command
}

fn judge(results: &Value) {
    let cases = results["cases"].as_object().unwrap();
    let failing: BTreeSet<&str> =
        cases.iter().filter(|(_, case)| case["pass"] == false).map(|(name, _)| name.as_str()).collect();
    let rate = 100.0 - 100.0 * failing.len() as f64 / cases.len() as f64;
    println!("{} of {} recorded cases differ: {rate:.1} % agree", failing.len(), cases.len());
    assert!(rate >= RATE_MIN, "{rate:.1} % of the recorded answers agree: {failing:?}");
    let listed = fs::read_to_string(LIST).unwrap();
    let known: BTreeSet<&str> = listed.lines().collect();
    let mended: Vec<_> = known.difference(&failing).filter(|name| cases.contains_key(**name)).collect();
    if !mended.is_empty() {
        println!("these pass now, take them off the list (UPDATE_EXPECT=1 does): {mended:?}");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let left: String = known.intersection(&failing).map(|name| format!("{name}\n")).collect();
        fs::write(LIST, left).unwrap();
    }
    let new: Vec<_> = failing.difference(&known).map(|name| (name, &cases[*name]["diff"])).collect();
    assert!(new.is_empty(), "cases that differ and are not in the list: {new:#?}");
}
