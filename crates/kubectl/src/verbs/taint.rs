//! `taint`: what keeps pods off a node.

use std::fmt;

use serde_json::{Value, json};

use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Info, Patch};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "taint",
    about: "Update the taints on one or more nodes",
    usage: "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all nodes in the cluster"),
    Flag::switch(
        "overwrite",
        "If true, allow taints to be overwritten, otherwise reject taint updates that overwrite.",
    ),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut writing = Writing::of(session, &parsed, "kubectl-taint")?;
    let (resources, specs) = split(&parsed.arguments)?;
    if resources.is_empty() {
        return fail!("one or more resources must be specified as <resource> <name>");
    }
    if specs.is_empty() {
        return fail!("at least one taint update is required");
    }
    let change = Change::parse(&specs).map_err(|why| session.usage(why))?;
    check_kind(session, &resources[0]).await?;
    change.check()?;
    let asked = asked(session, &parsed, resources)?;
    let (infos, mut failures) = asked.select(session).await?.fetched(session.client()?).await?;
    for info in infos {
        failures.extend(taint_one(session, &mut writing, info, &change, parsed.on("overwrite")).await.err());
    }
    Failure::all(failures)
}

/// Resources first, taints behind them.
fn split(arguments: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let is_taint = |word: &&String| word.contains(['=', ':']) || word.ends_with('-');
    let first = arguments.iter().position(|word| is_taint(&word)).unwrap_or(arguments.len());
    let (resources, taints) = arguments.split_at(first);
    match taints.iter().find(|word| !is_taint(word)) {
        Some(word) => fail!("all resources must be specified before taint changes: {word}"),
        None => Ok((resources.to_vec(), taints.to_vec())),
    }
}

async fn check_kind(session: &Session, resource: &str) -> Result<(), Failure> {
    let resource = resource.to_lowercase();
    let mapping = session.catalog().await?.resource_alone(&resource)?;
    if mapping.kind != "Node" {
        return fail!("invalid resource type {resource}, only node types are supported");
    }
    Ok(())
}

fn asked(session: &Session, parsed: &Parsed, resources: Vec<String>) -> Result<Asked, Failure> {
    let all = parsed.on("all");
    if all && parsed.some("selector").is_some() {
        return fail!("setting 'all' parameter with a non empty selector is prohibited");
    }
    let names = if all || parsed.some("selector").is_some() { &[] } else { &resources[1..] };
    if names.is_empty() && !all && parsed.some("selector").is_none() {
        return fail!("at least one resource name must be specified since 'all' parameter is not set");
    }
    let mut asked = Asked::of(session, parsed)?;
    asked.arguments = std::iter::once("nodes".to_owned()).chain(names.iter().cloned()).collect();
    Ok(asked)
}

async fn taint_one(
    session: &Session,
    writing: &mut Writing<'_>,
    mut info: Info,
    change: &Change,
    overwrite: bool,
) -> Result<(), Failure> {
    let now: Vec<Taint> = items(&info.object["spec"]["taints"]).iter().map(Taint::of).collect();
    let taken = change.taken(&now);
    if !overwrite && !taken.is_empty() {
        return fail!(
            "node {} already has {} taint(s) with same effect(s) and --overwrite is false",
            info.name,
            taken.join(",")
        );
    }
    let (done, taints) = change.apply(&now, overwrite)?;
    let taints = if taints.is_empty() { Value::Null } else { taints.iter().map(Taint::to_value).collect() };
    let patch = if taints == info.object["spec"]["taints"] { json!({}) } else { json!({"spec": {"taints": taints}}) };
    info.object = match writing.dry_run {
        DryRun::Client => apimachinery::patch::merge::merged(info.object, &patch),
        _ => info.patch(session.client()?, Patch::Strategic, &patch, &writing.write()).await?,
    };
    writing.report_without_dry_run(&info.object, done)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Taint {
    key: String,
    value: String,
    effect: String,
    /// When the node got it, kept as it is.
    added: Option<Value>,
}

/// `key=value:effect`, without what is empty.
impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value.as_str(), self.effect.as_str()) {
            ("", "") => write!(f, "{}", self.key),
            ("", effect) => write!(f, "{}:{effect}", self.key),
            (value, effect) => write!(f, "{}={value}:{effect}", self.key),
        }
    }
}

