//! `patch`: a change as the user writes it.

use serde_json::Value;

use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Patch, Write, decode_documents};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "patch",
    about: "Update fields of a resource",
    usage: "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("patch", "The patch to be applied to the resource JSON file.").short('p'),
    Flag::text("patch-file", "A file containing a patch to be applied to the resource."),
    Flag::text("subresource", "If specified, patch will operate on the subresource of the requested object."),
    Flag::text("type", "The type of patch being provided; one of [json merge strategic]").or("strategic"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let kind = match parsed.text("type").to_lowercase().as_str() {
        "json" => Patch::Json,
        "merge" => Patch::Merge,
        "strategic" => Patch::Strategic,
        other => return fail!("--type must be one of [json merge strategic], not {other:?}"),
    };
    let patch = read_patch(&parsed)?;
    let mut writing = Writing::of(session, &parsed, "kubectl-patch")?;
    let asked = Asked::of(session, &parsed)?;
    let (infos, mut failures) = asked.select(session).await?.fetched(session.client()?).await?;
    for info in infos {
        failures.extend(patch_one(session, &parsed, &mut writing, &info, kind, &patch).await.err());
    }
    Failure::all(failures)
}

fn read_patch(parsed: &Parsed) -> Result<Value, Failure> {
    let text = match (parsed.some("patch"), parsed.some("patch-file")) {
        (Some(_), Some(_)) => return fail!("cannot specify --patch and --patch-file together"),
        (None, None) => return fail!("must specify --patch or --patch-file containing the contents of the patch"),
        (Some(text), None) => text.to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|_| format!("unable to read patch file: open {path}: no such file or directory"))?,
    };
    let mut documents = decode_documents(&text).map_err(|why| format!("unable to parse {text:?}: {why}"))?;
    if documents.len() == 1 {
        Ok(documents.remove(0))
    } else {
        fail!("unable to parse {text:?}: one patch is expected")
    }
}

async fn patch_one(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    info: &Info,
    kind: Patch,
    patch: &Value,
) -> Result<(), Failure> {
    if writing.dry_run == DryRun::Client {
        return writing.report(&info.object, "patched");
    }
    let subresource = parsed.some("subresource").map(|name| format!("/{name}")).unwrap_or_default();
    let write = Write { subresource: &subresource, ..writing.write() };
    let patched = info.patch(session.client()?, kind, patch, &write).await?;
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let same = version(&patched) == version(&info.object);
    writing.report(&patched, if same { "patched (no change)" } else { "patched" })
}
