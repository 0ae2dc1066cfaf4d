//! `apply`: makes the server's objects be as files say, keeping what others have set.

mod prune;
mod three_way;

use serde_json::{Value, json};

use super::delete::Removal;
use super::edit;
use super::writing::{self, DryRun, Writing, check_types};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Files, Info, Mapping, Patch, Write};
use crate::print::{OUTPUT_FLAGS, compact_json};
use crate::session::Session;

pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ATTEMPTS: usize = 5;

pub const COMMAND: Command = Command {
    name: "apply",
    about: "Apply a configuration to a resource by file name or stdin",
    usage: "(-f FILENAME | -k DIRECTORY) [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, writing::VALIDATE, FLAGS],
    children: &[&edit::EDIT_LAST_APPLIED, &edit::SET_LAST_APPLIED, &edit::VIEW_LAST_APPLIED],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources in the namespace of the specified resource types."),
    Flag::new("cascade", Kind::Optional("background"), "Accepted for compatibility.").or("background"),
    Flag::switch("force", "If true, immediately remove resources from API and bypass graceful deletion."),
    Flag::switch("force-conflicts", "If true, server-side apply will force the changes against conflicts."),
    Flag::number("grace-period", "-1", "Accepted for compatibility."),
    Flag::switch("openapi-patch", "Accepted for compatibility.").or("true"),
    Flag::switch("overwrite", "Accepted for compatibility.").or("true"),
    Flag::switch("prune", "Automatically delete resource objects that do not appear in the configs."),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::switch("server-side", "If true, apply runs in the server instead of the client."),
    Flag::text("subresource", "If specified, apply will operate on the subresource of the requested object."),
    Flag::new("prune-allowlist", Kind::Texts, "Overwrite the default allowlist with <group/version/kind> for --prune"),
    Flag::new("timeout", Kind::Duration, "Accepted for compatibility.").or("0s"),
    Flag::switch("wait", "Accepted for compatibility."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return Err(session.usage(format!("Unexpected args: [{}]", parsed.arguments.join(" "))));
    }
    if !parsed.given("filename") {
        return fail!("must specify one of -f and -k");
    }
    prune::check(&parsed)?;
    let server_side = parsed.on("server-side");
    if parsed.on("force-conflicts") && !server_side {
        return fail!("--force-conflicts only works with --server-side");
    }
    let manager = if server_side { "kubectl" } else { "kubectl-client-side-apply" };
    let writing = Writing::of(session, &parsed, manager)?;
    if server_side && writing.dry_run == DryRun::Client {
        return fail!("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)");
    }
    let mut apply = Apply { session, parsed: &parsed, writing, shown: Vec::new() };
    let (infos, unread) = apply.read().await?;
    // What could not be read counts as one.
    let mut failures: Vec<Failure> = Failure::all(unread).err().into_iter().collect();
    if infos.is_empty() && failures.is_empty() {
        return fail!("no objects passed to apply");
    }
    let mut visited = prune::Visited::default();
    for info in infos {
        visited.see(&info);
        let applied = if server_side { apply.on_server(info).await } else { apply.one(info).await };
        failures.extend(applied.err());
    }
    if failures.is_empty() && parsed.on("prune") {
        let pruned = prune::prune(session, &parsed, apply.writing.dry_run, &visited).await;
        failures.extend(pruned.err());
    }
    if failures.is_empty() {
        apply.show_all()?;
    }
    Failure::all(failures)
}

struct Apply<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    writing: Writing<'a>,
    /// What is shown at the end, when a whole object was asked for.
    shown: Vec<Value>,
}

