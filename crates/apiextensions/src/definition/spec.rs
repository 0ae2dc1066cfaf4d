//! Rules for `spec`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, object_meta};
use serde_json::Value;

use super::form::{self, Form, Parts, Version};
use super::{Options, conversion, default_values, is_set, names, parts, schema, structurality, visit};
use crate::json::{entries, field, flag, list, text};
use crate::structural::Structural;

pub fn validate(definition: &Value, options: &Options<'_>) -> ErrorList {
    let form = Form::of(definition);
    let (spec, path) = (form.spec, &form.path);
    let mut errors = ErrorList::new();
    let options = &tightened(&form, options);
    group_and_scope(spec, path, &mut errors);
    schemas_are_there(&form, options, &mut errors);
    if form.schemas().any(has_defaults) && form::preserves_unknown_fields(definition) {
        let detail = "must be false in order to use defaults in the schema";
        errors.invalid(&path.child("preserveUnknownFields"), true, detail);
    }
    versions(&form, options, &mut errors);
    required_names(spec, path, &mut errors);
    errors.append(names::validate(&spec["names"], &path.child("names")));
    errors.append(schema::validate(
        form.common.schema,
        form.any_status(),
        options,
        form.first_version(),
        &path.child("validation"),
    ));
    errors.append(common_parts(&form, options));
    errors.append(conversion::validate(spec, path, options));
    errors
}

/// Pruning, defaults and extensions work on structural schemas only.
fn tightened<'a>(form: &Form<'_>, options: &Options<'a>) -> Options<'a> {
    let mut options = options.clone();
    let needs = !flag(form.spec, "preserveUnknownFields")
        || form.schemas().any(has_defaults)
        || form.schemas().any(|schema| visit::any(schema, &mut has_extension));
    options.structural = options.structural || needs;
    options
}

fn has_defaults(schema: &Value) -> bool {
    visit::any(schema, &mut |schema| field(schema, "default").is_some())
}

fn has_extension(schema: &Value) -> bool {
    let there = [
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ];
    there.iter().any(|name| is_set(schema, name)) || field(schema, "x-kubernetes-preserve-unknown-fields").is_some()
}

fn group_and_scope(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (group, at) = (text(spec, "group"), path.child("group"));
    let wrong = is_dns1123_subdomain(group);
    match group {
        "" => errors.required(&at, ""),
        _ if !wrong.is_empty() => errors.invalid(&at, group, wrong.join(",")),
        _ if !group.contains('.') => errors.invalid(&at, group, "should be a domain with at least one dot"),
        _ => {}
    }
    match text(spec, "scope") {
        "" => errors.required(&path.child("scope"), ""),
        "Cluster" | "Namespaced" => {}
        scope => errors.not_supported(&path.child("scope"), scope, &["Cluster", "Namespaced"]),
    }
}

fn schemas_are_there(form: &Form<'_>, options: &Options<'_>, errors: &mut ErrorList) {
    let pruned = !flag(form.spec, "preserveUnknownFields");
    if has_schema(form.common.schema) || (!options.schema && !pruned) {
        return;
    }
    let detail = if options.schema { "" } else { "because otherwise all fields are pruned" };
    for version in form.versions.iter().filter(|version| !has_schema(version.own.schema)) {
        if options.schema || flag(version.value, "served") {
            errors.required(&version.path.child("schema").child("openAPIV3Schema"), detail);
        }
    }
}

fn has_schema(validation: Option<&Value>) -> bool {
    validation.is_some_and(|validation| field(validation, "openAPIV3Schema").is_some())
}

fn versions(form: &Form<'_>, options: &Options<'_>, errors: &mut ErrorList) {
    for version in &form.versions {
        let wrong = is_dns1035_label(version.name);
        if !wrong.is_empty() {
            errors.invalid(&version.path.child("name"), version.name, wrong.join(","));
        }
        errors.append(version_rules(form, version, options));
    }
    let (path, all) = (form.path.child("versions"), form.spec["versions"].clone());
    let unique = form
        .versions
        .iter()
        .enumerate()
        .all(|(index, version)| !form.versions[..index].iter().any(|other| other.name == version.name));
    if !unique {
        errors.invalid(&path, all.clone(), "must contain unique version names");
    }
    if form.versions.iter().filter(|version| flag(version.value, "storage")).count() != 1 {
        errors.invalid(&path, all, "must have exactly one version marked as storage version");
    }
    if form.versions.is_empty() {
        return;
    }
    let (first, wrong) = (form.first_version(), is_dns1035_label(form.first_version()));
    if !first.is_empty() && !wrong.is_empty() {
        errors.invalid(&form.path.child("version"), first, wrong.join(","));
    }
}

