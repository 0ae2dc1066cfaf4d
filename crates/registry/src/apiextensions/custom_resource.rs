//! Objects of a kind that a definition defines, in one of its versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::apiextensions::columns::Printer;
use ::apiextensions::json_path::{JsonPath, text_of};
use ::apiextensions::rules::Rules;
use ::apiextensions::structural::{self, Root, Structural, Unsupported};
use ::apiextensions::{checks, definition::form};
use api::schema::SchemaNode;
use apimachinery::field::{ErrorKind, ErrorList, FieldError, Path};
use apimachinery::status::quote;
use serde_json::{Value, json};

use crate::cells::{list, text};
use crate::names::intern;
use crate::strategy::{Column, Context, DEFAULT_COLUMNS, ScalePaths, Strategy, keep_status};

/// Everything that the pipeline asks about a custom kind.
pub struct CustomResource {
    schema: Arc<Root>,
    rules: Rules,
    /// Definitions of old releases could ask that nothing is dropped.
    keeps_everything: bool,
    has_status: bool,
    scale: Option<Scale>,
    columns: Vec<Column>,
    printers: Vec<Printer>,
    selectable: Vec<(&'static str, Option<JsonPath>)>,
}

/// Why a version of a definition cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NotServable {
    #[error("there is no version {0:?}")]
    NoVersion(String),
    #[error("the schema cannot be used")]
    Schema(#[source] Unsupported),
}

/// Where replicas stand, as the definition says it and as JSON pointers.
struct Scale {
    spec: String,
    status: String,
    selector: String,
    pointers: [String; 3],
}

impl Scale {
    fn of(subresources: &Value) -> Option<Self> {
        let scale = subresources.get("scale").filter(|scale| scale.is_object())?;
        let path = |name: &str| text(scale, name).to_owned();
        let [spec, status, selector] =
            [path("/specReplicasPath"), path("/statusReplicasPath"), path("/labelSelectorPath")];
        let pointers = [pointer(&spec), pointer(&status), pointer(&selector)];
        Some(Self { spec, status, selector, pointers })
    }
}

/// `.spec.replicas` as `/spec/replicas`.
fn pointer(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1").replace('.', "/")
}

impl CustomResource {
    pub fn new(definition: &Value, version: &str) -> Result<Self, NotServable> {
        let versions = list(definition, "/spec/versions");
        let found = versions.iter().find(|candidate| candidate["name"] == version);
        let found = found.ok_or_else(|| NotServable::NoVersion(version.into()))?;
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = form::schema_of(definition, version).unwrap_or(&open);
        let structural = Structural::compile(schema).map_err(NotServable::Schema)?;
        let (columns, printers) = columns(list(found, "/additionalPrinterColumns"));
        Ok(Self {
            rules: Rules::compile(schema, &structural),
            schema: Arc::new(Root(structural)),
            keeps_everything: form::preserves_unknown_fields(definition),
            has_status: found["subresources"]["status"].is_object(),
            scale: Scale::of(&found["subresources"]),
            columns,
            printers,
            selectable: list(found, "/selectableFields").iter().map(selectable).collect(),
        })
    }

    /// The schema, for [`crate::strategy::Schema::Dynamic`].
    pub fn schema(&self) -> Arc<Root> {
        self.schema.clone()
    }

    pub fn has_status(&self) -> bool {
        self.has_status
    }

    pub fn has_scale(&self) -> bool {
        self.scale.is_some()
    }

    fn structural(&self) -> &Structural {
        &self.schema.0
    }

    /// Drops what the schema does not know, and answers with its paths.
    fn fit(&self, object: &mut Value, stored: bool) -> Result<Vec<String>, structural::Malformed> {
        let mut unknown = Vec::new();
        if !self.keeps_everything {
            unknown = structural::prune(object, self.structural(), true);
            structural::drop_nulls_without_defaults(object, Some(self.structural()));
        }
        let in_metadata = structural::coerce(object, self.structural(), stored)?;
        let (own, embedded): (Vec<_>, Vec<_>) = in_metadata.into_iter().partition(|path| path.starts_with("metadata."));
        Ok(own.into_iter().chain(unknown).chain(embedded).collect())
    }

    fn rules_for(&self, new: &Value, old: Option<&Value>, mut errors: ErrorList) -> ErrorList {
        if self.rules.is_empty() {
            return errors;
        }
        if errors.iter().any(blocks) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            errors.invalid(&Path::new(checks::NO_PATH), Value::Null, detail);
        } else {
            errors.append(self.rules.check(self.structural(), new, old));
        }
        errors
    }

