//! What a word may become.

use std::sync::Arc;

use serde_json::Value;

use super::{Directive, SHELLS};
use crate::Streams;
use crate::command::{Command, GLOBAL, find};
use crate::failure::Failure;
use crate::flags::{Flag, Kind, parse};
use crate::objects::{Call, Mapping};
use crate::session::Session;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub word: String,
    pub about: String,
}

impl Candidate {
    fn bare(word: impl Into<String>) -> Self {
        Self { word: word.into(), about: String::new() }
    }
}

type Answer = (Vec<Candidate>, Directive);

const NOTHING: Answer = (Vec::new(), Directive::NoFiles);

/// Commands whose arguments are a type and names of it.
const OF_TYPES: &[&str] = &[
    "get",
    "describe",
    "delete",
    "edit",
    "label",
    "annotate",
    "patch",
    "expose",
    "scale",
    "autoscale",
    "wait",
    "explain",
    "history",
    "pause",
    "restart",
    "resume",
    "status",
    "undo",
];
const OF_PODS: &[&str] = &["logs", "exec", "attach", "port-forward", "debug", "cp", "pod"];
const OF_NODES: &[&str] = &["cordon", "uncordon", "drain", "node"];
const OUTPUTS: &[&str] = &[
    "custom-columns",
    "custom-columns-file",
    "go-template",
    "go-template-file",
    "json",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "kyaml",
    "name",
    "template",
    "templatefile",
    "wide",
    "yaml",
];

/// For a line whose last word is being typed.
pub async fn of(words: &[String], streams: &Streams) -> Answer {
    let Some((current, done)) = words.split_last() else { return NOTHING };
    let Ok((path, command, rest)) = find(done) else { return NOTHING };
    let line = Line { path, command, rest, current };
    if let Some((flag, typed)) = line.flag_with_value() {
        return line.values(flag, &typed, streams).await;
    }
    let is_past_flags = line.rest.iter().any(|word| word == "--");
    if line.current.starts_with('-') && !is_past_flags {
        return (line.flags(), Directive::NoFiles);
    }
    line.arguments(streams).await
}

struct Line<'a> {
    path: String,
    command: &'static Command,
    /// What was typed behind the command.
    rest: Vec<String>,
    current: &'a str,
}

