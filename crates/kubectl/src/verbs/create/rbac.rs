//! `create role`, `clusterrole`, `rolebinding` and `clusterrolebinding`: who may do what.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::Catalog;
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

pub const ROLE: Command = Command {
    name: "role",
    about: "Create a role with single rule",
    usage: "NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename] \
            [--dry-run=server|client|none] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, RULE],
    run: runs!(role),
    ..Command::EMPTY
};

pub const CLUSTER_ROLE: Command = Command {
    name: "clusterrole",
    about: "Create a cluster role",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        RULE,
        &[
            Flag::list("aggregation-rule", "An aggregation label selector for combining ClusterRoles."),
            Flag::list("non-resource-url", "A partial url that user should have access to."),
        ],
    ],
    run: runs!(cluster_role),
    ..ROLE
};

pub const ROLE_BINDING: Command = Command {
    name: "rolebinding",
    about: "Create a role binding for a particular role or cluster role",
    usage: "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] \
            [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        SUBJECTS,
        &[Flag::text("role", "Role this RoleBinding should reference")],
    ],
    run: runs!(role_binding),
    ..Command::EMPTY
};

pub const CLUSTER_ROLE_BINDING: Command = Command {
    name: "clusterrolebinding",
    about: "Create a cluster role binding for a particular cluster role",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, SUBJECTS],
    run: runs!(cluster_role_binding),
    ..ROLE_BINDING
};

const RULE: &[Flag] = &[
    Flag::list("verb", "Verb that applies to the resources contained in the rule"),
    Flag::list("resource", "Resource that the rule applies to"),
    Flag::new("resource-name", Kind::Texts, "Resource in the white list that the rule applies to"),
];

const SUBJECTS: &[Flag] = &[
    // Hides the global flag, as upstream's does.
    Flag::new("user", Kind::Texts, "Usernames to bind to the role."),
    Flag::text("clusterrole", "ClusterRole this binding should reference"),
    Flag::new("group", Kind::Texts, "Groups to bind to the role."),
    Flag::new("serviceaccount", Kind::Texts, "Service accounts to bind to the role, in the format <namespace>:<name>."),
];

const STANDARD_VERBS: &[&str] = &[
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "*",
];
const URL_VERBS: &[&str] = &["get", "post", "put", "delete", "patch", "head", "options", "*"];

fn unique(values: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

/// The verbs; a star alone stands for all.
fn verbs(parsed: &Parsed) -> Vec<String> {
    let verbs = unique(parsed.list("verb"));
    if verbs.iter().any(|verb| verb == "*") { vec!["*".into()] } else { verbs }
}

/// What a rule is about: group, resource with its subresource.
fn resources(catalog: &Catalog, parsed: &Parsed) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in parsed.list("resource") {
        let (group, resource) = resource(catalog, &word)?;
        let known = groups.entry(group).or_default();
        if !known.contains(&resource) {
            known.push(resource);
        }
    }
    Ok(groups)
}

fn resource(catalog: &Catalog, word: &str) -> Result<(String, String), Failure> {
    let (name, subresource) = word.split_once('/').map_or((word, ""), |(name, rest)| (name, rest));
    if name.is_empty() {
        return fail!("resource with empty name is not allowed: {word:?}");
    }
    let (group, resource) = match name.split_once('.') {
        _ if name == "*" => (String::new(), "*".to_owned()),
        Some(("*", group)) => (group.to_owned(), "*".to_owned()),
        _ => {
            let mapping = catalog.resource(name)?;
            (mapping.group.clone(), mapping.resource.clone())
        }
    };
    let slash = if subresource.is_empty() { "" } else { "/" };
    Ok((group, format!("{resource}{slash}{subresource}")))
}