    fn scale_spec(&self, object: &Value, errors: &mut ErrorList) {
        if let Some(scale) = &self.scale {
            replicas(object, &scale.spec, errors);
        }
    }

    fn scale_status(&self, object: &Value, errors: &mut ErrorList) {
        let Some(scale) = &self.scale else { return };
        replicas(object, &scale.status, errors);
        if scale.selector.is_empty() {
            return;
        }
        match nested(object, &scale.selector) {
            Ok(None | Some(Value::String(_))) => {}
            Ok(Some(other)) => errors.push(accessor(&scale.selector, other, "string", "".into())),
            Err(other) => errors.push(accessor(&scale.selector, other, "map[string]interface {}", "".into())),
        }
    }
}

/// Rules see only objects whose form is right.
fn blocks(error: &FieldError) -> bool {
    use ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

/// What lies at a simple path, or what is in the way.
fn nested<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, &'a Value> {
    let mut found = object;
    for name in path.trim_start_matches('.').split('.') {
        match found.as_object() {
            Some(map) => match map.get(name) {
                Some(value) => found = value,
                None => return Ok(None),
            },
            None => return Err(found),
        }
    }
    Ok(Some(found))
}

fn accessor(path: &str, found: &Value, expected: &str, zero: Value) -> FieldError {
    let ty = match found {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let detail = format!("{path} accessor error: {} is of the type {ty}, expected {expected}", checks::go_text(found));
    FieldError::invalid(&Path::new(path), zero, detail)
}

fn replicas(object: &Value, path: &str, errors: &mut ErrorList) {
    let found = match nested(object, path) {
        Ok(None) => return,
        Ok(Some(found)) => found,
        Err(other) => return errors.push(accessor(path, other, "map[string]interface {}", 0.into())),
    };
    match found.as_i64() {
        None => errors.push(accessor(path, found, "int64", 0.into())),
        Some(count) if count < 0 => errors.invalid(&Path::new(path), count, "should be a non-negative integer"),
        Some(count) if count > i64::from(i32::MAX) => {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            errors.invalid(&Path::new(path), count, detail);
        }
        Some(_) => {}
    }
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not \
                   guaranteed to be set in happens-before order across separate operations. Clients may not set this \
                   value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for \
                   lists. More info: \
                   https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The name, then what the definition says; the age when it says nothing.
fn columns(given: &[Value]) -> (Vec<Column>, Vec<Printer>) {
    let age = json!([{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": AGE}]);
    let given = if given.is_empty() { age.as_array().map(Vec::as_slice).unwrap_or_default() } else { given };
    let printers = given.iter().map(|column| Printer::new(text(column, "/jsonPath"), text(column, "/type")));
    let printers: Vec<Printer> = printers.collect();
    let others = given.iter().zip(&printers).map(|(column, printer)| column_of(column, printer));
    (std::iter::once(Column::NAME).chain(others).collect(), printers)
}

fn column_of(column: &Value, printer: &Printer) -> Column {
    let (path, told) = (text(column, "/jsonPath"), text(column, "/description"));
    let by_path = || format!("Custom resource definition column (in JSONPath format): {path}");
    let description = if told.is_empty() { by_path() } else { told.to_owned() };
    let priority = column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default();
    Column {
        name: text(column, "/name").to_owned().into(),
        kind: printer.kind(),
        format: intern(text(column, "/format")),
        description: description.into(),
        priority,
    }
}

fn selectable(field: &Value) -> (&'static str, Option<JsonPath>) {
    let path = text(field, "/jsonPath");
    (intern(path.trim_start_matches('.')), JsonPath::parse(path))
}

impl Strategy for CustomResource {
    fn decode(&self, object: &mut Value, _node: SchemaNode<'_>) -> Result<Vec<String>, String> {
        let unknown = self.fit(object, false).map_err(|why| why.to_string())?;
        Ok(unknown.iter().map(|path| format!("unknown field {}", quote(path))).collect())
    }

    fn prepare_for_create(&self, object: &mut Value, _context: &Context<'_>) {
        if let (true, Some(map)) = (self.has_status, object.as_object_mut()) {
            map.remove("status");
        }
    }

    fn default(&self, object: &mut Value) {
        structural::default(object, self.structural());
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = checks::validate(object, self.structural(), &Path::root());
        self.scale_spec(object, &mut errors);
        self.scale_status(object, &mut errors);
        errors.append(structural::check_metadata(object, self.structural(), &Path::root(), false));
        errors.append(structural::check_lists(object, self.structural(), &Path::root()));
        self.rules_for(object, None, errors)
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        if self.has_status {
            keep_status(new, old);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = checks::validate_update(new, Some(old), self.structural(), &Path::root());
        self.scale_spec(new, &mut errors);
        self.scale_status(new, &mut errors);
        errors.append(structural::check_metadata(new, self.structural(), &Path::root(), false));
        if structural::check_lists(old, self.structural(), &Path::root()).is_empty() {
            errors.append(structural::check_lists(new, self.structural(), &Path::root()));
        }
        self.rules_for(new, Some(old), errors)
    }

    /// Everything but the status is as it was, but for who manages it.
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        let mut kept = old.clone();
        let managed = new.pointer("/metadata/managedFields").cloned();
        let version = new.pointer("/metadata/resourceVersion").cloned();
        for (name, value) in [("managedFields", managed), ("resourceVersion", version)] {
            let metadata = apimachinery::object::metadata_mut(&mut kept);
            match value {
                Some(value) => drop(metadata.insert(name.into(), value)),
                None => drop(metadata.remove(name)),
            }
        }
        keep_status(&mut kept, new);
        *new = kept;
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        if let (Some(status), Some(schema)) = (new.get("status"), self.structural().property("status")) {
            errors.append(checks::validate_update(status, old.get("status"), schema, &Path::new("status")));
        }
        self.scale_status(new, &mut errors);
        let wrong = structural::check_lists(new, self.structural(), &Path::root());
        if !wrong.is_empty() && structural::check_lists(old, self.structural(), &Path::root()).is_empty() {
            errors.append(wrong);
        }
        self.rules_for(new, Some(old), errors)
    }

    /// With a status subresource the status is not part of what is wanted.
    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        let counts = |name: &str| name != "metadata" && !(name == "status" && self.has_status);
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old != new };
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|name| counts(name)).collect();
        names.into_iter().any(|name| old.get(name) != new.get(name))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" if self.has_status => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        }
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let known = old.map(|old| list(old, "/metadata/finalizers")).unwrap_or_default();
        let added = list(new, "/metadata/finalizers").iter().filter(|finalizer| !known.contains(finalizer));
        let added: BTreeSet<&str> = added.filter_map(Value::as_str).collect();
        let mut warnings = old.map(|old| self.part_warnings("", new, old)).unwrap_or_default();
        warnings.extend(added.into_iter().flat_map(finalizer_warnings));
        warnings
    }

    /// Rules that are broken as they were before.
    fn part_warnings(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<String> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        self.rules.forgiven(self.structural(), new, old).iter().map(ToString::to_string).collect()
    }

    fn columns(&self) -> &[Column] {
        if self.columns.is_empty() { DEFAULT_COLUMNS } else { &self.columns }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let cells = self.printers.iter().map(|printer| printer.cell(object, now));
        std::iter::once(crate::cells::name(object)).chain(cells).collect()
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |path: &Option<JsonPath>| match path.as_ref().and_then(|path| path.first(object)) {
            None | Some(Value::Null) => String::new(),
            Some(value) => text_of(value),
        };
        self.selectable.iter().map(|(name, path)| (*name, value(path))).collect()
    }

    fn scale(&self) -> Option<ScalePaths<'_>> {
        let [spec_replicas, status_replicas, selector] = &self.scale.as_ref()?.pointers;
        Some(ScalePaths { spec_replicas, status_replicas, selector })
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    /// What lies in storage was written by another release, or under another schema.
    fn from_storage(&self, mut object: Value) -> Value {
        structural::default(&mut object, self.structural());
        if let Err(why) = self.fit(&mut object, true) {
            debug_assert!(false, "malformed fields of stored objects are dropped: {why}");
        }
        object
    }
}

fn finalizer_warnings(finalizer: &str) -> Vec<String> {
    const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let prefix = format!("metadata.finalizers: {}", quote(finalizer));
    let wrong = apimachinery::validation::is_qualified_name(finalizer);
    let mut warnings: Vec<String> = wrong.into_iter().map(|why| format!("{prefix}: {why}")).collect();
    if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
        let path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        warnings.push(format!(
            "{prefix}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer \
             writers"
        ));
    }
    warnings
}
