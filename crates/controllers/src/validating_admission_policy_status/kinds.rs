//! The kinds that rules name, and the declared types of their objects.

use std::sync::Arc;

use api::apiextensionsv1::{CustomResourceDefinition, CustomResourceDefinitionVersion};
use api::{discovery, schema};
use apimachinery::Gvk;
use expressions::DeclType;

use crate::pods::is_deleted;

/// All kinds: the built-in ones, and those of definitions.
pub(super) struct Kinds<'a> {
    definitions: &'a [Arc<CustomResourceDefinition>],
}

impl<'a> Kinds<'a> {
    pub fn new(definitions: &'a [Arc<CustomResourceDefinition>]) -> Self {
        Self { definitions }
    }

    /// The kinds of a resource, by its plural or singular name. Without a group, every group that has the version counts.
    pub fn of(&self, group: &str, version: &str, resource: &str) -> Vec<Gvk> {
        let resource = resource.to_lowercase();
        let mut found = built_in(group, version, &resource);
        found.extend(self.served().filter_map(|(definition, served)| {
            let names = &definition.spec.names;
            let named = names.plural == resource || names.singular.as_deref() == Some(resource.as_str());
            let asked = (group.is_empty() || definition.spec.group == group) && served.name == version;
            (named && asked).then(|| Gvk::new(&definition.spec.group, version, &names.kind))
        }));
        found
    }

    fn served(&self) -> impl Iterator<Item = (&'a CustomResourceDefinition, &'a CustomResourceDefinitionVersion)> {
        let established = self.definitions.iter().filter(|definition| is_established(definition));
        established.flat_map(|definition| {
            let versions = definition.spec.versions.iter().filter(|version| version.served);
            versions.map(move |version| (definition.as_ref(), version))
        })
    }

    /// The type of a kind's objects; any value where the schema says nothing. `None` for kinds that nobody serves.
    pub fn declared(&self, kind: &Gvk) -> Option<Arc<DeclType>> {
        if let Some(definition) = schema::kind(&kind.group, &kind.version, &kind.kind) {
            return Some(Arc::new(expressions::built_in(definition)));
        }
        let mut served = self.served();
        let (_, version) = served.find(|(definition, version)| {
            definition.spec.group == kind.group
                && definition.spec.names.kind == kind.kind
                && version.name == kind.version
        })?;
        Some(Arc::new(custom(version)))
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let established = conditions.into_iter().any(|one| one.type_ == "Established" && one.status == "True");
    established && !is_deleted(&definition.metadata)
}

fn built_in(group: &str, version: &str, resource: &str) -> Vec<Gvk> {
    let groups = discovery::groups().iter().filter(|known| group.is_empty() || known.name == group);
    let versions = groups.flat_map(|group| group.versions.iter().map(move |version| (group.name, version)));
    let versions = versions.filter(|(_, known)| known.name == version);
    let kinds = versions.flat_map(|(group, known)| {
        let named = known.resources.iter().filter(|one| one.name == resource || one.singular == resource);
        named.map(move |one| Gvk::new(group, known.name, one.kind))
    });
    kinds.collect()
}

fn custom(version: &CustomResourceDefinitionVersion) -> DeclType {
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let schema = schema.and_then(|schema| serde_json::to_value(schema).ok());
    schema.and_then(|schema| expressions::structural(&schema, true)).unwrap_or_else(DeclType::dynamic)
}
