//! The published discovery facts of Kubernetes 1.36: groups in discovery's order, versions by preference.

mod tables;

/// An API group; the core group has the empty name and comes first.
#[derive(Debug)]
pub struct Group {
    pub name: &'static str,
    pub versions: &'static [Version],
}

#[derive(Debug)]
pub struct Version {
    pub name: &'static str,
    pub resources: &'static [Resource],
}

#[derive(Debug)]
pub struct Resource {
    pub name: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    pub verbs: &'static [&'static str],
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub storage_version_hash: &'static str,
    pub subresources: &'static [Subresource],
}

/// `group` and `version` are empty when they are those of the resource.
#[derive(Debug)]
pub struct Subresource {
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

pub fn groups() -> &'static [Group] {
    &tables::GROUPS
}

pub fn resource(group: &str, version: &str, name: &str) -> Option<&'static Resource> {
    let group = groups().iter().find(|candidate| candidate.name == group)?;
    let version = group.versions.iter().find(|candidate| candidate.name == version)?;
    version.resources.iter().find(|candidate| candidate.name == name)
}