impl Apply<'_> {
    fn report(&mut self, object: Value, done: &str) -> Result<(), Failure> {
        if self.writing.shows_objects() {
            self.shown.push(object);
            return Ok(());
        }
        self.writing.report(&object, done)
    }

    fn show_all(&mut self) -> Result<(), Failure> {
        match std::mem::take(&mut self.shown) {
            none if none.is_empty() => Ok(()),
            mut one if one.len() == 1 => self.writing.report(&one.remove(0), ""),
            many => {
                let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": many});
                self.writing.report(&list, "")
            }
        }
    }

    async fn read(&self) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
        let (mut documents, mut failures) = Files::of(self.parsed)?.read().await?;
        if self.writing.validates() {
            documents = check_types(documents, &mut failures);
        }
        let (namespace, namespace_given) = self.session.config.namespace();
        let asked = Asked { namespace, namespace_given, ..Asked::default() };
        let selector = apimachinery::labels::Selector::parse(self.parsed.text("selector"))
            .map_err(|error| format!("the provided selector is not valid: {error}"))?;
        let mut infos = Vec::new();
        for document in documents {
            let catalog = self.session.catalog().await?;
            match asked.place(document.object, &document.source, catalog) {
                Ok(info) if selector.matches(apimachinery::object::labels(&info.object)) => infos.push(info),
                Ok(_) => {}
                Err(failure) => failures.push(failure),
            }
        }
        Ok((infos, failures))
    }

    async fn on_server(&mut self, info: Info) -> Result<(), Failure> {
        let subresource = self.parsed.some("subresource").map(|name| format!("/{name}")).unwrap_or_default();
        let write = Write { subresource: &subresource, ..self.writing.write() };
        let call = server_side(&info, &write, self.parsed.on("force-conflicts"));
        let applied = call.value(self.session.client()?).await.map_err(conflicting)?;
        self.report(applied, "serverside-applied")
    }

    async fn one(&mut self, mut info: Info) -> Result<(), Failure> {
        if info.name.is_empty()
            && let Some(generated) = info.object["metadata"]["generateName"].as_str()
        {
            return fail!("from {generated}: cannot use generate name with apply");
        }
        set_last_applied(&mut info.object);
        let current = info.get(self.session.client()?).await;
        match current {
            Ok(current) => self.change(info, current).await,
            Err(failure) if failure.is_not_found() => self.create(info).await,
            Err(failure) => {
                let doing = format!("retrieving current configuration of:\n{}\nfrom server for:", described(&info));
                Err(failure.with_source(&doing, info.source.as_deref()))
            }
        }
    }

    async fn create(&mut self, mut info: Info) -> Result<(), Failure> {
        prune_nulls(&mut info.object);
        if self.writing.dry_run != DryRun::Client {
            let created = info.create(self.session.client()?, &self.writing.write()).await;
            info.object = created.map_err(|failure| failure.with_source("creating", info.source.as_deref()))?;
        }
        self.report(info.object, "created")
    }

    async fn change(&mut self, info: Info, mut current: Value) -> Result<(), Failure> {
        if apimachinery::object::annotation(&current, LAST_APPLIED).is_none() {
            self.session.warn(&format!(
                "resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl \
                 apply should only be used on resources created declaratively by either kubectl create --save-config \
                 or kubectl apply. The missing annotation will be patched automatically.",
                info.mapping.resource, info.name
            ));
        }
        let mut attempt = 0;
        let latest = current.clone();
        let patched = loop {
            let (kind, patch) = patch_of(&info, &current)?;
            if patch == json!({}) {
                break None;
            }
            if self.writing.dry_run == DryRun::Client {
                break Some(current);
            }
            attempt += 1;
            match info.patch(self.session.client()?, kind, &patch, &self.writing.write()).await {
                Ok(patched) => break Some(patched),
                Err(failure) if failure.has_reason("Conflict") && attempt < ATTEMPTS => {
                    current = info.get(self.session.client()?).await?;
                }
                Err(failure)
                    if self.parsed.on("force") && (failure.has_reason("Invalid") || failure.has_reason("Conflict")) =>
                {
                    break Some(self.make_anew(&info).await?);
                }
                Err(failure) => {
                    let doing = format!("applying patch:\n{patch}\nto:\n{}\nfor:", described(&info));
                    return Err(failure.with_source(&doing, info.source.as_deref()));
                }
            }
        };
        match patched {
            Some(object) => self.report(object, "configured"),
            None => self.report(latest, "unchanged"),
        }
    }
}

