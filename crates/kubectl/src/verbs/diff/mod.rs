//! `diff`: what an apply would change, found out by a dry run in the server.

mod unified;

use serde_json::Value;

use super::apply::dry_applied;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Write};
use crate::print::to_yaml;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "diff",
    about: "Diff the live version against a would-be applied version",
    usage: "-f FILENAME [options]",
    flags: &[FILENAME_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::number("concurrency", "1", "Accepted for compatibility."),
    Flag::text("field-manager", "Name of the manager used to track field ownership."),
    Flag::switch("force-conflicts", "If true, server-side apply will force the changes against conflicts."),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::switch("server-side", "If true, apply runs in the server instead of the client."),
    Flag::switch("show-managed-fields", "If true, include managed fields in the diff."),
];

/// An object as it is and as it would be.
struct Pair {
    name: String,
    live: Value,
    merged: Value,
}

/// The exit code says whether there is a difference: 1; what went wrong is above that.
async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let pairs = match pairs(session, &parsed).await {
        Ok(pairs) => pairs,
        Err(failure) => {
            let (message, _) = failure.report();
            return Err(Failure::Code(message, 2));
        }
    };
    let changed = show(session, &pairs).await?;
    if changed { Err(Failure::Exit(1)) } else { Ok(()) }
}

async fn pairs(session: &Session, parsed: &Parsed) -> Result<Vec<Pair>, Failure> {
    if !parsed.given("filename") {
        return fail!("must specify one of -f and -k");
    }
    let selector = apimachinery::labels::Selector::parse(parsed.text("selector"))
        .map_err(|error| format!("the provided selector is not valid: {error}"))?;
    let asked = Asked { labels: None, ..Asked::of(session, parsed)? };
    let (infos, failures) = asked.select(session).await?.infos(session.client()?).await?;
    Failure::all(failures)?;
    let mut pairs = Vec::new();
    for info in infos.into_iter().filter(|info| selector.matches_object(&info.object)) {
        pairs.push(pair(session, parsed, info).await?);
    }
    Ok(pairs)
}

async fn pair(session: &Session, parsed: &Parsed, info: Info) -> Result<Pair, Failure> {
    let live = match info.get(session.client()?).await {
        Err(failure) if failure.is_not_found() => Value::Null,
        live => live?,
    };
    let name = file_name(&info);
    let server_side = parsed.on("server-side");
    let manager =
        parsed.some("field-manager").unwrap_or(if server_side { "kubectl" } else { "kubectl-client-side-apply" });
    let write = Write { manager, dry_run: true, ..Write::default() };
    let force = server_side.then_some(parsed.on("force-conflicts"));
    let merged = dry_applied(session, info, live.clone(), &write, force).await?;
    let (mut live, mut merged) = (live, merged);
    if !parsed.on("show-managed-fields") {
        [&mut live, &mut merged].into_iter().for_each(without_managed_fields);
    }
    mask(&mut live, &mut merged);
    Ok(Pair { name, live, merged })
}

/// `apps.v1.Deployment.default.web`.
fn file_name(info: &Info) -> String {
    let group = if info.mapping.group.is_empty() { String::new() } else { format!("{}.", info.mapping.group) };
    format!("{group}{}.{}.{}.{}", info.mapping.version, info.mapping.kind, info.namespace, info.name)
}

fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// A secret's values are not shown, only whether they differ.
fn mask(live: &mut Value, merged: &mut Value) {
    if live["kind"] != "Secret" && merged["kind"] != "Secret" {
        return;
    }
    let before = live["data"].as_object().cloned().unwrap_or_default();
    let after = merged["data"].as_object().cloned().unwrap_or_default();
    let marked = |own: &mut Value, other: &serde_json::Map<String, Value>, differing: &str| {
        for (key, value) in own.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
            let mark = match other.get(key) {
                Some(theirs) if theirs != value => differing,
                _ => "***",
            };
            *value = mark.into();
        }
    };
    marked(live, &after, "*** (before)");
    marked(merged, &before, "*** (after)");
}

fn text(object: &Value) -> String {
    if object.is_null() { String::new() } else { to_yaml(object) }
}

/// By the user's program, by `diff`, or by ourselves where there is none.
async fn show(session: &Session, pairs: &[Pair]) -> Result<bool, Failure> {
    let directory = |prefix: &str| std::env::temp_dir().join(format!("{prefix}-{}", apimachinery::names::suffix(10)));
    let (live, merged) = (directory("LIVE"), directory("MERGED"));
    let written =
        write_all(&live, pairs, |pair| &pair.live).and_then(|()| write_all(&merged, pairs, |pair| &pair.merged));
    let outcome = match written {
        Ok(()) => external(session, &live, &merged).await,
        Err(error) => fail!("{error}"),
    };
    for path in [&live, &merged] {
        // What is left behind in the directory of temporary files harms nobody.
        let _ = std::fs::remove_dir_all(path);
    }
    match outcome? {
        Some(changed) => Ok(changed),
        None => own(session, &live.display().to_string(), &merged.display().to_string(), pairs),
    }
}

fn write_all(directory: &std::path::Path, pairs: &[Pair], side: impl Fn(&Pair) -> &Value) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    for pair in pairs {
        std::fs::write(directory.join(&pair.name), text(side(pair)))?;
    }
    Ok(())
}

/// Whether there is a difference; `None` when there is no program to ask.
async fn external(
    session: &Session,
    live: &std::path::Path,
    merged: &std::path::Path,
) -> Result<Option<bool>, Failure> {
    let asked = std::env::var("KUBECTL_EXTERNAL_DIFF").ok().filter(|text| !text.trim().is_empty());
    let line = asked.clone().unwrap_or_else(|| "diff -u -N".to_owned());
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or("diff");
    // Only flags made of plain characters are passed on, as upstream does.
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '=');
    let output = tokio::process::Command::new(program).args(words.filter(plain)).args([live, merged]).output().await;
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && asked.is_none() => return Ok(None),
        Err(error) => return Err(Failure::Code(format!("error: failed to run {program:?}: {error}"), 2)),
        Ok(output) => output,
    };
    session.streams.print(&output.stdout)?;
    session.streams.print_error(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(Some(false)),
        Some(1) => Ok(Some(true)),
        code => {
            let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2);
            Err(Failure::Code(format!("error: exit status {code}"), code))
        }
    }
}

fn own(session: &Session, live: &str, merged: &str, pairs: &[Pair]) -> Result<bool, Failure> {
    let mut changed = false;
    for pair in pairs {
        let hunks = unified::hunks(&text(&pair.live), &text(&pair.merged));
        if hunks.is_empty() {
            continue;
        }
        changed = true;
        let (from, to) = (format!("{live}/{}", pair.name), format!("{merged}/{}", pair.name));
        session.streams.print(format!("diff -u -N {from} {to}\n--- {from}\n+++ {to}\n{hunks}"))?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_masked() {
        let mut live = json!({"kind": "Secret", "data": {"a": "x", "b": "y"}});
        let mut merged = json!({"kind": "Secret", "data": {"a": "x", "b": "z", "c": "w"}});
        mask(&mut live, &mut merged);
        assert_eq!(live["data"], json!({"a": "***", "b": "*** (before)"}));
        assert_eq!(merged["data"], json!({"a": "***", "b": "*** (after)", "c": "***"}));
    }
}