impl Line<'_> {
    fn known(&self) -> Vec<&'static [Flag]> {
        let mut known = vec![GLOBAL];
        known.extend(self.command.flags);
        known
    }

    /// The flag whose value is being typed, and what of it there is.
    fn flag_with_value(&self) -> Option<(&'static Flag, String)> {
        let known = self.known();
        let named = |name: &str| known.iter().rev().copied().flatten().find(|flag| flag.name == name);
        if let Some((name, typed)) = self.current.strip_prefix("--").and_then(|word| word.split_once('=')) {
            return Some((named(name)?, typed.to_owned()));
        }
        let before = self.rest.last()?;
        let flag = match before.strip_prefix("--") {
            Some(name) => named(name)?,
            None => {
                let short = before.strip_prefix('-')?.chars().last()?;
                known.iter().rev().copied().flatten().find(|flag| flag.short == Some(short))?
            }
        };
        let takes_value = !matches!(flag.kind, Kind::Switch | Kind::Optional(_));
        takes_value.then(|| (flag, self.current.to_owned()))
    }

    fn flags(&self) -> Vec<Candidate> {
        let known = self.known();
        let mut all: Vec<&Flag> = known.iter().copied().flatten().collect();
        all.sort_by_key(|flag| flag.name);
        all.dedup_by_key(|flag| flag.name);
        let mut found = Vec::new();
        for flag in all {
            let names = [Some(format!("--{}", flag.name)), flag.short.map(|short| format!("-{short}"))];
            let names = names.into_iter().flatten().filter(|name| name.starts_with(self.current));
            found.extend(names.map(|word| Candidate { word, about: flag.help.to_owned() }));
        }
        found
    }

    /// A session with the flags that were typed, as far as they make sense.
    fn session(&self, streams: &Streams) -> Option<Session> {
        let known = self.known();
        let parsed = parse(&known, &self.rest).or_else(|_| parse(&known, &[])).ok()?;
        Session::new(&parsed, streams.clone(), self.path.clone()).ok()
    }

    /// What was typed that is no flag.
    fn typed_arguments(&self) -> Vec<String> {
        parse(&self.known(), &self.rest).map(|parsed| parsed.arguments).unwrap_or_default()
    }

    async fn values(&self, flag: &Flag, typed: &str, streams: &Streams) -> Answer {
        let Some(session) = self.session(streams) else { return NOTHING };
        let names = match flag.name {
            "namespace" => names_of(&session, "namespaces", "").await.unwrap_or_default(),
            "context" | "cluster" | "user" => configured(&session, flag.name),
            "output" => OUTPUTS.iter().map(|name| (*name).to_owned()).collect(),
            "container" => self.containers(&session).await.unwrap_or_default(),
            _ => return (Vec::new(), Directive::Default),
        };
        (starting_with(typed, names), Directive::NoFiles)
    }

    async fn containers(&self, session: &Session) -> Result<Vec<String>, Failure> {
        let arguments = self.typed_arguments();
        let Some(pod) = arguments.first() else { return Ok(Vec::new()) };
        let pod = super::super::named::one_object(session, pod).await?;
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let all = lists.iter().filter_map(|list| pod.object["spec"][list].as_array()).flatten();
        Ok(all.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect())
    }

    async fn arguments(&self, streams: &Streams) -> Answer {
        let arguments = self.typed_arguments();
        if !self.command.children.is_empty() && arguments.is_empty() {
            let mut children: Vec<Candidate> = self
                .command
                .children
                .iter()
                .filter(|child| child.name.starts_with(self.current))
                .map(|child| Candidate { word: child.name.to_owned(), about: child.about.to_owned() })
                .collect();
            children.sort_by(|a, b| a.word.cmp(&b.word));
            return (children, Directive::NoFiles);
        }
        if self.path == "kubectl completion" {
            let shells = SHELLS.iter().map(|(name, _)| (*name).to_owned()).collect();
            return (starting_with(self.current, shells), Directive::NoFiles);
        }
        let Some(session) = self.session(streams) else { return NOTHING };
        let found = match self.path.strip_prefix("kubectl config ") {
            Some(verb) => Ok(if arguments.is_empty() { configured(&session, of_config(verb)) } else { Vec::new() }),
            None => self.objects(&session, &arguments).await,
        };
        // A server that does not answer leaves nothing to offer.
        let found = found.unwrap_or_default();
        if self.command.name == "cp" {
            let pods = found.into_iter().map(|pod| format!("{pod}:")).collect();
            return (starting_with(self.current, pods), Directive::NoSpace);
        }
        (starting_with(self.current, found), Directive::NoFiles)
    }

    async fn objects(&self, session: &Session, arguments: &[String]) -> Result<Vec<String>, Failure> {
        let verb = self.command.name;
        let is_first = arguments.is_empty();
        if OF_PODS.contains(&verb) || OF_NODES.contains(&verb) {
            let resource = if OF_PODS.contains(&verb) { "pods" } else { "nodes" };
            let namespace = session.namespace();
            return match is_first || OF_NODES.contains(&verb) {
                true => names_of(session, resource, &namespace).await,
                false => Ok(Vec::new()),
            };
        }
        if !OF_TYPES.contains(&verb) {
            return Ok(Vec::new());
        }
        if let Some((kind, _)) = self.current.split_once('/') {
            let names = names_of(session, kind, &session.namespace()).await?;
            return Ok(names.into_iter().map(|name| format!("{kind}/{name}")).collect());
        }
        match arguments {
            [] => types(session, self.current).await,
            [kind, given @ ..] if verb != "explain" && !kind.contains(['/', ',']) => {
                let mut names = names_of(session, kind, &session.namespace()).await?;
                names.retain(|name| !given.contains(name));
                Ok(names)
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn starting_with(typed: &str, names: Vec<String>) -> Vec<Candidate> {
    names.into_iter().filter(|name| name.starts_with(typed)).map(Candidate::bare).collect()
}

/// What the kubeconfig's commands take.
fn of_config(verb: &str) -> &'static str {
    match verb {
        "use-context" | "delete-context" | "rename-context" | "set-context" | "get-contexts" => "context",
        "delete-cluster" | "set-cluster" => "cluster",
        "delete-user" | "set-credentials" => "user",
        _ => "",
    }
}

fn configured(session: &Session, what: &str) -> Vec<String> {
    let Ok(settings) = session.config.access().settings() else { return Vec::new() };
    let names = match what {
        "context" => &settings.contexts,
        "cluster" => &settings.clusters,
        "user" => &settings.users,
        _ => return Vec::new(),
    };
    names.keys().cloned().collect()
}

/// Types of which there may be several with commas between.
async fn types(session: &Session, current: &str) -> Result<Vec<String>, Failure> {
    let mut mappings: Vec<Arc<Mapping>> = session.catalog().await?.all().to_vec();
    mappings.retain(|mapping| mapping.preferred && mapping.can("get"));
    mappings.sort_by_key(|mapping| (mapping.group.clone(), mapping.resource.clone()));
    let before = current.rfind(',').map_or("", |at| &current[..=at]);
    Ok(mappings.iter().map(|mapping| format!("{before}{}", mapping.qualified())).collect())
}

async fn names_of(session: &Session, resource: &str, namespace: &str) -> Result<Vec<String>, Failure> {
    let mapping = session.catalog().await?.resource(resource)?;
    let list = Call::get(mapping.collection(namespace)).value(session.client()?).await?;
    let items = list["items"].as_array().into_iter().flatten();
    Ok(items.map(|item: &Value| apimachinery::object::name(item).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn completed(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (candidates, directive) = of(&words, &Streams::new(std::io::sink(), std::io::sink())).await;
        let words: Vec<String> = candidates.into_iter().map(|candidate| candidate.word).collect();
        format!("{} {directive:?}", words.join(" "))
    }

    #[tokio::test]
    async fn commands_and_flags_are_completed() {
        assert_eq!(completed("conf").await, "config NoFiles");
        assert_eq!(completed("config delete-").await, "delete-cluster delete-context delete-user NoFiles");
        assert_eq!(completed("get --out").await, "--output --output-watch-events NoFiles");
        assert_eq!(completed("get -o go").await, "go-template go-template-file NoFiles");
        assert_eq!(completed("get --output=ky").await, "kyaml NoFiles");
        assert_eq!(completed("apply -f x").await, " Default");
        assert_eq!(completed("completion b").await, "bash NoFiles");
        assert_eq!(completed("nothing x").await, " NoFiles");
    }
}