impl Apply<'_> {
    /// Where a patch is not possible: deletes, waits, and creates.
    async fn make_anew(&self, info: &Info) -> Result<Value, Failure> {
        Removal::of(self.parsed)?.finish(self.session, info).await?;
        let mut info = info.clone();
        prune_nulls(&mut info.object);
        info.create(self.session.client()?, &self.writing.write()).await
    }
}

/// What an apply would leave on the server. `force` is that of a server-side apply.
pub async fn dry_applied(
    session: &Session,
    mut info: Info,
    live: Value,
    write: &Write<'_>,
    force: Option<bool>,
) -> Result<Value, Failure> {
    let client = session.client()?;
    if let Some(force) = force {
        return server_side(&info, write, force).value(client).await.map_err(conflicting);
    }
    // The annotation would differ whenever anything does: it is left as it is.
    apimachinery::object::child_mut(&mut info.object["metadata"], "annotations").remove(LAST_APPLIED);
    if live.is_null() {
        prune_nulls(&mut info.object);
        return info.create(client, write).await;
    }
    match patch_of(&info, &live)? {
        (_, patch) if patch == json!({}) => Ok(live),
        (kind, patch) => info.patch(client, kind, &patch, write).await,
    }
}

fn server_side(info: &Info, write: &Write<'_>, force: bool) -> Call {
    Call::new(http::Method::PATCH, info.path() + write.subresource)
        .content("application/apply-patch+yaml", info.object.to_string())
        .maybe("dryRun", write.dry_run.then_some("All"))
        .query("fieldManager", write.manager)
        .maybe("fieldValidation", write.validate)
        .query("force", if force { "true" } else { "false" })
}

pub fn described(info: &Info) -> String {
    let Info { mapping, name, namespace, .. } = info;
    format!(
        "Resource: \"{}, Resource={}\", GroupVersionKind: \"{}, Kind={}\"\nName: {name:?}, Namespace: {namespace:?}",
        group_version(&mapping.group, &mapping.version),
        mapping.resource,
        group_version(&mapping.group, &mapping.version),
        mapping.kind
    )
}

fn group_version(group: &str, version: &str) -> String {
    format!("{group}/{version}")
}

/// The patch from what is to what the file says, knowing what the file said before.
fn patch_of(info: &Info, current: &Value) -> Result<(Patch, Value), Failure> {
    let original = match apimachinery::object::annotation(current, LAST_APPLIED) {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("{LAST_APPLIED}: {error}"))?,
        None => json!({}),
    };
    let definition = api::schema::kind(&info.mapping.group, &info.mapping.version, &info.mapping.kind);
    let schema = definition.map(api::schema::Definition::node);
    let patch = three_way::patch(&original, &info.object, current, schema);
    Ok((if schema.is_some() { Patch::Strategic } else { Patch::Merge }, patch))
}

/// The patch from an object to what it is to become.
pub fn two_way(mapping: &Mapping, before: &Value, after: &Value) -> (Patch, Value) {
    let definition = api::schema::kind(&mapping.group, &mapping.version, &mapping.kind);
    let schema = definition.map(api::schema::Definition::node);
    let kind = if schema.is_some() { Patch::Strategic } else { Patch::Merge };
    (kind, three_way::patch(before, after, before, schema))
}

/// Writes down, in an annotation, what the file says.
pub fn set_last_applied(object: &mut Value) {
    let annotations = apimachinery::object::child_mut(&mut object["metadata"], "annotations");
    annotations.remove(LAST_APPLIED);
    let text = compact_json(object) + "\n";
    apimachinery::object::set_annotation(object, LAST_APPLIED, &text);
}

fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

fn conflicting(failure: Failure) -> Failure {
    let message = failure.status().map(|status| status.message.clone()).unwrap_or_default();
    if failure.has_reason("UnsupportedMediaType") || failure.has_reason("NotAcceptable") {
        return Failure::Plain(format!("Server-side apply not available on the server: ({message})"));
    }
    if !failure.has_reason("Conflict") {
        return failure;
    }
    Failure::Plain(format!(
        "{message}
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"
    ))
}
