//! The tables say something of everything, and nothing of what does not exist.

use std::collections::BTreeSet;

use super::*;
use crate::schema;

/// Beyond this, the tables are to be compressed.
const SIZE_MAX: usize = 250_000;

fn texts() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|(_, texts)| texts.iter().copied())
}

/// The definitions of a table by the last word of their names.
fn named<'a>(prefix: &'a str, short: &'a str) -> impl Iterator<Item = &'static schema::Definition> + 'a {
    let of_table = schema::definitions().iter().filter(move |definition| definition.name.starts_with(prefix));
    of_table.filter(move |definition| definition.name.rsplit_once('.').is_some_and(|(_, last)| last == short))
}

#[test]
fn every_definition_and_field_is_described() {
    let mut missing = Vec::new();
    for schema in schema::definitions() {
        let description = of(schema.name);
        if description.definition().is_none() {
            missing.push(schema.name.to_owned());
        }
        let fields = schema.fields().iter().filter(|field| description.field(field.name).is_none());
        missing.extend(fields.map(|field| format!("{}.{}", schema.name, field.name)));
    }
    assert!(missing.is_empty(), "{} without a description:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn nothing_is_described_that_does_not_exist() {
    for (prefix, section) in
        TABLES.iter().flat_map(|(p, texts)| texts.iter().flat_map(|t| sections(t)).map(|s| (*p, s)))
    {
        assert!(named(prefix, section.name).next().is_some(), "{prefix}{} does not exist", section.name);
        for (field, _) in section.lines() {
            let known = named(prefix, section.name).any(|definition| definition.field(field).is_some());
            assert!(known, "{}.{field} does not exist", section.name);
        }
        if let Some(parent) = section.parent {
            assert!(sections_named(prefix, parent), "{} takes from {parent}, which nothing is said of", section.name);
        }
    }
}

fn sections_named(prefix: &str, name: &str) -> bool {
    TABLES.iter().any(|(p, texts)| *p == prefix && section_of(texts, name).is_some())
}

#[test]
fn each_is_described_once_and_in_sentences() {
    for text in texts().chain([SHARED]) {
        for section in sections(text) {
            let mut seen = BTreeSet::new();
            for (field, said) in section.lines() {
                assert!(seen.insert(field), "{}.{field} is described twice", section.name);
                assert!(said.ends_with(['.', '…']), "{}.{field} does not end: {said}", section.name);
            }
            let lines = section.fields.lines().filter(|line| !line.is_empty()).count();
            assert_eq!(lines, seen.len(), "a line of {} is no field", section.name);
        }
    }
    for (prefix, texts) in TABLES {
        let names: Vec<_> = texts.iter().flat_map(|text| sections(text)).map(|section| section.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{prefix} has a section twice");
    }
}

#[test]
fn what_is_shared_is_said_where_it_fits() {
    let pod = "io.k8s.api.core.v1.Pod";
    assert_eq!(field(pod, "status"), field("io.k8s.api.apps.v1.Deployment", "status"));
    assert_ne!(field(pod, "status"), field("io.k8s.api.core.v1.PodCondition", "status"));
    assert_ne!(field(pod, "kind"), field("io.k8s.api.rbac.v1.RoleRef", "kind"));
    let image = |kind| field(kind, "image");
    assert_eq!(image("io.k8s.api.core.v1.EphemeralContainer"), image("io.k8s.api.core.v1.Container"));
    assert!(definition("io.k8s.api.core.v1.PodList").is_some_and(|about| about.contains("list")));
    assert_eq!(field(pod, "nope"), None);
    assert_eq!(definition("com.example.v1.Pod"), None);
}

/// Only kinds have an apiVersion and a kind that speak of themselves.
#[test]
fn references_say_themselves_what_kind_they_mean() {
    for schema in schema::definitions().iter().filter(|schema| schema.field("metadata").is_none()) {
        let own = ["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions"];
        if own.iter().any(|kind| schema.name.ends_with(kind)) {
            continue;
        }
        for name in ["apiVersion", "kind"].into_iter().filter(|name| schema.field(name).is_some()) {
            assert_ne!(of(schema.name).field(name), field("io.k8s.api.core.v1.Pod", name), "{}.{name}", schema.name);
        }
    }
}

#[test]
fn the_tables_stay_small() {
    let size: usize = texts().map(str::len).sum();
    assert!(size < SIZE_MAX, "{size} bytes");
}
