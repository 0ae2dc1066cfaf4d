//! The roles and bindings that every cluster has, from `bootstrap.txt`.
//!
//! A line without indent opens an object: kind, name, then `namespace=`, `role=`, `label=k=v`, `aggregate=k=v`. The
//! indented lines below are its rules (`verbs groups resources [names]`, or `verbs url paths`; `""` is the core group)
//! or its subjects (`kind name [namespace]`).

use serde_json::{Map, Value, json};

use super::{GROUP, Kind, Rule, rules_of};

const TABLE: &str = include_str!("bootstrap.txt");

/// A bootstrap object and where it belongs.
pub struct Bootstrap {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub object: Value,
}

/// All bootstrap objects, roles before bindings.
pub fn objects() -> Vec<Bootstrap> {
    let mut objects = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("  ") {
            None => objects.extend(open(line)),
            Some(entry) => {
                if let Some(last) = objects.last_mut() {
                    add_entry(last, entry);
                }
            }
        }
    }
    objects
}

/// The rules of one bootstrap cluster role.
pub fn cluster_role_rules(name: &str) -> Vec<Rule> {
    let found = objects().into_iter().find(|o| o.kind == Kind::ClusterRole && o.name == name);
    found.map(|role| rules_of(&role.object)).unwrap_or_default()
}

fn open(line: &str) -> Option<Bootstrap> {
    let mut words = line.split(' ');
    let word = words.next()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == word)?;
    let name = words.next()?.to_string();
    let mut bootstrap = Bootstrap { kind, namespace: String::new(), object: skeleton(kind, &name), name };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        add_attribute(&mut bootstrap, key, value);
    }
    Some(bootstrap)
}

fn skeleton(kind: Kind, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind.name(),
        "metadata": {
            "name": name,
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    });
    if matches!(kind, Kind::Role | Kind::ClusterRole) {
        object["rules"] = Value::Null;
    }
    object
}

fn add_attribute(bootstrap: &mut Bootstrap, key: &str, value: &str) {
    let object = &mut bootstrap.object;
    match key {
        "namespace" => {
            bootstrap.namespace = value.to_string();
            object["metadata"]["namespace"] = value.into();
        }
        "role" => {
            let (kind, name) = value.split_once('/').expect("the table names roles as Kind/name");
            object["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        }
        "label" => {
            let (label, value) = value.split_once('=').expect("the table writes labels as key=value");
            object["metadata"]["labels"][label] = value.into();
        }
        "aggregate" => {
            let (label, value) = value.split_once('=').expect("the table writes labels as key=value");
            let selector = json!({"matchLabels": Map::from_iter([(label.to_string(), Value::from(value))])});
            object["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
        }
        _ => {}
    }
}

fn add_entry(bootstrap: &mut Bootstrap, entry: &str) {
    let (list, value) = match bootstrap.kind {
        Kind::Role | Kind::ClusterRole => ("rules", rule(entry)),
        Kind::RoleBinding | Kind::ClusterRoleBinding => ("subjects", subject(entry)),
    };
    let slot = &mut bootstrap.object[list];
    if !slot.is_array() {
        *slot = json!([]);
    }
    slot.as_array_mut().expect("made an array above").push(value);
}

fn rule(entry: &str) -> Value {
    let columns: Vec<Vec<&str>> = entry.split(' ').map(items).collect();
    match columns.as_slice() {
        [verbs, word, urls] if *word == ["url"] => json!({"verbs": verbs, "nonResourceURLs": urls}),
        [verbs, groups, resources] => json!({"verbs": verbs, "apiGroups": groups, "resources": resources}),
        [verbs, groups, resources, names, ..] => {
            json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names})
        }
        _ => Value::Null,
    }
}

fn items(column: &str) -> Vec<&str> {
    column.split(',').map(|item| if item == "\"\"" { "" } else { item }).collect()
}

fn subject(entry: &str) -> Value {
    let mut words = entry.split(' ');
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match words.next() {
        Some(namespace) => json!({"kind": kind, "name": name, "namespace": namespace}),
        None => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_names_a_role_of_the_table() {
        let all = objects();
        let exists = |kind: &str, name: &str| all.iter().any(|o| o.kind.name() == kind && o.name == name);
        for binding in all.iter().filter(|o| o.object.get("roleRef").is_some()) {
            let role = &binding.object["roleRef"];
            let (kind, name) = (role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
            assert!(exists(kind, name), "{} names {kind}/{name}", binding.name);
        }
    }

    #[test]
    fn no_rule_of_the_table_is_malformed() {
        for role in objects().iter().filter(|o| o.object.get("rules").is_some_and(Value::is_array)) {
            let written = role.object["rules"].as_array().unwrap().len();
            assert_eq!(rules_of(&role.object).len(), written, "{}", role.name);
        }
    }
}
