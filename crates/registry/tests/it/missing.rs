//! The golden list of what upstream serves and we do not. It may only shrink.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::recorded::documents;

const LIST: &str = include_str!("../output/missing.txt");

/// `group/version resource verb`, of resources and subresources in discovery.
fn upstream() -> BTreeSet<String> {
    let aggregated = documents("kubernetes-1.36/discovery").into_iter().find(|found| found["items"].is_array());
    let mut lines = BTreeSet::new();
    for group in list(&aggregated.unwrap_or_default(), "items") {
        for version in list(group, "versions") {
            let place = format!("{}/{}", text(&group["metadata"], "name"), text(version, "version"));
            for resource in list(version, "resources") {
                let name = text(resource, "resource");
                lines.extend(verbs(&place, name, resource));
                for sub in list(resource, "subresources") {
                    lines.extend(verbs(&place, &format!("{name}/{}", text(sub, "subresource")), sub));
                }
            }
        }
    }
    lines
}

fn verbs(place: &str, name: &str, resource: &Value) -> Vec<String> {
    list(resource, "verbs").iter().map(|verb| format!("{place} {name} {}", verb.as_str().unwrap())).collect()
}

fn ours() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for resource in registry::resources() {
        let place = format!("{}/{}", resource.group, resource.version);
        lines.extend(resource.verbs.iter().map(|verb| format!("{place} {} {verb}", resource.name)));
        for sub in &resource.subresources {
            lines.extend(sub.verbs.iter().map(|verb| format!("{place} {}/{} {verb}", resource.name, sub.name)));
        }
    }
    lines
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[test]
fn what_is_not_served_is_listed_and_the_list_only_shrinks() {
    let upstream = upstream();
    if upstream.is_empty() {
        return;
    }
    let served = ours();
    let missing: BTreeSet<&str> = upstream.difference(&served).map(String::as_str).collect();
    let listed: BTreeSet<&str> = LIST.lines().collect();
    let new: Vec<_> = missing.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&missing).collect();
    assert!(new.is_empty(), "no longer served: {new:#?}");
    assert!(gone.is_empty(), "served now: remove from tests/output/missing.txt: {gone:#?}");
}
