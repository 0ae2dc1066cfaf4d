//! A definition in the form that it is validated in: what all versions agree on stands once, for the whole.

use apimachinery::field::Path;
use serde_json::Value;

use crate::json::{field, flag, list, text};

/// `spec`, with the parts of a version where they belong.
pub struct Form<'a> {
    pub spec: &'a Value,
    pub path: Path,
    pub versions: Vec<Version<'a>>,
    /// The parts that all versions share.
    pub common: Parts<'a>,
}

pub struct Version<'a> {
    pub name: &'a str,
    pub value: &'a Value,
    pub path: Path,
    /// Where the versions do not agree.
    pub own: Parts<'a>,
}

/// What a version can have of its own.
#[derive(Clone, Copy, Default)]
pub struct Parts<'a> {
    pub schema: Option<&'a Value>,
    pub subresources: Option<&'a Value>,
    pub columns: &'a [Value],
    pub selectable: &'a [Value],
}

impl<'a> Form<'a> {
    pub fn of(definition: &'a Value) -> Self {
        let spec = &definition["spec"];
        let path = Path::new("spec");
        let all = list(spec, "versions");
        let parts: Vec<Parts<'a>> = all.iter().map(Parts::of).collect();
        let common = Parts::common(&parts);
        let versions = all.iter().zip(parts).enumerate().map(|(index, (value, parts))| Version {
            name: text(value, "name"),
            value,
            path: path.child("versions").index(index),
            own: parts.without(&common),
        });
        Self { spec, versions: versions.collect(), common, path }
    }

    /// All schemas, with the name of the version they belong to; the empty name is all versions.
    pub fn schemas(&self) -> impl Iterator<Item = &'a Value> {
        let own = self.versions.iter().filter_map(|version| version.own.schema);
        self.common.schema.into_iter().chain(own).filter_map(|schema| field(schema, "openAPIV3Schema"))
    }

    /// The first version, under which parts that all share are known.
    pub fn first_version(&self) -> &'a str {
        self.versions.first().map_or("", |version| version.name)
    }

    pub fn status_of(&self, version: &Version<'a>) -> bool {
        has_status(version.own.subresources.or(self.common.subresources))
    }

    pub fn any_status(&self) -> bool {
        has_status(self.common.subresources) || self.versions.iter().any(|version| has_status(version.own.subresources))
    }
}

fn has_status(subresources: Option<&Value>) -> bool {
    subresources.is_some_and(|subresources| field(subresources, "status").is_some())
}

impl<'a> Parts<'a> {
    fn of(version: &'a Value) -> Self {
        Self {
            schema: field(version, "schema"),
            subresources: field(version, "subresources"),
            columns: list(version, "additionalPrinterColumns"),
            selectable: list(version, "selectableFields"),
        }
    }

    fn common(all: &[Self]) -> Self {
        let Some(first) = all.first() else { return Self::default() };
        let same = |test: &dyn Fn(&Self) -> bool| all.iter().all(test);
        Self {
            schema: first.schema.filter(|_| same(&|parts| parts.schema == first.schema)),
            subresources: first.subresources.filter(|_| same(&|parts| parts.subresources == first.subresources)),
            columns: if same(&|parts| parts.columns == first.columns) { first.columns } else { &[] },
            selectable: if same(&|parts| parts.selectable == first.selectable) { first.selectable } else { &[] },
        }
    }

    fn without(self, common: &Self) -> Self {
        Self {
            schema: self.schema.filter(|_| common.schema.is_none()),
            subresources: self.subresources.filter(|_| common.subresources.is_none()),
            columns: if common.columns.is_empty() { self.columns } else { &[] },
            selectable: if common.selectable.is_empty() { self.selectable } else { &[] },
        }
    }
}

/// The schema that objects of a version have.
pub fn schema_of<'a>(definition: &'a Value, version: &str) -> Option<&'a Value> {
    let versions = list(&definition["spec"], "versions");
    let found = versions.iter().find(|candidate| text(candidate, "name") == version)?;
    field(found, "schema").and_then(|schema| field(schema, "openAPIV3Schema"))
}

/// Whether a condition stands at `True`.
pub fn condition_is_true(definition: &Value, name: &str) -> bool {
    let conditions = list(&definition["status"], "conditions");
    conditions.iter().any(|condition| text(condition, "type") == name && text(condition, "status") == "True")
}

pub fn preserves_unknown_fields(definition: &Value) -> bool {
    flag(&definition["spec"], "preserveUnknownFields")
}