fn version_rules(form: &Form<'_>, version: &Version<'_>, options: &Options<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = &version.path;
    deprecation(version.value, &path.child("deprecationWarning"), &mut errors);
    errors.append(schema::validate(
        version.own.schema,
        form.status_of(version),
        options,
        version.name,
        &path.child("schema"),
    ));
    errors.append(parts_rules(&version.own, path));
    let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
    errors.append(selectable_rules(&version.own, path, detail, same_selectable(form, version.name, options)));
    errors
}

fn common_parts(form: &Form<'_>, options: &Options<'_>) -> ErrorList {
    let mut errors = parts_rules(&form.common, &form.path);
    let detail = "may only be set when validations.schema is included";
    errors.append(selectable_rules(&form.common, &form.path, detail, same_selectable(form, "", options)));
    errors
}

fn parts_rules(parts: &Parts<'_>, path: &Path) -> ErrorList {
    let mut errors = parts::subresources(parts.subresources, &path.child("subresources"));
    for (index, column) in parts.columns.iter().enumerate() {
        errors.append(parts::column(column, &path.child("additionalPrinterColumns").index(index)));
    }
    errors
}

fn selectable_rules(parts: &Parts<'_>, path: &Path, without: &str, grandfathered: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    if parts.selectable.is_empty() {
        return errors;
    }
    let at = path.child("selectableFields");
    let Some(schema) = parts.schema.and_then(|schema| field(schema, "openAPIV3Schema")) else {
        errors.invalid(&at, "", without);
        return errors;
    };
    match Structural::compile(schema) {
        Ok(schema) => errors.append(parts::selectable(parts.selectable, &schema, &at, grandfathered)),
        Err(why) => errors.invalid(&path.child("schema.openAPIV3Schema"), "", why.to_string()),
    }
    errors
}

/// Whether there were too many selectable fields before, and they are the same. The empty name is what all versions share.
fn same_selectable(form: &Form<'_>, version: &str, options: &Options<'_>) -> bool {
    let Some(old) = options.old.map(Form::of) else { return false };
    let of = |form: &Form<'_>| match version {
        "" => Some(form.common.selectable.to_vec()),
        _ => form.versions.iter().find(|known| known.name == version).map(|known| known.own.selectable.to_vec()),
    };
    of(&old).is_some_and(|before| parts::too_many(&before) && of(form) == Some(before))
}

fn deprecation(version: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(warning) = field(version, "deprecationWarning").and_then(Value::as_str) else { return };
    if !flag(version, "deprecated") {
        return errors.invalid(path, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid(path, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(path, warning, "must not be an empty string");
    }
    let printable = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace());
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| !printable(*c)) {
        let detail =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.invalid(path, warning, detail);
    }
}

fn required_names(spec: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"], name).is_empty() {
            errors.required(&path.child("names").child(name), "");
        }
    }
}

/// What may not change.
pub fn immutable(new: &Value, old: &Value, options: &Options<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut check = |pointer: &str, path: &str| {
        let (new, old) = (new.pointer(pointer).unwrap_or(&Value::Null), old.pointer(pointer).unwrap_or(&Value::Null));
        errors.append(object_meta::immutable(new, old, &Path::new(path)));
    };
    if options.immutable_names {
        check("/spec/scope", "spec.scope");
        check("/spec/names/kind", "spec.names.kind");
    }
    check("/spec/group", "spec.group");
    check("/spec/names/plural", "spec.names.plural");
    errors
}

/// What was stored once may stay as wrong as it is.
pub fn options_for_update(old: &Value) -> Options<'_> {
    let form = Form::of(old);
    let none = |test: &dyn Fn(&Value) -> bool| !form.schemas().any(test);
    let webhook = &form.spec["conversion"]["webhook"];
    let reviews = list(webhook, "conversionReviewVersions");
    let bundle = text(&webhook["clientConfig"], "caBundle");
    let established = form::condition_is_true(old, "Established");
    let in_all = has_schema(form.common.schema) || form.versions.iter().all(|version| has_schema(version.own.schema));
    Options {
        recognized_review_version: reviews.is_empty() || conversion::any_known(reviews),
        immutable_names: established,
        schema: in_all,
        valid_types: none(&|schema| visit::any(schema, &mut schema::has_invalid_type)),
        structural: none(&|schema| !structurality::is_structural(schema)),
        pruned_defaults: none(&default_values::has_unpruned),
        atomic_sets: none(&|schema| visit::any(schema, &mut schema::has_non_atomic_set)),
        list_keys: none(&|schema| visit::any(schema, &mut |s| !schema::list_items(s, &Path::root()).is_empty())),
        any_ca_bundle: !established || (!bundle.is_empty() && !conversion::is_ca_bundle(bundle)),
        old: Some(old),
    }
}

/// Properties of a schema, for the rules beside.
pub fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    entries(schema, "properties")
}
