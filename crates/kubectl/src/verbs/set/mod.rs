//! `set`: changes a few well-known fields of objects, on the server or in a file.

mod env;
mod env_source;
mod image;
mod pod_spec;
mod resources;
mod selector;
mod service_account;
mod subject;

use std::sync::Arc;

use serde_json::{Value, json};

use super::apply::two_way;
use super::writing::{DryRun, Writing};
use crate::command::Command;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Info, Mapping, other_namespace};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set",
    about: "Set specific features on objects",
    usage: "SUBCOMMAND [options]",
    children: &[
        &env::COMMAND,
        &image::COMMAND,
        &resources::COMMAND,
        &selector::COMMAND,
        &service_account::COMMAND,
        &subject::COMMAND,
    ],
    ..Command::EMPTY
};

const LOCAL_FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources, in the namespace of the specified resource types"),
    Flag::switch("local", "If true, the command will NOT contact api-server but run locally."),
];

const SELECTOR_FLAG: &[Flag] = &[Flag::text("selector", "Selector (label query) to filter on.").short('l')];

const LOCAL_NEEDS_FILES: &str = "error: you must specify resources by --filename when --local is set.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'";

const LOCAL_ON_SERVER: &str = "cannot specify --local and --dry-run=server - did you mean --dry-run=client?";

/// One run of one of the commands.
struct Setter<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    writing: Writing<'a>,
    local: bool,
}

impl<'a> Setter<'a> {
    fn new(session: &'a Session, parsed: &'a Parsed) -> Result<Self, Failure> {
        let writing = Writing::of(session, parsed, "kubectl-set")?;
        Ok(Self { session, parsed, writing, local: parsed.on("local") })
    }

    fn check_local(&self) -> Result<(), Failure> {
        if self.local && self.writing.dry_run == DryRun::Server { fail!("{LOCAL_ON_SERVER}") } else { Ok(()) }
    }

    fn check_selection(&self) -> Result<(), Failure> {
        if self.parsed.on("all") && self.parsed.some("selector").is_some() {
            return fail!("cannot set --all and --selector at the same time");
        }
        Ok(())
    }

    /// The objects that the arguments name, or those of the files.
    async fn objects(&self, arguments: Vec<String>) -> Result<Vec<Info>, Failure> {
        let asked = Asked { arguments, ..Asked::of(self.session, self.parsed)? };
        if self.local {
            return local(&asked).await;
        }
        let (infos, failures) = asked.select(self.session).await?.fetched(self.session.client()?).await?;
        Failure::all(failures)?;
        Ok(infos)
    }

    /// Writes the changed object, or shows it. `failed` begins the message when the server refuses.
    async fn put(&mut self, info: &Info, after: Value, done: &str, failed: &str) -> Result<(), Failure> {
        let shown = if self.is_shown_only() { after } else { self.put_silently(info, &after, failed).await? };
        self.writing.report(&shown, done)
    }

    /// Whether the server is not to know.
    fn is_shown_only(&self) -> bool {
        self.local || self.writing.dry_run == DryRun::Client
    }

    async fn put_silently(&self, info: &Info, after: &Value, failed: &str) -> Result<Value, Failure> {
        let (kind, patch) = two_way(&info.mapping, &info.object, after);
        let patched = info.patch(self.session.client()?, kind, &patch, &self.writing.write()).await;
        patched.map_err(|failure| match failed {
            "" => failure,
            _ => Failure::Plain(format!("{failed}{}", failure.bare())),
        })
    }

    /// As [`Setter::put`], unless nothing has changed.
    async fn put_changed(&mut self, info: &Info, after: Value, done: &str, failed: &str) -> Result<(), Failure> {
        if info.object == after { Ok(()) } else { self.put(info, after, done, failed).await }
    }

    fn refused(&self, info: &Info, why: &str) -> Failure {
        let name = if self.local { info.title() } else { format!("{}/{}", info.mapping.resource, info.name) };
        let end = if self.local && !info.mapping.group.is_empty() { "\n" } else { "" };
        Failure::Plain(format!("error: {name}{end} {why}\n"))
    }
}

/// Objects of files, as a client that knows their kinds sees them.
async fn local(asked: &Asked) -> Result<Vec<Info>, Failure> {
    if !asked.arguments.is_empty() {
        return fail!("{LOCAL_NEEDS_FILES}");
    }
    if asked.files.is_empty() {
        return fail!("{}", crate::objects::NOTHING);
    }
    let (documents, mut failures) = asked.files.read().await?;
    let mut infos = Vec::new();
    for document in documents {
        match typed(document.object) {
            Ok(info) if asked.namespace_given && !["", asked.namespace.as_str()].contains(&info.own_namespace()) => {
                failures.push(other_namespace(info.own_namespace(), &asked.namespace));
            }
            Ok(info) => infos.push(info),
            Err(why) => failures.push(Failure::Plain(format!("unable to decode {:?}: {why}", document.source))),
        }
    }
    Failure::all(failures)?;
    Ok(infos)
}

fn typed(mut object: Value) -> Result<Info, String> {
    let api_version = apimachinery::object::api_version(&object).to_owned();
    let kind = apimachinery::object::kind(&object).to_owned();
    for (text, what) in [(&kind, "Kind"), (&api_version, "apiVersion")] {
        if text.is_empty() {
            return Err(format!("Object '{what}' is missing in '{object}'"));
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let Some(definition) = api::schema::kind(group, version, &kind) else {
        return Err(format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"k8s.io/kubectl/pkg/scheme/scheme.go:28\""
        ));
    };
    apimachinery::strict::normalize(&mut object, definition.node())?;
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    let mapping = Mapping { group: group.to_owned(), version: version.to_owned(), kind, ..Mapping::default() };
    let (name, namespace) = (apimachinery::object::name(&object), apimachinery::object::namespace(&object));
    let mut info = Info::new(&Arc::new(mapping), namespace, name);
    info.object = object;
    Ok(info)
}

/// Words with an `=` or a `-` at their end are changes; the resources stand before them.
fn resources_and_pairs(arguments: &[String], what: &str) -> Result<(Vec<String>, Vec<String>), Failure> {
    let is_pair = |word: &String| word.find('=').is_some_and(|at| at > 0) || (word.ends_with('-') && word != "-");
    let first = arguments.iter().position(is_pair).unwrap_or(arguments.len());
    let (resources, pairs) = arguments.split_at(first);
    match pairs.iter().find(|word| !is_pair(word)) {
        Some(word) => fail!("all resources must be specified before {what} changes: {word}"),
        None => Ok((resources.to_vec(), pairs.to_vec())),
    }
}
