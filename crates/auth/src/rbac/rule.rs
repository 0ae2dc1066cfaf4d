//! A policy rule: what it matches and what it covers.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::Attributes;

/// A rule of a Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The rules of a role object; what is not a rule is skipped.
pub fn rules_of(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

impl Rule {
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        match asked.path {
            Some(path) => self.verb_matches(asked.verb) && self.url_matches(path),
            None => self.allows_resource(asked),
        }
    }

    fn allows_resource(&self, asked: &Attributes<'_>) -> bool {
        self.verb_matches(asked.verb)
            && contains_or_star(&self.api_groups, asked.group)
            && self.resource_matches(asked.resource, asked.subresource)
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == asked.name))
    }

    fn verb_matches(&self, verb: &str) -> bool {
        contains_or_star(&self.verbs, verb)
    }

    fn resource_matches(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| match rule.split_once('/') {
            None => rule == "*" || (subresource.is_empty() && rule == resource),
            Some((left, right)) => !subresource.is_empty() && right == subresource && (left == "*" || left == resource),
        })
    }

    fn url_matches(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|rule| url_rule_matches(rule, path))
    }

    /// One rule for each single combination, so that covering can be judged piece by piece.
    pub fn breakdown(&self) -> Vec<Rule> {
        let mut pieces = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    self.push_named(&mut pieces, group, resource, verb);
                }
            }
        }
        for url in &self.non_resource_urls {
            for verb in &self.verbs {
                pieces.push(Rule {
                    verbs: vec![verb.clone()],
                    non_resource_urls: vec![url.clone()],
                    ..Rule::default()
                });
            }
        }
        pieces
    }

    fn push_named(&self, pieces: &mut Vec<Rule>, group: &str, resource: &str, verb: &str) {
        let piece = Rule {
            verbs: vec![verb.to_string()],
            api_groups: vec![group.to_string()],
            resources: vec![resource.to_string()],
            ..Rule::default()
        };
        if self.resource_names.is_empty() {
            pieces.push(piece);
            return;
        }
        for name in &self.resource_names {
            pieces.push(Rule { resource_names: vec![name.clone()], ..piece.clone() });
        }
    }

    /// Whether this rule alone grants all of the single combination `piece`.
    pub fn covers(&self, piece: &Rule) -> bool {
        let verbs = piece.verbs.iter().all(|verb| self.verb_matches(verb));
        if !piece.non_resource_urls.is_empty() {
            return verbs && piece.non_resource_urls.iter().all(|url| self.url_matches(url));
        }
        verbs
            && piece.api_groups.iter().all(|group| contains_or_star(&self.api_groups, group))
            && piece.resources.iter().all(|resource| self.covers_resource(resource))
            && self.covers_names(piece)
    }

    fn covers_resource(&self, resource: &str) -> bool {
        self.resources.iter().any(|own| {
            own == "*"
                || own == resource
                || own.strip_prefix("*/").is_some_and(|sub| resource.split_once('/').is_some_and(|(_, s)| s == sub))
        })
    }

    fn covers_names(&self, piece: &Rule) -> bool {
        self.resource_names.is_empty()
            || (!piece.resource_names.is_empty()
                && piece.resource_names.iter().all(|name| self.resource_names.contains(name)))
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`, as a refusal prints it.
    pub fn compact(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.non_resource_urls),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{values:?}"))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn contains_or_star(values: &[String], wanted: &str) -> bool {
    values.iter().any(|value| value == "*" || value == wanted)
}

fn url_rule_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}
