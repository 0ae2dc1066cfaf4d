//! Options of requests, from the query and (for deletions) the body, and what is wrong with them.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation;
use apimachinery::{GroupKind, Status};
use serde::{Deserialize, Serialize};

use crate::call::Call;

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    pub manager: String,
}

impl WriteOptions {
    /// Of the server's own writes.
    pub fn own(call: &Call) -> WriteOptions {
        WriteOptions { dry_run: false, field_validation: FieldValidation::Ignore, manager: call.field_manager() }
    }

    /// `kind`: CreateOptions, UpdateOptions, PatchOptions.
    pub fn of(call: &Call, kind: &str) -> Result<WriteOptions, Status> {
        let query = &call.query;
        let (manager, validation) = (query.text("fieldManager"), query.text("fieldValidation"));
        let dry_run: Vec<String> = query.all("dryRun").map(str::to_string).collect();
        let force = query.get("force").map(|_| query.is_true("force"));
        let errors = match kind {
            "PatchOptions" => {
                let applies = crate::verbs::apply::is_asked(call);
                validation::validate_patch_options(manager, &dry_run, validation, force, applies)
            }
            _ => validation::validate_create_options(manager, &dry_run, validation),
        };
        refuse(kind, &errors)?;
        let field_validation = match validation {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        };
        Ok(WriteOptions { dry_run: !dry_run.is_empty(), field_validation, manager: call.field_manager() })
    }
}

fn refuse(kind: &str, errors: &ErrorList) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", errors))
}

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphan_dependents: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<Vec<String>>,
}

impl DeleteOptions {
    /// From the body if there is one, else from the query.
    pub fn of(call: &Call, body: &[u8]) -> Result<DeleteOptions, Status> {
        let options = if body.is_empty() { DeleteOptions::from_query(call)? } else { from_body(call, body)? };
        options.check()?;
        *call.delete_options.lock() = Some(options.shown());
        Ok(options)
    }

    fn from_query(call: &Call) -> Result<DeleteOptions, Status> {
        let query = &call.query;
        let grace = query.get("gracePeriodSeconds").map(str::parse).transpose();
        let dry_run: Vec<String> = query.all("dryRun").map(str::to_string).collect();
        Ok(DeleteOptions {
            grace_period_seconds: grace.map_err(|error| Status::bad_request(format!("gracePeriodSeconds: {error}")))?,
            preconditions: None,
            orphan_dependents: query.get("orphanDependents").map(|_| query.is_true("orphanDependents")),
            propagation_policy: query.get("propagationPolicy").map(str::to_string),
            dry_run: (!dry_run.is_empty()).then_some(dry_run),
        })
    }

    /// As webhooks see them.
    fn shown(&self) -> serde_json::Value {
        let mut shown = serde_json::to_value(self).expect("options are JSON");
        shown["kind"] = "DeleteOptions".into();
        shown["apiVersion"] = "meta.k8s.io/v1".into();
        shown
    }

    fn check(&self) -> Result<(), Status> {
        let dry_run = self.dry_run.clone().unwrap_or_default();
        let policy = self.propagation_policy.as_deref();
        refuse("DeleteOptions", &validation::validate_delete_options(policy, self.orphan_dependents, &dry_run))
    }

    pub fn dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|values| !values.is_empty())
    }

    /// Whether only one version of the object is to be deleted.
    pub fn has_version(&self) -> bool {
        self.preconditions.as_ref().is_some_and(|wanted| wanted.resource_version.is_some())
    }

    /// To delete only this version.
    #[must_use]
    pub fn at_version(mut self, version: &str) -> DeleteOptions {
        self.preconditions.get_or_insert_default().resource_version = Some(version.into());
        self
    }

    pub fn propagation(&self) -> Option<Propagation> {
        match (self.orphan_dependents, self.propagation_policy.as_deref()) {
            (Some(true), _) => Some(Propagation::Orphan),
            (Some(false), _) => Some(Propagation::Background),
            (None, policy) => parse_policy(policy?),
        }
    }
}

