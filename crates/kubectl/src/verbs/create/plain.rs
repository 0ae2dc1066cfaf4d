//! `create namespace` and `create serviceaccount`: a name is all it takes.

use serde_json::{Map, Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const NAMESPACE: Command = Command {
    name: "namespace",
    aliases: &["ns"],
    about: "Create a namespace with the specified name",
    usage: "NAME [--dry-run=server|client|none] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG],
    run: runs!(namespace),
    ..Command::EMPTY
};

pub const SERVICE_ACCOUNT: Command = Command {
    name: "serviceaccount",
    aliases: &["sa"],
    about: "Create a service account with the specified name",
    run: runs!(service_account),
    ..NAMESPACE
};

async fn namespace(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let metadata = json!({"name": name_of(session, &parsed)?});
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {}, "status": {}});
    create_made(session, &parsed, object, None).await
}

async fn service_account(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let metadata = json!({"name": name_of(session, &parsed)?});
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    create_made(session, &parsed, object, Some("serviceaccount: ")).await
}

/// `a=b` words as a map.
pub fn pairs(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.into())),
        _ => fail!("unexpected key=value pair: {word}"),
    };
    words.iter().map(pair).collect()
}