impl Taint {
    fn of(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let added = value.get("timeAdded").cloned();
        Self { key: text("key"), value: text("value"), effect: text("effect"), added }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            value["value"] = self.value.as_str().into();
        }
        if let Some(added) = &self.added {
            value["timeAdded"] = added.clone();
        }
        value
    }

    fn parse(spec: &str) -> Result<Self, String> {
        let invalid = || format!("invalid taint spec: {spec}");
        let mut taint = Self::default();
        match spec.split(':').collect::<Vec<_>>().as_slice() {
            [key] => taint.key = (*key).to_owned(),
            [pair, effect] => {
                if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(effect) {
                    return Err(format!("invalid taint effect: {effect}, unsupported taint effect"));
                }
                taint.effect = (*effect).to_owned();
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                if value.contains('=') {
                    return Err(invalid());
                }
                let wrong = apimachinery::validation::is_label_value(value);
                if !wrong.is_empty() {
                    return Err(format!("{}, {}", invalid(), wrong.join("; ")));
                }
                (taint.key, taint.value) = (key.to_owned(), value.to_owned());
            }
            _ => return Err(invalid()),
        }
        let wrong = apimachinery::validation::is_qualified_name(&taint.key);
        if wrong.is_empty() { Ok(taint) } else { Err(format!("{}, {}", invalid(), wrong.join("; "))) }
    }

    /// Taints of a key and an effect replace each other.
    fn replaces(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

/// What the command line wants.
#[derive(Debug, Default)]
struct Change {
    add: Vec<Taint>,
    /// Without an effect: all of the key.
    remove: Vec<Taint>,
}

impl Change {
    fn parse(specs: &[String]) -> Result<Self, String> {
        let mut change = Self::default();
        for spec in specs {
            if let Some(spec) = spec.strip_suffix('-') {
                let taint = Taint::parse(spec)?;
                change.remove.push(Taint { value: String::new(), ..taint });
                continue;
            }
            let taint = Taint::parse(spec)?;
            if taint.effect.is_empty() {
                return Err(format!("invalid taint spec: {spec}"));
            }
            if change.add.iter().any(|known| known.replaces(&taint)) {
                let Taint { key, value, effect, .. } = taint;
                return Err(format!(
                    "duplicated taints with the same key and effect: {{{key} {value} {effect} <nil>}}"
                ));
            }
            change.add.push(taint);
        }
        Ok(change)
    }

    fn check(&self) -> Result<(), Failure> {
        let pairs = self.add.iter().flat_map(|add| self.remove.iter().map(move |remove| (add, remove)));
        let both = pairs
            .filter(|(add, remove)| add.key == remove.key && (remove.effect.is_empty() || add.effect == remove.effect));
        let both: Vec<String> = both.map(|(_, remove)| format!("{}={}", remove.key, remove.effect)).collect();
        if both.is_empty() {
            return Ok(());
        }
        fail!("can not both modify and remove the following taint(s) in the same command: {}", both.join(", "))
    }

    /// The keys that the node has already.
    fn taken(&self, now: &[Taint]) -> Vec<String> {
        let add = self.add.iter();
        add.flat_map(|taint| now.iter().filter(|other| taint.replaces(other)).map(|other| other.key.clone())).collect()
    }

    /// What is to be said, and the taints afterwards: the new ones first.
    fn apply(&self, now: &[Taint], overwrite: bool) -> Result<(&'static str, Vec<Taint>), Failure> {
        let mut taints = self.add.clone();
        taints.extend(now.iter().filter(|old| !self.add.iter().any(|new| new.replaces(old))).cloned());
        let added = taints.len() != now.len();
        let (mut failures, mut removed) = (Vec::new(), false);
        for gone in &self.remove {
            let before = taints.len();
            taints.retain(|taint| taint.key != gone.key || !(gone.effect.is_empty() || gone.replaces(taint)));
            removed = before != taints.len();
            if !removed {
                failures.push(Failure::Plain(format!("taint {:?} not found", gone.to_string())));
            }
        }
        Failure::all(failures)?;
        Ok(match (added, removed) {
            _ if overwrite => ("modified", taints),
            (true, true) => ("modified", taints),
            (true, false) => ("tainted", taints),
            (false, _) => ("untainted", taints),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn check(now: &str, line: &str, overwrite: bool, wanted: &str) {
        let now: Vec<Taint> = words(now).iter().map(|spec| Taint::parse(spec).expect("a taint")).collect();
        let change = Change::parse(&words(line)).expect("a change");
        let shown = match change.apply(&now, overwrite) {
            Ok((done, taints)) => {
                let taints: Vec<String> = taints.iter().map(Taint::to_string).collect();
                format!("{done} {}", taints.join(" "))
            }
            Err(failure) => failure.text(),
        };
        assert_eq!(shown.trim_end(), wanted);
    }

    #[test]
    fn taints_are_added_replaced_and_removed() {
        check("", "a=b:NoSchedule", false, "tainted a=b:NoSchedule");
        check("a=b:NoSchedule", "a=c:NoSchedule", true, "modified a=c:NoSchedule");
        check("a=b:NoSchedule a:NoExecute", "a-", false, "untainted");
        check("a=b:NoSchedule a:NoExecute", "a:NoExecute-", false, "untainted a=b:NoSchedule");
        check("a=b:NoSchedule", "c:NoExecute a-", false, "modified c:NoExecute");
        check("", "a:NoExecute-", false, "taint \"a:NoExecute\" not found");
    }

    #[test]
    fn bad_taints_are_told() {
        let why = |line: &str| Change::parse(&words(line)).expect_err("bad");
        assert_eq!(
            why("a=b"),
            "invalid taint spec: a=b, name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        );
        assert_eq!(why("a:Never"), "invalid taint effect: Never, unsupported taint effect");
        assert_eq!(
            why("a=b:NoExecute a=c:NoExecute"),
            "duplicated taints with the same key and effect: {a c NoExecute <nil>}"
        );
    }
}
