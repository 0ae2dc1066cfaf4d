//! `label` and `annotate`: set and remove what objects are tagged with.

use serde_json::{Map, Value, json};

use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Patch, SELECTOR_FLAGS, check_type};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const LABEL: Command = Command {
    name: "label",
    about: "Update the labels on a resource",
    usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, SELECTOR_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(label),
    ..Command::EMPTY
};

pub const ANNOTATE: Command =
    Command { name: "annotate", about: "Update the annotations on a resource", run: runs!(annotate), ..LABEL };

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources, in the namespace of the specified resource types"),
    Flag::switch("list", "If true, display the labels for a given resource."),
    Flag::switch("local", "If true, the command will NOT contact api-server but run locally."),
    Flag::switch("overwrite", "If true, allow to be overwritten, otherwise reject updates that overwrite existing."),
    Flag::text(
        "resource-version",
        "If non-empty, the update will only succeed if this is the current resource-version.",
    ),
];

/// What distinguishes the two.
struct Tags {
    field: &'static str,
    manager: &'static str,
    what: &'static str,
    /// Added, removed, both, nothing.
    done: [&'static str; 4],
}

async fn label(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let done = ["labeled", "unlabeled", "modified", "not labeled"];
    run(session, &parsed, &Tags { field: "labels", manager: "kubectl-label", what: "label", done }).await
}

async fn annotate(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let tags = Tags { field: "annotations", manager: "kubectl-annotate", what: "annotation", done: ["annotated"; 4] };
    run(session, &parsed, &tags).await
}

async fn run(session: &Session, parsed: &Parsed, tags: &Tags) -> Result<(), Failure> {
    let is_change = |argument: &&String| argument.contains('=') || argument.ends_with('-');
    let (changes, resources): (Vec<&String>, Vec<&String>) = parsed.arguments.iter().partition(is_change);
    let change = Change::parse(&changes, tags)?;
    if resources.is_empty() && !parsed.given("filename") {
        return fail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    if changes.is_empty() && !parsed.on("list") {
        return fail!("at least one {} update is required", tags.what);
    }
    let mut writing = Writing::of(session, parsed, tags.manager)?;
    let mut asked = Asked::of(session, parsed)?;
    asked.arguments = resources.into_iter().cloned().collect();
    let (infos, mut failures) = if parsed.on("local") {
        local(&asked, writing.dry_run).await?
    } else {
        asked.select(session).await?.fetched(session.client()?).await?
    };
    let single = infos.len() == 1;
    for info in infos {
        let done = if parsed.on("list") {
            list(session, &info, tags, single)
        } else {
            change_one(session, parsed, &mut writing, info, &change, tags).await
        };
        failures.extend(done.err());
    }
    Failure::all(failures)
}

/// Objects of files, as they are written there.
async fn local(asked: &Asked, dry_run: DryRun) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    if dry_run == DryRun::Server {
        return fail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    }
    if !asked.arguments.is_empty() {
        return fail!("can only use local files by -f pod.yaml or --filename=pod.json when --local=true is set");
    }
    let (documents, mut failures) = asked.files.read().await?;
    let mut infos = Vec::new();
    for document in documents {
        match check_type(&document.object) {
            Ok(()) => infos.push(Info::of_file(document.object)),
            Err(why) => failures.push(Failure::Plain(format!("unable to decode {:?}: {why}", document.source))),
        }
    }
    Ok((infos, failures))
}

struct Change {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Change {
    fn parse(specs: &[&String], tags: &Tags) -> Result<Self, Failure> {
        let mut change = Self { set: Vec::new(), remove: Vec::new() };
        for spec in specs {
            match spec.split_once('=') {
                Some((_, value)) if tags.field == "labels" && value.contains('=') => {
                    return fail!("invalid label spec: {spec}");
                }
                Some((_, value))
                    if tags.field == "labels" && !apimachinery::validation::is_label_value(value).is_empty() =>
                {
                    let why = apimachinery::validation::is_label_value(value).join(";");
                    return fail!("invalid label value: {spec:?}: {why}");
                }
                Some((key, value)) => change.set.push((key.to_owned(), value.to_owned())),
                None => change.remove.push(spec.trim_end_matches('-').to_owned()),
            }
        }
        if change.set.iter().any(|(key, _)| change.remove.contains(key)) {
            return fail!(
                "can not both modify and remove {} {} in the same command",
                if tags.field == "labels" { "a" } else { "an" },
                tags.what
            );
        }
        Ok(change)
    }
}

fn list(session: &Session, info: &Info, tags: &Tags, single: bool) -> Result<(), Failure> {
    if !single {
        let (kind, group) = (&info.mapping.kind, &info.mapping.group);
        session.streams.line(format!("Listing {} for {kind}.{group}/{}:", tags.field, info.name))?;
    }
    for (key, value) in current(info, tags) {
        let indent = if single { "" } else { " " };
        session.streams.line(format!("{indent}{key}={}", value.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

fn current(info: &Info, tags: &Tags) -> Map<String, Value> {
    info.object["metadata"][tags.field].as_object().cloned().unwrap_or_default()
}

async fn change_one(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    mut info: Info,
    change: &Change,
    tags: &Tags,
) -> Result<(), Failure> {
    let now = current(&info, tags);
    let added: Vec<_> = change.set.iter().filter(|(key, value)| now.get(key) != Some(&json!(value))).collect();
    let taken = added.iter().find_map(|(key, _)| now.get(key).map(|value| (key, value)));
    if let (Some((key, value)), false) = (taken, parsed.on("overwrite")) {
        let value = value.as_str().unwrap_or_default();
        return match tags.what {
            "label" => fail!("'{key}' already has a value ({value}), and --overwrite is false"),
            _ => fail!(
                "--overwrite is false but found the following declared annotation(s): '{key}' already has a value ({value})"
            ),
        };
    }
    let missing = change.remove.iter().filter(|key| tags.what == "label" && !now.contains_key(*key));
    for key in missing {
        session.streams.line(format!("{} {key:?} not found.", tags.what))?;
    }
    let removed: Vec<_> = change.remove.iter().filter(|key| now.contains_key(*key)).collect();
    let done = match (added.is_empty(), removed.is_empty()) {
        (false, true) => tags.done[0],
        (true, false) => tags.done[1],
        (false, false) => tags.done[2],
        (true, true) => tags.done[3],
    };
    if added.is_empty() && removed.is_empty() {
        return writing.report(&info.object, done);
    }
    let set = added.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let changed: Map<String, Value> = set.chain(removed.iter().map(|key| ((*key).clone(), Value::Null))).collect();
    let mut patch = json!({"metadata": {(tags.field): changed}});
    if let Some(version) = parsed.some("resource-version") {
        patch["metadata"]["resourceVersion"] = version.into();
    }
    if writing.dry_run == DryRun::Client || parsed.on("local") {
        info.object = apimachinery::patch::merge::merged(info.object, &patch);
    } else {
        info.object = info.patch(session.client()?, Patch::Merge, &patch, &writing.write()).await?;
    }
    writing.report(&info.object, done)
}
