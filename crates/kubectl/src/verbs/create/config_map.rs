//! `create configmap` and `create secret generic`: from literals, files and environment files.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const CONFIG_MAP: Command = Command {
    name: "configmap",
    aliases: &["cm"],
    about: "Create a config map from a local file, directory or literal value",
    usage: "NAME [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, FLAGS],
    run: runs!(config_map),
    ..Command::EMPTY
};

pub const SECRET: Command = Command {
    name: "secret",
    about: "Create a secret using a specified subcommand",
    usage: "(docker-registry | generic | tls) [options]",
    children: &[&super::secret::DOCKER_REGISTRY, &GENERIC, &super::secret::TLS],
    ..Command::EMPTY
};

const GENERIC: Command = Command {
    name: "generic",
    about: "Create a secret from a local file, directory, or literal value",
    usage: CONFIG_MAP.usage,
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        FLAGS,
        &[Flag::text("type", "The type of secret to create")],
    ],
    run: runs!(secret),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::list("from-env-file", "Specify the path to a file to read lines of key=val pairs."),
    Flag::list("from-file", "Key file can be specified using its file path, or as key=path."),
    Flag::new("from-literal", Kind::Texts, "Specify a key and literal value to insert (i.e. mykey=somevalue)"),
];

type Entries = Vec<(String, Vec<u8>)>;

async fn config_map(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in entries(&parsed)? {
        match String::from_utf8(bytes) {
            Ok(text) => drop(data.insert(key, text.into())),
            Err(error) => drop(binary.insert(key, STANDARD.encode(error.into_bytes()).into())),
        }
    }
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    for (field, content) in [("data", data), ("binaryData", binary)] {
        if !content.is_empty() {
            object[field] = Value::Object(content);
        }
    }
    create_made(session, &parsed, object, Some("configmap: ")).await
}

async fn secret(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let data: Map<String, Value> =
        entries(&parsed)?.into_iter().map(|(key, bytes)| (key, STANDARD.encode(bytes).into())).collect();
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    if !data.is_empty() {
        object["data"] = Value::Object(data);
    }
    if let Some(kind) = parsed.some("type") {
        object["type"] = kind.into();
    }
    create_made(session, &parsed, object, Some("secret ")).await
}

fn entries(parsed: &Parsed) -> Result<Entries, Failure> {
    let mut entries = Entries::new();
    for source in parsed.list("from-file") {
        from_file(&source, &mut entries)?;
    }
    for literal in parsed.texts("from-literal") {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid literal source {literal}, expected key=value"))?;
        add(&mut entries, key, value.into())?;
    }
    for path in parsed.list("from-env-file") {
        let bytes = read(Path::new(&path))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("env file {path} contains invalid utf8 bytes"))?;
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A name alone takes its value from the environment.
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, value.to_owned()),
                None => (line, std::env::var(line).unwrap_or_default()),
            };
            add(&mut entries, key, value.into_bytes())?;
        }
    }
    Ok(entries)
}

fn from_file(source: &str, entries: &mut Entries) -> Result<(), Failure> {
    let (key, path) = match source.split_once('=') {
        Some((key, path)) => (Some(key), Path::new(path)),
        None => (None, Path::new(source)),
    };
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return add(entries, key.unwrap_or(&name), read(path)?);
    }
    if key.is_some() {
        return fail!("cannot give a key name for a directory path");
    }
    let listed =
        std::fs::read_dir(path).map_err(|error| format!("error listing files in {source}: {}", os_text(&error)))?;
    let mut files: Vec<_> =
        listed.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if apimachinery::validation::is_config_map_key(&name).is_empty() {
            add(entries, &name, read(&file)?)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::Plain(format!("error reading {}: {}", path.display(), os_text(&error))))
}

fn add(entries: &mut Entries, key: &str, value: Vec<u8>) -> Result<(), Failure> {
    let wrong = apimachinery::validation::is_config_map_key(key);
    if !wrong.is_empty() {
        return fail!("{key:?} is not a valid key name for a ConfigMap: {}", wrong.join(";"));
    }
    if entries.iter().any(|(known, _)| known == key) {
        return fail!("cannot add key {key:?}, another key by that name already exists in Data");
    }
    entries.push((key.to_owned(), value));
    Ok(())
}
