//! The rounds of an edit: show, let edit, read, write; and once more if the server finds fault with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::editor::Editor;
use super::text::{Reason, go_syntax, has_lines, header, same, uncommented, validate};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::{Asked, Info, Patch, Write, decode_documents, members_of, other_namespace};
use crate::print::{compact_json, to_json, to_yaml};
use crate::session::Session;
use crate::verbs::apply::{LAST_APPLIED, set_last_applied, two_way};
use crate::verbs::writing::Writing;

/// What becomes of the edited objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Patch,
    Create,
    /// The objects are what was applied last; the annotation gets them.
    LastApplied,
}

/// Lets the user edit these objects, in one file.
pub async fn edit_all(
    session: &Session,
    parsed: &Parsed,
    writing: Writing<'_>,
    mode: Mode,
    infos: Vec<Info>,
) -> Result<(), Failure> {
    let editor = Editor::of(&session.streams);
    let mut rounds = Rounds { session, parsed, writing, mode, infos, managed: BTreeMap::new(), file: None };
    let mut next = Round::First;
    loop {
        next = match rounds.round(&editor, next).await? {
            Some(next) => next,
            None => return Ok(()),
        };
    }
}

/// What the user is shown.
enum Round {
    First,
    /// As it was written on the server, after a first failure in the same round.
    Again {
        edited: String,
        reasons: Vec<Reason>,
    },
}

/// What the server has found fault with.
#[derive(Default)]
struct Faults {
    reasons: Vec<Reason>,
    retryable: bool,
    missing: bool,
}

struct Rounds<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    writing: Writing<'a>,
    mode: Mode,
    infos: Vec<Info>,
    /// The managed fields are not the user's to edit: by UID, until they are put back.
    managed: BTreeMap<String, Value>,
    /// The user's work so far.
    file: Option<PathBuf>,
}

