//! Every golden object, byte for byte.

use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("CORACLE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let folder = root.join("kubernetes-1.36/golden-objects");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no {}: set CORACLE_SHARED", folder.display());
        return None;
    }
    Some(folder)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn with_extension(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|ext| ext == wanted)).collect();
    paths.sort();
    paths
}

/// Where two JSON values differ first.
fn difference(path: &str, ours: &Value, golden: &Value) -> Option<String> {
    match (ours, golden) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let at = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => difference(&at, a, b),
                    (a, b) => Some(format!("{at}: {a:?} / {b:?}")),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: {a} / {b}")),
    }
}

/// What is wrong with one object: from the wire to JSON, from JSON to the wire, and the one after the other.
fn check(wire: &[u8], golden: &Value) -> Result<(), String> {
    let read = protobuf::decode(wire, ("", "")).map_err(|error| format!("decode: {error}"))?;
    if let Some(difference) = difference("", &read, golden) {
        return Err(format!("decode: {difference}"));
    }
    for object in [golden, &read] {
        let ours = protobuf::encode(object).map_err(|error| format!("encode: {error}"))?;
        if ours != wire {
            let at = ours.iter().zip(wire).take_while(|(a, b)| a == b).count();
            return Err(format!("encode: differs at byte {at} of {} / {}", ours.len(), wire.len()));
        }
    }
    Ok(())
}

#[test]
fn golden_objects_are_the_same_in_both_directions() {
    let Some(folder) = folder() else { return };
    let (mut failures, mut seen) = (Vec::new(), 0);
    for path in with_extension(&folder, "pb") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // An event has neither apiVersion nor kind; it has a test of its own.
        if name == "core.v1.WatchEvent" {
            continue;
        }
        seen += 1;
        let (wire, golden) = (std::fs::read(&path).unwrap(), json(&path.with_extension("json")));
        if let Err(why) = check(&wire, &golden) {
            failures.push(format!("{name}: {why}"));
        }
    }
    assert!(failures.is_empty(), "{} of {seen} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(seen >= 184, "only {seen} golden objects");
}

#[test]
fn an_event_of_a_watch_is_the_golden_one() {
    let Some(folder) = folder() else { return };
    let path = folder.join("core.v1.WatchEvent.pb");
    let (wire, golden) = (std::fs::read(&path).unwrap(), json(&path.with_extension("json")));
    let message = protobuf::message("v1", "WatchEvent").unwrap();
    assert_eq!(protobuf::envelope("", "", &protobuf::raw(message, &golden).unwrap()), wire);
    let read = protobuf::decode(&wire, ("v1", "WatchEvent")).unwrap();
    assert_eq!((&read["type"], &read["object"]), (&golden["type"], &golden["object"]));
}

#[test]
fn golden_yaml_is_read_and_written() {
    let Some(folder) = folder() else { return };
    for path in with_extension(&folder, "yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let yaml: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(difference("", &yaml, &json(&path.with_extension("json"))), None, "{}", path.display());
        assert_eq!(apimachinery::yaml::to_yaml(&yaml), text, "{}", path.display());
    }
}