/// A rule for each group.
fn rules(groups: BTreeMap<String, Vec<String>>, verbs: &[String], names: &[String]) -> Vec<Value> {
    let rule = |(group, resources): (String, Vec<String>)| {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    groups.into_iter().map(rule).collect()
}

fn warn_of_verbs(session: &Session, verbs: &[String], known: &[&str]) {
    for verb in verbs.iter().filter(|verb| !known.contains(&verb.as_str())) {
        session.warn(&format!("'{verb}' is not a standard resource verb"));
    }
}

async fn resource_rules(session: &Session, parsed: &Parsed, verbs: &[String]) -> Result<Vec<Value>, Failure> {
    warn_of_verbs(session, verbs, STANDARD_VERBS);
    let names = unique(parsed.texts("resource-name"));
    if !names.is_empty() && verbs.iter().any(|verb| verb == "create" || verb == "deletecollection") {
        session.warn("resource names do not restrict create or deletecollection");
    }
    Ok(rules(resources(session.catalog().await?, parsed)?, verbs, &names))
}

async fn role(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let verbs = verbs(&parsed);
    if verbs.is_empty() {
        return fail!("at least one verb must be specified");
    }
    if parsed.list("resource").is_empty() {
        return fail!("at least one resource must be specified");
    }
    let rules = resource_rules(session, &parsed, &verbs).await?;
    let object = json!({"apiVersion": API_VERSION, "kind": "Role", "metadata": {"name": name}, "rules": rules});
    create_made(session, &parsed, object, None).await
}

async fn cluster_role(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let mut object = json!({"apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": {"name": name}});
    let aggregation = parsed.list("aggregation-rule");
    if aggregation.is_empty() {
        object["rules"] = json!(cluster_rules(session, &parsed).await?);
    } else {
        if ["verb", "resource", "resource-name", "non-resource-url"].iter().any(|flag| parsed.given(flag)) {
            return fail!("aggregation rule must be specified without nonResourceURLs, resources or verbs");
        }
        let labels = super::plain::pairs(&aggregation)?;
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
        object["rules"] = Value::Null;
    }
    create_made(session, &parsed, object, None).await
}

async fn cluster_rules(session: &Session, parsed: &Parsed) -> Result<Vec<Value>, Failure> {
    let verbs = verbs(parsed);
    let urls = unique(parsed.list("non-resource-url"));
    let has_resources = !parsed.list("resource").is_empty();
    if verbs.is_empty() {
        return fail!("at least one verb must be specified");
    }
    if !has_resources && urls.is_empty() {
        return fail!("one of resource or nonResourceURL must be specified");
    }
    let mut all = Vec::new();
    if has_resources {
        all = resource_rules(session, parsed, &verbs).await?;
    }
    if !urls.is_empty() {
        if let Some(verb) = verbs.iter().find(|verb| !URL_VERBS.contains(&verb.as_str())) {
            return fail!("invalid verb: '{verb}' for nonResourceURL");
        }
        all.push(json!({"nonResourceURLs": urls, "verbs": verbs}));
    }
    Ok(all)
}

/// Users, groups and service accounts.
fn subjects(parsed: &Parsed) -> Result<Vec<Value>, Failure> {
    let named = |kind: &str, name: String| json!({"apiGroup": GROUP, "kind": kind, "name": name});
    let mut subjects: Vec<Value> = unique(parsed.texts("user")).into_iter().map(|name| named("User", name)).collect();
    subjects.extend(unique(parsed.texts("group")).into_iter().map(|name| named("Group", name)));
    for account in unique(parsed.texts("serviceaccount")) {
        match account.split(':').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
            }
            _ => return fail!("serviceaccount must be <namespace>:<name>"),
        }
    }
    Ok(subjects)
}

fn binding(kind: &str, name: &str, role: (&str, &str), parsed: &Parsed) -> Result<Value, Failure> {
    Ok(json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": role.0, "name": role.1},
        "subjects": subjects(parsed)?,
    }))
}

async fn role_binding(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let role = match (parsed.some("clusterrole"), parsed.some("role")) {
        (Some(name), None) => ("ClusterRole", name),
        (None, Some(name)) => ("Role", name),
        _ => return fail!("exactly one of clusterrole or role must be specified"),
    };
    let object = binding("RoleBinding", name, role, &parsed)?;
    create_made(session, &parsed, object, Some("rolebinding: ")).await
}

async fn cluster_role_binding(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let Some(role) = parsed.some("clusterrole") else {
        return fail!("required flag(s) \"clusterrole\" not set");
    };
    let object = binding("ClusterRoleBinding", name, ("ClusterRole", role), &parsed)?;
    create_made(session, &parsed, object, Some("clusterrolebinding: ")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_made_for_each_group() {
        let groups = BTreeMap::from([
            ("apps".to_owned(), vec!["deployments/scale".to_owned()]),
            (String::new(), vec!["pods".into()]),
        ]);
        let rules = rules(groups, &["get".into()], &["a".into()]);
        assert_eq!(
            rules[0],
            json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]})
        );
        assert_eq!(rules[1]["resources"], json!(["deployments/scale"]));
    }

    #[test]
    fn stars_need_no_such_resource() {
        let none = Catalog::of(Vec::new());
        assert_eq!(resource(&none, "*/scale").ok(), Some((String::new(), "*/scale".into())));
        assert_eq!(resource(&none, "*.apps").ok(), Some(("apps".into(), "*".into())));
        assert!(resource(&none, "frobs").is_err());
    }
}