impl Rounds<'_> {
    async fn round(&mut self, editor: &Editor, round: Round) -> Result<Option<Round>, Failure> {
        let is_json = self.parsed.text("output") == "json";
        let (before, reasons) = match round {
            Round::First => (None, Vec::new()),
            Round::Again { edited, reasons } => (Some(edited), reasons),
        };
        let heading = if is_json { String::new() } else { header(self.mode == Mode::LastApplied, &reasons) };
        let original = self.body(is_json).map_err(|failure| self.preserved(failure))?;
        let shown = match &before {
            None => self.lines(&(heading + &original)),
            Some(edited) => self.lines(&heading) + &uncommented(edited),
        };
        let extension = if is_json { ".json" } else { ".yaml" };
        let edited = editor.edit(extension, &shown).await;
        let (path, edited) = edited.map_err(|failure| self.preserved(failure))?;
        if before.as_ref().is_some_and(|before| same(before, &edited)) {
            self.file = Some(path);
            return Err(self.preserved("Edit cancelled, no valid changes were saved.".into()));
        }
        self.forget_file();
        self.file = Some(path);
        if let Err(why) = validate(&edited) {
            return Ok(Some(self.not_valid(edited, &why)));
        }
        if same(&original, &edited) {
            return self.cancel("Edit cancelled, no changes made.");
        }
        if !has_lines(&edited) {
            return self.cancel("Edit cancelled, saved file was empty.");
        }
        self.read_and_write(edited).await
    }

    fn cancel(&mut self, why: &str) -> Result<Option<Round>, Failure> {
        self.forget_file();
        self.session.streams.note(why);
        Ok(None)
    }

    /// Puts the objects into one text.
    fn body(&mut self, is_json: bool) -> Result<String, Failure> {
        let output = self.parsed.text("output");
        if !["", "json", "yaml"].contains(&output) {
            return fail!(
                "unable to match a printer suitable for the output format {output:?}, allowed formats are: json,kyaml,yaml"
            );
        }
        for info in &mut self.infos {
            let uid = apimachinery::object::uid(&info.object).to_owned();
            let fields = apimachinery::object::metadata_mut(&mut info.object).remove("managedFields");
            if let Some(fields) = fields {
                self.managed.insert(uid, fields);
            }
        }
        let objects: Vec<&Value> = self.infos.iter().map(|info| &info.object).collect();
        let whole = match objects.as_slice() {
            [one] => (*one).clone(),
            many => json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": many}),
        };
        Ok(if is_json { to_json(&whole) + "\n" } else { to_yaml(&whole) })
    }

    fn lines(&self, text: &str) -> String {
        if self.parsed.on("windows-line-endings") { text.replace('\n', "\r\n") } else { text.to_owned() }
    }

    /// Says where the user's work is, if it is anywhere.
    fn preserved(&self, failure: Failure) -> Failure {
        if let Some(file) = self.file.as_ref().filter(|file| file.exists()) {
            let path = file.display().to_string();
            self.session.streams.note(format!("A copy of your changes has been stored to {path:?}"));
        }
        failure
    }

    fn forget_file(&mut self) {
        if let Some(file) = self.file.take() {
            // If it has gone already, all the better.
            let _ = std::fs::remove_file(file);
        }
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }

    fn not_valid(&self, edited: String, why: &str) -> Round {
        let first = &self.infos[0];
        let (resource, name) = (first.mapping.qualified(), &first.name);
        self.session.streams.note(format!("error: {resource} {name:?} is invalid"));
        let reason = Reason {
            head: format!("{resource} {name:?} was not valid"),
            details: vec![format!("<nil>: Invalid value: \"The edited file failed validation\": {why}")],
        };
        Round::Again { edited, reasons: vec![reason] }
    }

    async fn read_and_write(&mut self, edited: String) -> Result<Option<Round>, Failure> {
        let updated = match self.read(&edited).await {
            Ok(updated) => updated,
            Err(failure) => {
                let head = format!("The edited file had a syntax error: {}", failure.bare());
                return Ok(Some(Round::Again { edited, reasons: vec![Reason { head, details: Vec::new() }] }));
            }
        };
        let written = self.write(updated).await;
        let faults = written.map_err(|failure| self.preserved(failure))?;
        let (streams, file) = (&self.session.streams, self.file_name());
        if faults.retryable {
            streams.note(format!("You can run `kubectl replace -f {file}` to try this update again."));
            return Err(Failure::Exit(1));
        }
        if faults.missing {
            streams.note(format!("The edits you made on deleted resources have been saved to {file:?}"));
            return Err(Failure::Exit(1));
        }
        if faults.reasons.is_empty() {
            self.forget_file();
            return Ok(None);
        }
        Ok(Some(Round::Again { edited, reasons: faults.reasons }))
    }

    /// The objects of the text, with their managed fields again.
    async fn read(&self, edited: &str) -> Result<Vec<Info>, Failure> {
        let catalog = self.session.catalog().await?;
        let asked = Asked { namespace: self.session.namespace(), ..Asked::default() };
        let mut updated = Vec::new();
        for object in decode_documents(edited)?.into_iter().flat_map(members_of) {
            updated.push(asked.place(object, "edited-file", catalog)?);
        }
        Ok(updated)
    }

    async fn write(&mut self, mut updated: Vec<Info>) -> Result<Faults, Failure> {
        let here = self.session.namespace();
        for info in updated.iter_mut().chain(&mut self.infos) {
            if let Some(fields) = self.managed.get(apimachinery::object::uid(&info.object)) {
                apimachinery::object::metadata_mut(&mut info.object).insert("managedFields".into(), fields.clone());
            }
        }
        for info in &mut updated {
            if info.mapping.namespaced && info.namespace != here {
                return Err(other_namespace(&info.namespace, &here));
            }
            if self.parsed.has("save-config") && self.parsed.on("save-config") {
                set_last_applied(&mut info.object);
            }
        }
        let mut faults = Faults::default();
        for info in &updated {
            match self.mode {
                Mode::Patch => self.patch(info, &mut faults).await?,
                Mode::Create => {
                    let created = info.create(self.session.client()?, &self.writing.write()).await?;
                    self.writing.report(&created, "created")?;
                }
                Mode::LastApplied => self.annotate(info).await?,
            }
        }
        Ok(faults)
    }

    fn original_of(&self, info: &Info) -> Result<&Info, Failure> {
        let uid = apimachinery::object::uid(&info.object);
        let original = self.infos.iter().find(|original| apimachinery::object::uid(&original.object) == uid);
        original.ok_or_else(|| {
            let object = go_syntax(&info.object);
            Failure::Plain(format!("no original object found for &unstructured.Unstructured{{Object:{object}}}"))
        })
    }

    async fn patch(&mut self, info: &Info, faults: &mut Faults) -> Result<(), Failure> {
        let original = self.original_of(info)?;
        if original.object == info.object {
            return self.writing.report(&info.object, "skipped");
        }
        let identity =
            |object: &Value| [&object["apiVersion"], &object["kind"], &object["metadata"]["name"]].map(Value::clone);
        if identity(&original.object) != identity(&info.object) {
            return fail!("At least one of apiVersion, kind and name was changed");
        }
        let (kind, patch) = two_way(&info.mapping, &original.object, &info.object);
        if self.parsed.on("output-patch") {
            self.session.streams.line(format!("Patch: {}", compact_json(&patch)))?;
        }
        let subresource = self.parsed.some("subresource").map(|name| format!("/{name}")).unwrap_or_default();
        let write = Write { subresource: &subresource, ..self.writing.write() };
        match info.patch(self.session.client()?, kind, &patch, &write).await {
            Ok(patched) => self.writing.report(&patched, "edited"),
            Err(failure) => {
                self.session.streams.note(faults.add(&failure, info));
                Ok(())
            }
        }
    }

    async fn annotate(&mut self, info: &Info) -> Result<(), Failure> {
        if self.original_of(info)?.object == info.object {
            return self.writing.report(&info.object, "skipped");
        }
        let patch = json!({"metadata": {"annotations": {LAST_APPLIED: compact_json(&info.object)}}});
        info.patch(self.session.client()?, Patch::Merge, &patch, &self.writing.write()).await?;
        self.writing.report(&info.object, "edited")
    }
}

impl Faults {
    /// Remembers a refusal, and words it.
    fn add(&mut self, failure: &Failure, info: &Info) -> String {
        let (resource, name) = (info.mapping.qualified(), &info.name);
        if failure.is_not_found() {
            self.missing = true;
            return format!("error: {resource} {name:?} could not be found on the server");
        }
        if !failure.has_reason("Invalid") {
            self.retryable = true;
            return format!("error: {resource} {name:?} could not be patched: {}", failure.bare());
        }
        let causes = failure.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
        let details = causes.into_iter().flatten().map(|cause| format!("{}: {}", cause.field, cause.message));
        self.reasons.push(Reason { head: format!("{resource} {name:?} was not valid"), details: details.collect() });
        format!("error: {resource} {name:?} is invalid")
    }
}
