//! `set env`: variables of containers.

use serde_json::{Map, Value, json};

use super::env_source::{Lookup, described};
use super::pod_spec::{self, each_container, name_of, pod_spec};
use super::{LOCAL_FLAGS, SELECTOR_FLAG, Setter};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "env",
    about: "Update environment variables on a pod template",
    usage: "RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS, SELECTOR_FLAG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("containers", "The names of containers in the selected pod templates to change - may use wildcards")
        .short('c')
        .or("*"),
    Flag::new("env", Kind::Texts, "Specify a key-value pair for an environment variable to set into each container.")
        .short('e'),
    Flag::text("from", "The name of a resource from which to inject environment variables"),
    Flag::list("keys", "Comma-separated list of keys to import from specified resource"),
    Flag::switch("list", "If true, display the environment and any changes in the standard format."),
    Flag::switch("overwrite", "If true, allow environment to be overwritten, otherwise reject updates.").or("true"),
    Flag::text("prefix", "Prefix to append to variable names"),
    Flag::switch("resolve", "If true, show secret or configmap references when listing variables"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    setter.check_selection()?;
    let (resources, words) = split(&parsed.arguments)?;
    setter.check_local()?;
    check(&parsed, &resources)?;
    let specs: Vec<String> = parsed.texts("env").into_iter().chain(words.iter().cloned()).collect();
    let mut change = Change::parse(&specs)?;
    if let Some(from) = parsed.some("from") {
        change.set.extend(imported(&setter, from).await?);
    }
    for variable in &mut change.set {
        let name = format!("{}{}", parsed.text("prefix"), name_of(variable));
        variable["name"] = name.into();
    }
    let infos = setter.objects(resources).await?;
    let mut failures = Vec::new();
    for info in &infos {
        failures.extend(set(&mut setter, info, &change, !words.is_empty()).await.err());
    }
    // A list is shown as far as it goes, and has not failed.
    if parsed.on("list") { Ok(()) } else { Failure::all(failures) }
}

fn split(arguments: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let is_variable = |word: &String| word.find('=').is_some_and(|at| at > 0) || word.ends_with('-');
    let first = arguments.iter().position(is_variable).unwrap_or(arguments.len());
    let (resources, variables) = arguments.split_at(first);
    if variables.iter().all(is_variable) {
        return Ok((resources.to_vec(), variables.to_vec()));
    }
    fail!("all resources must be specified before environment changes: {}", arguments.join(" "))
}