fn parse_policy(text: &str) -> Option<Propagation> {
    match text {
        "Orphan" => Some(Propagation::Orphan),
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        _ => None,
    }
}

fn from_body(call: &Call, body: &[u8]) -> Result<DeleteOptions, Status> {
    let value = crate::decode::parse(&call.headers, body, ("v1", "DeleteOptions"))?;
    let kind = value.get("kind").and_then(serde_json::Value::as_str).unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        return Err(Status::bad_request(format!("decoded object cannot be converted to DeleteOptions: {kind}")));
    }
    DeleteOptions::deserialize(value).map_err(|error| Status::bad_request(error.to_string()))
}

/// How a list or watch relates to revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Unset,
    Exact,
    NotOlderThan,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug)]
pub struct ListOptions {
    pub labels: apimachinery::labels::Selector,
    pub fields: apimachinery::fields::Selector,
    /// `None` when unset or empty.
    pub version: Option<u64>,
    pub version_match: VersionMatch,
    pub limit: usize,
    pub continue_token: String,
    pub timeout_seconds: Option<u64>,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    pub fn of(call: &Call, watch: bool) -> Result<ListOptions, Status> {
        let query = &call.query;
        let labels = apimachinery::labels::Selector::parse(query.text("labelSelector"))
            .map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = apimachinery::fields::Selector::parse(query.text("fieldSelector"))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let parsed = ListOptions {
            labels,
            fields,
            version: version(query.text("resourceVersion"))?,
            version_match: VersionMatch::Unset,
            // A negative limit is none.
            limit: usize::try_from(number::<i64>(query.text("limit"), "limit")?.unwrap_or(0)).unwrap_or(0),
            continue_token: query.text("continue").to_string(),
            timeout_seconds: number(query.text("timeoutSeconds"), "timeoutSeconds")?,
            bookmarks: query.is_true("allowWatchBookmarks"),
            send_initial_events: query.get("sendInitialEvents").map(|_| query.is_true("sendInitialEvents")),
        };
        parsed.with_match(query.text("resourceVersionMatch"), watch, query.text("resourceVersion"))
    }

    fn with_match(mut self, text: &str, watch: bool, version: &str) -> Result<ListOptions, Status> {
        let mut errors = ErrorList::new();
        if watch {
            self.check_watch(text, &mut errors)
        } else {
            self.check_list(text, version, &mut errors)
        }
        refuse("ListOptions", &errors)?;
        self.version_match = match text {
            "Exact" => VersionMatch::Exact,
            "NotOlderThan" => VersionMatch::NotOlderThan,
            _ => VersionMatch::Unset,
        };
        Ok(self)
    }

    fn check_watch(&self, text: &str, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        match (self.send_initial_events, text) {
            (None, "") | (Some(_), "NotOlderThan") => {}
            (None, _) => {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.forbidden(&path, why);
            }
            (Some(_), _) => {
                errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            }
        }
        if !matches!(text, "" | "NotOlderThan") {
            errors.not_supported(&path, text, &["NotOlderThan"]);
        }
        if !text.is_empty() && !self.continue_token.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
    }

    fn check_list(&self, text: &str, version: &str, errors: &mut ErrorList) {
        let path = Path::new("resourceVersionMatch");
        if self.send_initial_events.is_some() {
            let initial = Path::new("sendInitialEvents");
            errors.forbidden(&initial, "sendInitialEvents is forbidden for list");
        }
        if text.is_empty() {
            return;
        }
        if version.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !self.continue_token.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        match text {
            "Exact" if version == "0" => {
                errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            "Exact" | "NotOlderThan" => {}
            other => errors.not_supported(&path, other, &["Exact", "NotOlderThan", ""]),
        }
    }
}

/// A resource version of a query: unset, or a number.
pub fn version(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"))
    })
}

fn number<N: std::str::FromStr>(text: &str, name: &str) -> Result<Option<N>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Status::bad_request(format!("{name}: strconv.ParseInt: parsing {text:?}: invalid syntax")))
}
