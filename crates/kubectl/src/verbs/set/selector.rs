//! `set selector`: which pods a service has.

use apimachinery::labels::{Operator, Requirement, Selector};
use serde_json::{Map, Value};

use super::{LOCAL_FLAGS, Setter};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "selector",
    about: "Set the selector on a resource",
    usage: "(-f FILENAME | TYPE NAME) EXPRESSIONS [--resource-version=version] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[Flag::text(
    "resource-version",
    "If non-empty, the selectors update will only succeed if this is the current resource-version for the object.",
)];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    let Some((text, resources)) = parsed.arguments.split_last() else { return fail!("one selector is required") };
    let selector =
        Selector::parse(text).map_err(|error| format!("couldn't parse the selector string {text:?}: {error}"))?;
    let infos = setter.objects(resources.to_vec()).await?;
    let mut failures = Vec::new();
    for mut info in infos {
        let version = parsed.some("resource-version");
        if version.is_some() {
            // The patch names the version when the object has none.
            apimachinery::object::metadata_mut(&mut info.object).remove("resourceVersion");
        }
        let changed = match with_selector(&info, &selector, text, version) {
            Ok(after) => setter.put(&info, after, "selector updated", "").await,
            Err(why) => Err(Failure::Plain(why)),
        };
        failures.extend(changed.err());
    }
    Failure::all(failures)
}

fn with_selector(info: &Info, selector: &Selector, text: &str, version: Option<&str>) -> Result<Value, String> {
    if (info.mapping.group.as_str(), info.mapping.kind.as_str()) != ("", "Service") {
        return Err("setting a selector is only supported for Services".to_owned());
    }
    // `a=b` is a label to be equal; `a in (b)` is an expression, though it means the same.
    let is_equal = |one: &&Requirement| one.operator == Operator::In && one.values.len() == 1 && !text.contains('(');
    let expressions: Vec<String> =
        selector.requirements().iter().filter(|one| !is_equal(one)).map(expression).collect();
    if !expressions.is_empty() {
        return Err(format!("match expression [{}] not supported on this object", expressions.join(" ")));
    }
    let label = |one: &Requirement| (one.key.clone(), Value::from(one.values.join("")));
    let labels: Map<String, Value> = selector.requirements().iter().map(label).collect();
    let mut after = info.object.clone();
    if let Some(version) = version {
        apimachinery::object::set_resource_version(&mut after, version);
    }
    let spec = apimachinery::object::child_mut(&mut after, "spec");
    spec.remove("selector");
    if !labels.is_empty() {
        spec.insert("selector".into(), labels.into());
    }
    Ok(after)
}

/// As Go prints the struct.
fn expression(one: &Requirement) -> String {
    let operator = match one.operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
        Operator::GreaterThan => "Gt",
        Operator::LessThan => "Lt",
    };
    format!("{{{} {operator} [{}]}}", one.key, one.values.join(" "))
}
