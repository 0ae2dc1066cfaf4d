//! What the writing verbs share: dry runs, field managers, validation, and how a write is reported.

use serde_json::Value;

use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Document, Write};
use crate::print::{Format, operation};
use crate::session::Session;

const DRY_RUN_FLAG: Flag = Flag::new(
    "dry-run",
    Kind::Optional("unchanged"),
    "Must be \"none\", \"server\", or \"client\". If client strategy, only print the object that would be sent, without \
     sending it.",
)
.or("none");

pub const DRY_RUN: &[Flag] = &[DRY_RUN_FLAG];

pub const FIELD_MANAGER: &[Flag] = &[Flag::text("field-manager", "Name of the manager used to track field ownership.")];

pub const FLAGS: &[Flag] = &[DRY_RUN_FLAG, FIELD_MANAGER[0]];

pub const VALIDATE: &[Flag] =
    &[Flag::new("validate", Kind::Optional("strict"), "Must be one of: strict (or true), warn, ignore (or false).")
        .or("strict")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    No,
    Client,
    Server,
}

impl DryRun {
    pub fn of(parsed: &Parsed) -> Result<Self, Failure> {
        match parsed.text("dry-run") {
            "none" => Ok(Self::No),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "unchanged" => fail!("Invalid dry-run value (). Must be \"none\", \"server\", or \"client\"."),
            other => fail!("Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."),
        }
    }

    pub fn suffix(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

pub struct Writing<'a> {
    session: &'a Session,
    pub dry_run: DryRun,
    manager: String,
    validate: Option<&'static str>,
    format: Option<Format>,
    /// Whether an object was shown already: YAML keeps them apart.
    shown: bool,
}

impl<'a> Writing<'a> {
    pub fn of(session: &'a Session, parsed: &Parsed, manager: &str) -> Result<Self, Failure> {
        let validate = if parsed.has("validate") { Some(validation(parsed.text("validate"))?) } else { None };
        Ok(Self {
            session,
            dry_run: if parsed.has("dry-run") { DryRun::of(parsed)? } else { DryRun::No },
            manager: manager_of(parsed, manager),
            validate,
            format: Format::of_written(parsed)?,
            shown: false,
        })
    }

    pub fn write(&self) -> Write<'_> {
        Write {
            manager: &self.manager,
            validate: self.validate,
            dry_run: self.dry_run == DryRun::Server,
            ..Write::default()
        }
    }

    pub fn validates(&self) -> bool {
        self.validate.is_some_and(|directive| directive != "Ignore")
    }

    /// Says what was done, or shows the object in the format that was asked for.
    pub fn report(&mut self, object: &Value, done: &str) -> Result<(), Failure> {
        let suffix = self.dry_run.suffix();
        self.report_without_dry_run(object, &format!("{done}{suffix}"))
    }

    /// As [`Writing::report`], for a verb whose words leave out that it was a dry run.
    pub fn report_without_dry_run(&mut self, object: &Value, done: &str) -> Result<(), Failure> {
        let streams = &self.session.streams;
        let Some(format) = &mut self.format else { return streams.print(operation(object, done)) };
        if std::mem::replace(&mut self.shown, true) && format.is_yaml() {
            streams.line("---")?;
        }
        format.show(object, streams)
    }

    /// Whether whole objects are shown; several then belong into one list.
    pub fn shows_objects(&self) -> bool {
        self.format.as_ref().is_some_and(|format| !matches!(format, Format::Name))
    }
}

fn manager_of(parsed: &Parsed, default: &str) -> String {
    let given = if parsed.has("field-manager") { parsed.some("field-manager") } else { None };
    given.unwrap_or(default).to_owned()
}

fn validation(text: &str) -> Result<&'static str, Failure> {
    match text.to_lowercase().as_str() {
        "true" | "strict" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "false" | "ignore" => Ok("Ignore"),
        _ => fail!("invalid - validate option {text:?}; must be one of: strict (or true), warn, ignore (or false)"),
    }
}

/// The documents up to the first of each file that does not say what it is: of that file nothing more is read.
pub fn check_types(documents: Vec<Document>, failures: &mut Vec<Failure>) -> Vec<Document> {
    let mut ended = None;
    let mut good = Vec::new();
    for document in documents {
        if ended.as_ref() == Some(&document.source) {
            continue;
        }
        match check_type(&document.object, &document.source) {
            Ok(()) => good.push(document),
            Err(failure) => {
                failures.push(failure);
                ended = Some(document.source);
            }
        }
    }
    good
}

/// What can be told to be wrong with a file's object without knowing its kind.
fn check_type(object: &Value, source: &str) -> Result<(), Failure> {
    let missing: Vec<String> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|field| object[*field].as_str().unwrap_or_default().is_empty())
        .map(|field| format!("{field} not set"))
        .collect();
    let why = match missing.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    fail!(
        "error validating {source:?}: error validating data: {why}; if you choose to ignore these errors, turn \
         validation off with --validate=false"
    )
}