fn check(parsed: &Parsed, resources: &[String]) -> Result<(), Failure> {
    if !parsed.given("filename") && resources.is_empty() {
        return fail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    if parsed.on("list") && parsed.some("output").is_some() {
        return fail!("--list and --output may not be specified together");
    }
    if !parsed.list("keys").is_empty() && parsed.some("from").is_none() {
        return fail!("when specifying --keys, a configmap or secret must be provided with --from");
    }
    Ok(())
}

/// Variables that are set, as JSON, and names of those that go.
#[derive(Debug, Default)]
struct Change {
    set: Vec<Value>,
    remove: Vec<String>,
}

impl Change {
    fn parse(specs: &[String]) -> Result<Self, Failure> {
        let (mut change, mut named) = (Self::default(), Vec::new());
        for spec in specs {
            match (spec.as_str(), spec.split_once('=')) {
                ("-", _) => change.set.extend(read_all()?),
                (_, Some((name, value))) => {
                    let wrong = wrong_name(name);
                    if !wrong.is_empty() {
                        return fail!("{name:?} is not a valid key name: {}", wrong.join(";"));
                    }
                    named.push(name.to_owned());
                    change.set.push(variable(name, value));
                }
                (spec, None) => match spec.strip_suffix('-') {
                    Some(name) => change.remove.push(name.to_owned()),
                    None => return fail!("unknown environment variable: {spec}"),
                },
            }
        }
        if change.remove.iter().any(|name| named.contains(name)) {
            return fail!("can not both modify and remove the same environment variable in the same command");
        }
        Ok(change)
    }

    /// The variables afterwards, in their old order; new ones last.
    fn apply(&self, now: &[Value]) -> Vec<Value> {
        let newer = |name: &str| self.set.iter().find(|variable| name_of(variable) == name);
        let mut covered = self.remove.clone();
        let mut out = Vec::new();
        for old in now {
            let name = name_of(old);
            if covered.iter().any(|known| known == name) {
                continue;
            }
            if newer(name).is_some() {
                covered.push(name.to_owned());
            }
            out.push(newer(name).unwrap_or(old).clone());
        }
        for new in &self.set {
            if !covered.iter().any(|known| known == name_of(new)) {
                covered.push(name_of(new).to_owned());
                out.push(new.clone());
            }
        }
        out
    }

    /// A variable that has another value already.
    fn taken(&self, now: &[Value]) -> Option<String> {
        let text = |variable: &Value| variable["value"].as_str().unwrap_or_default().to_owned();
        self.set.iter().find_map(|new| {
            let old = now.iter().find(|old| name_of(old) == name_of(new) && text(old) != text(new))?;
            Some(format!("'{}' already has a value ({}), and --overwrite is false", name_of(old), text(old)))
        })
    }
}

fn variable(name: &str, value: &str) -> Value {
    if value.is_empty() { json!({"name": name}) } else { json!({"name": name, "value": value}) }
}

/// `NAME=value` lines of standard input; `#` begins a comment.
fn read_all() -> Result<Vec<Value>, Failure> {
    let text = std::io::read_to_string(std::io::stdin()).map_err(|error| format!("read STDIN: {error}"))?;
    Ok(of_lines(&text))
}

fn of_lines(text: &str) -> Vec<Value> {
    let uncommented = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    uncommented.filter_map(|line| line.split_once('=')).map(|(name, value)| variable(name, value)).collect()
}

/// The names that kubectl takes are fewer than those that the server takes.
fn wrong_name(name: &str) -> Vec<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || b"-._".contains(&byte);
    let fits =
        name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit()) && name.bytes().next().is_some_and(is_letter);
    let mut wrong = Vec::new();
    if !fits {
        let message = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or \
                       '.', and must not start with a digit";
        let examples = ["my.env-name", "MY_ENV.NAME", "MyEnvName1"];
        wrong.push(apimachinery::validation::regex_error(message, "[-._a-zA-Z][-._a-zA-Z0-9]*", &examples));
    }
    match name {
        "." | ".." => wrong.push(format!("must not be '{name}'")),
        _ if name.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// A variable for each key of a config map or a secret.
async fn imported(setter: &Setter<'_>, from: &str) -> Result<Vec<Value>, Failure> {
    let arguments = if setter.local { Vec::new() } else { vec![from.to_owned()] };
    let keys = setter.parsed.list("keys");
    let mut variables = Vec::new();
    for info in setter.objects(arguments).await? {
        let reference = match (info.mapping.group.as_str(), info.mapping.kind.as_str()) {
            ("", "Secret") => "secretKeyRef",
            ("", "ConfigMap") => "configMapKeyRef",
            _ => return fail!("unsupported resource specified in --from"),
        };
        let nothing = Map::new();
        let data = info.object["data"].as_object().unwrap_or(&nothing);
        for key in data.keys().filter(|key| keys.is_empty() || keys.contains(key)) {
            let source = json!({(reference): {"key": key, "name": info.name}});
            variables.push(json!({"name": to_name(setter.session, key), "valueFrom": source}));
        }
    }
    Ok(variables)
}

fn to_name(session: &Session, key: &str) -> String {
    let name = key.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_").to_uppercase();
    if name != key {
        session.warn(&format!("key {key} transferred to {name}"));
    }
    name
}

async fn set(setter: &mut Setter<'_>, info: &Info, change: &Change, has_words: bool) -> Result<(), Failure> {
    let (names, overwrite) = (setter.parsed.text("containers").to_owned(), setter.parsed.on("overwrite"));
    pod_spec::check(info).map_err(|why| setter.refused(info, &why))?;
    let (mut after, mut taken, mut containers) = (info.object.clone(), None, Vec::new());
    let spec = pod_spec(info, &mut after).map_err(|why| setter.refused(info, &why))?;
    each_container(spec, &names, |container| {
        let now = container["env"].as_array().cloned().unwrap_or_default();
        if taken.is_some() {
            return;
        }
        taken = change.taken(&now).filter(|_| !overwrite);
        if taken.is_none() {
            put_env(container, change.apply(&now));
            containers.push(container.clone());
        }
    });
    if setter.parsed.on("list") {
        show(setter, info, &containers).await?;
    }
    if let Some(why) = taken {
        return Err(setter.refused(info, &why));
    }
    if containers.is_empty() {
        let (kind, name) = (&info.mapping.kind, &info.name);
        setter.session.warn(&format!("{kind}/{name} does not have any containers matching {names:?}"));
    }
    if setter.parsed.on("list") || after == info.object {
        return Ok(());
    }
    let failed = "failed to patch env update to pod template: ";
    if change.set.is_empty() && !has_words && !setter.is_shown_only() {
        setter.put_silently(info, &after, failed).await?;
        return fail!("at least one environment variable must be provided");
    }
    setter.put(info, after, "env updated", failed).await
}

fn put_env(container: &mut Value, env: Vec<Value>) {
    if !env.is_empty() {
        container["env"] = env.into();
    } else if let Some(map) = container.as_object_mut() {
        map.remove("env");
    }
}

/// The variables in the form of a shell's; those that come from elsewhere as comments, or looked up.
async fn show(setter: &Setter<'_>, info: &Info, containers: &[Value]) -> Result<(), Failure> {
    let streams = &setter.session.streams;
    let (mut lookup, mut unresolved) = (Lookup::new(setter.session, info), false);
    for container in containers {
        let (kind, name) = (&info.mapping.kind, &info.name);
        streams.line(format!("# {kind} {name}, container {}", name_of(container)))?;
        let mut failed: Vec<(String, Vec<String>)> = Vec::new();
        for variable in container["env"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let (name, source) = (name_of(variable), &variable["valueFrom"]);
            if source.is_null() {
                streams.line(format!("{name}={}", variable["value"].as_str().unwrap_or_default()))?;
                continue;
            }
            let resolved = if setter.parsed.on("resolve") { Some(lookup.value(source, container).await) } else { None };
            match resolved {
                Some(Ok(value)) => streams.line(format!("{name}={value}"))?,
                other => {
                    streams.line(format!("# {name} from {}", described(source)))?;
                    if let Some(Err(why)) = other {
                        add(&mut failed, why, name);
                    }
                }
            }
        }
        unresolved |= !failed.is_empty();
        tell(setter.session, failed);
    }
    if unresolved { Err(setter.refused(info, "failed to retrieve valueFrom references")) } else { Ok(()) }
}

fn add(failed: &mut Vec<(String, Vec<String>)>, why: String, name: &str) {
    match failed.iter_mut().find(|(known, _)| *known == why) {
        Some((_, names)) => names.push(name.to_owned()),
        None => failed.push((why, vec![name.to_owned()])),
    }
}

fn tell(session: &Session, failed: Vec<(String, Vec<String>)>) {
    let line = |(why, mut names): (String, Vec<String>)| {
        names.sort();
        format!("error retrieving reference for {}: {why}", names.join(", "))
    };
    let mut lines: Vec<String> = failed.into_iter().map(line).collect();
    lines.sort();
    lines.iter().for_each(|line| session.streams.note(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn variables_keep_their_places() {
        let now = [variable("A", "1"), variable("B", "2"), variable("C", "3")];
        let change = Change::parse(&words("D=4 B=5 A-")).expect("good");
        assert_eq!(change.apply(&now), [variable("B", "5"), variable("C", "3"), variable("D", "4")]);
        assert_eq!(change.taken(&now).as_deref(), Some("'B' already has a value (2), and --overwrite is false"));
    }

    #[test]
    fn bad_variables_are_told() {
        let why = |line: &str| Change::parse(&words(line)).expect_err("bad").text();
        assert_eq!(why("A=1 A-"), "can not both modify and remove the same environment variable in the same command");
        assert_eq!(why("A"), "unknown environment variable: A");
        assert!(why("1A=x").starts_with("\"1A\" is not a valid key name: a valid environment variable name must"));
    }

    #[test]
    fn files_of_variables_have_comments() {
        assert_eq!(of_lines("# x=y\nA=1 # one\nB\nC=\n"), [variable("A", "1 "), variable("C", "")]);
    }
}
