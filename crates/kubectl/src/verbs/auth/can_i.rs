//! `auth can-i VERB TYPE[/NAME] | URL`, and `--list`.

use http::Method;
use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Call;
use crate::print::TabWriter;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "can-i",
    about: "Check whether an action is allowed",
    usage: "VERB [TYPE | TYPE/NAME | NONRESOURCEURL] [options]",
    flags: &[FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all-namespaces", "If true, check the specified action in all namespaces.").short('A'),
    Flag::switch("list", "If true, prints all allowed actions."),
    Flag::switch("no-headers", "If true, prints allowed actions without headers"),
    Flag::switch("quiet", "If true, suppress output and just return the exit code.").short('q'),
    Flag::text("subresource", "SubResource such as pod/log or deployment/scale"),
];

const RESOURCE_VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
];
const URL_VERBS: &[&str] = &["get", "put", "post", "head", "options", "delete", "patch", "*"];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if parsed.on("list") {
        if !parsed.arguments.is_empty() {
            return fail!("list option must be specified with no arguments");
        }
        return list(session, &parsed).await;
    }
    let attributes = attributes(session, &parsed).await?;
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": attributes});
    let call = Call::new(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").json(&review);
    let status = call.value(session.client()?).await?["status"].take();
    if !parsed.on("quiet") {
        session.streams.line(answer(&status))?;
    }
    if status["allowed"] == true { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn answer(status: &Value) -> String {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let mut answer = if status["allowed"] == true { "yes" } else { "no" }.to_owned();
    if let Some(reason) = text("reason").filter(|_| status["allowed"] != true) {
        answer.push_str(&format!(" - {reason}"));
    }
    if let Some(error) = text("evaluationError") {
        answer.push_str(&format!(" - {error}"));
    }
    answer
}

async fn attributes(session: &Session, parsed: &Parsed) -> Result<Value, Failure> {
    let namespace = if parsed.on("all-namespaces") { String::new() } else { session.namespace() };
    match parsed.arguments.as_slice() {
        [verb, url] if url.starts_with('/') => {
            if parsed.some("subresource").is_some() {
                return fail!("--subresource can not be used with NonResourceURL");
            }
            if !URL_VERBS.contains(&verb.as_str()) {
                session.streams.note(format!("Warning: verb '{verb}' is not a known verb\n"));
            }
            Ok(json!({"nonResourceAttributes": {"verb": verb, "path": url}}))
        }
        [verb, rest @ ..] if matches!(rest.len(), 1 | 2) => {
            let (word, mut name) = rest[0].split_once('/').unwrap_or((&rest[0], ""));
            if let [_, named] = rest {
                name = named;
            }
            let (group, version, resource) = known(session, verb, word, &namespace).await;
            Ok(json!({"resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "version": version, "resource": resource,
                "subresource": parsed.text("subresource"), "name": name,
            }}))
        }
        _ => fail!(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples."
        ),
    }
}

/// Group, version and resource of a word; one that nobody knows is asked about as it is.
async fn known(session: &Session, verb: &str, word: &str, namespace: &str) -> (String, String, String) {
    if !RESOURCE_VERBS.contains(&verb) {
        session.streams.note(format!("Warning: verb '{verb}' is not a known verb\n"));
    }
    let unknown = |word: &str| {
        let (name, group) = word.split_once('.').unwrap_or((word, ""));
        (group.to_owned(), String::new(), name.to_owned())
    };
    if word == "*" {
        return unknown(word);
    }
    let found = match session.catalog().await {
        Ok(catalog) => catalog.resource(word).ok(),
        Err(_) => None,
    };
    let Some(mapping) = found else {
        let (group, _, name) = unknown(word);
        let in_group = if group.is_empty() { String::new() } else { format!(" in group '{group}'") };
        session.streams.note(format!("Warning: the server doesn't have a resource type '{name}'{in_group}\n"));
        return unknown(word);
    };
    if !mapping.namespaced && !namespace.is_empty() {
        let group = if mapping.group.is_empty() { String::new() } else { format!(" in group '{}'", mapping.group) };
        session.streams.note(format!("Warning: resource '{}' is not namespace scoped{group}\n", mapping.resource));
    }
    (mapping.group.clone(), mapping.version.clone(), mapping.resource.clone())
}

async fn list(session: &Session, parsed: &Parsed) -> Result<(), Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": session.namespace()},
    });
    let call = Call::new(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews").json(&review);
    let status = call.value(session.client()?).await?["status"].take();
    if status["incomplete"] == true {
        let why = status["evaluationError"].as_str().unwrap_or_default();
        session.warn(&format!("the list may be incomplete: {why}"));
    }
    session.streams.print(table(&status, parsed.on("no-headers")))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// One rule for each resource, rules of the same resource and names made one, sorted as upstream sorts them.
fn table(status: &Value, no_headers: bool) -> String {
    let mut writer = TabWriter::table();
    if !no_headers {
        writer.write("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    let mut rows = compact(&status["resourceRules"]);
    for rule in status["nonResourceRules"].as_array().into_iter().flatten() {
        let verbs = texts(&rule["verbs"]).join(" ");
        for url in texts(&rule["nonResourceURLs"]) {
            let key = format!("[{verbs}],APIGroups:[],Resources:[],ResourceNames:[],NonResourceURLs:[{url}]");
            rows.push((key, format!("\t[{url}]\t[]\t[{verbs}]\n")));
        }
    }
    // By what upstream's rules look like in full.
    rows.sort();
    rows.iter().for_each(|(_, row)| writer.write(row));
    writer.flush()
}

/// A rule's group, resource, names and verbs.
struct Rule {
    group: String,
    resource: String,
    names: Vec<String>,
    verbs: Vec<String>,
}

impl Rule {
    /// What it is sorted by, and its row.
    fn row(&self) -> (String, String) {
        let Self { group, resource, .. } = self;
        let (names, verbs) = (self.names.join(" "), self.verbs.join(" "));
        let key = format!("[{verbs}],APIGroups:[{group}],Resources:[{resource}],ResourceNames:[{names}]");
        let (base, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
        (key, format!("{base}{group}{sub}\t[]\t[{names}]\t[{verbs}]\n"))
    }
}

/// Rules of the same resource and names made one.
fn compact(rules: &Value) -> Vec<(String, String)> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules.as_array().into_iter().flatten() {
        let (names, verbs) = (texts(&rule["resourceNames"]), texts(&rule["verbs"]));
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let same =
                    |known: &&mut Rule| (&known.group, &known.resource, &known.names) == (&group, &resource, &names);
                match all.iter_mut().find(same) {
                    Some(known) => known.verbs.extend(verbs.iter().cloned()),
                    None => {
                        all.push(Rule { group: group.clone(), resource, names: names.clone(), verbs: verbs.clone() })
                    }
                }
            }
        }
    }
    all.iter().map(Rule::row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_why_not() {
        assert_eq!(answer(&json!({"allowed": true, "reason": "x"})), "yes");
        assert_eq!(answer(&json!({"allowed": false, "reason": "x", "evaluationError": "e"})), "no - x - e");
    }

    #[test]
    fn rules_of_one_resource_are_one_line() {
        let status = json!({"resourceRules": [
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale"]},
            {"verbs": ["list"], "apiGroups": ["apps"], "resources": ["deployments/scale"]},
        ], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]});
        expect_test::expect![[r#"
            deployments.apps/scale   []     []    [get list]
                                     [/a]   []    [get]
        "#]]
        .assert_eq(&table(&status, true));
    }
}
