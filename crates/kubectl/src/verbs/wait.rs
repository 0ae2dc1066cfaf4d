//! `wait`: for a condition, a field, a creation or a deletion.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::delete::gone;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, SELECTOR_FLAGS, Selection, Watcher};
use crate::print::jsonpath::JsonPath;
use crate::print::{go_text, operation, relaxed};
use crate::session::{FOREVER, Session};

pub const COMMAND: Command = Command {
    name: "wait",
    about: "Wait for a specific condition on one or many resources",
    usage: "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) \
            [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]] [options]",
    flags: &[FILENAME_FLAGS, SELECTOR_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Select all resources in the namespace of the specified resource types"),
    Flag::new("for", Kind::Texts, "The condition to wait on."),
    Flag::new("timeout", Kind::Duration, "The length of time to wait before giving up. Zero means check once and don't wait, negative means wait for a week.")
        .or("30s"),
];

/// What is waited for.
enum Goal {
    Gone,
    Created,
    Condition { kind: String, status: String },
    Field { path: JsonPath, value: Option<String> },
}

impl Goal {
    fn parse(texts: &[String]) -> Result<Self, Failure> {
        let [text] = texts else { return fail!("unrecognized condition: []") };
        if let Some(condition) = text.strip_prefix("condition=") {
            let (kind, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition { kind: kind.to_lowercase(), status: status.to_lowercase() });
        }
        if let Some(field) = text.strip_prefix("jsonpath=") {
            let (path, value) = match field.rfind("}=") {
                Some(at) => (&field[..=at], Some(field[at + 2..].trim_matches(['\'', '"']).to_owned())),
                None => (field, None),
            };
            return Ok(Self::Field { path: JsonPath::parse(&relaxed(path)?, true)?, value });
        }
        match text.to_lowercase().as_str() {
            "delete" => Ok(Self::Gone),
            "create" => Ok(Self::Created),
            _ => fail!("unrecognized condition: {text:?}"),
        }
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Gone => false,
            Self::Created => true,
            Self::Condition { kind, status } => has_condition(object, kind, status),
            Self::Field { path, value } => match (path.find(object).unwrap_or_default().as_slice(), value) {
                ([], _) => false,
                (_, None) => true,
                ([found], Some(value)) => go_text(found) == *value,
                _ => false,
            },
        }
    }
}

/// A condition that was observed before the last change does not count.
fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let generation = object["metadata"]["generation"].as_i64();
    let fresh = |observed: &Value| match (observed.as_i64(), generation) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    };
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found =
        conditions.iter().find(|condition| condition["type"].as_str().unwrap_or_default().to_lowercase() == kind);
    found.is_some_and(|condition| {
        let observed = match &condition["observedGeneration"] {
            Value::Null => &object["status"]["observedGeneration"],
            observed => observed,
        };
        fresh(observed) && condition["status"].as_str().unwrap_or_default().to_lowercase() == status
    })
}

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let goal = Goal::parse(&parsed.texts("for"))?;
    let negative = parsed.text("timeout").starts_with('-');
    let timeout = if negative { FOREVER } else { parsed.duration("timeout") };
    let deadline = Instant::now() + timeout;
    let infos = find(session, &parsed, &goal, timeout, deadline).await?;
    if infos.is_empty() && !matches!(goal, Goal::Gone) {
        return fail!("no matching resources found");
    }
    let mut failures = Vec::new();
    for info in infos {
        match reached(session, &goal, &info, timeout, deadline).await {
            Ok(object) => session.streams.print(operation(&object, "condition met"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}

/// The objects as they are; what is awaited to come may be missing still, what is awaited to go may be gone.
async fn find(
    session: &Session,
    parsed: &Parsed,
    goal: &Goal,
    timeout: Duration,
    deadline: Instant,
) -> Result<Vec<Info>, Failure> {
    let asked = Asked::of(session, parsed)?;
    let client = session.client()?;
    match asked.select(session).await? {
        Selection::Matching(matching) => {
            let (infos, failures) = Selection::Matching(matching).infos(client).await?;
            Failure::all(failures)?;
            Ok(infos)
        }
        named => {
            let (infos, failures) = named.infos(client).await?;
            Failure::all(failures)?;
            let mut found = Vec::new();
            for mut info in infos {
                match info.refresh(client).await {
                    Ok(()) => found.push(info),
                    Err(failure) if failure.is_not_found() => match goal {
                        Goal::Gone => {}
                        Goal::Created => {
                            info.object = changes(session, &info, goal, timeout, deadline).await?;
                            found.push(info);
                        }
                        _ => return Err(failure),
                    },
                    Err(failure) => return Err(failure),
                }
            }
            Ok(found)
        }
    }
}

async fn reached(
    session: &Session,
    goal: &Goal,
    info: &Info,
    timeout: Duration,
    deadline: Instant,
) -> Result<Value, Failure> {
    if let Goal::Gone = goal {
        let uid = apimachinery::object::uid(&info.object);
        gone(session, info, Some(uid), deadline).await?;
        return Ok(info.object.clone());
    }
    if goal.holds(&info.object) {
        return Ok(info.object.clone());
    }
    changes(session, info, goal, timeout, deadline).await
}

/// Watches one object until the goal is reached.
async fn changes(
    session: &Session,
    info: &Info,
    goal: &Goal,
    timeout: Duration,
    deadline: Instant,
) -> Result<Value, Failure> {
    let late =
        || Failure::Plain(format!("timed out waiting for the condition on {}/{}", info.mapping.resource, info.name));
    if timeout.is_zero() {
        return Err(late());
    }
    let watching = async {
        let client = session.client()?;
        let one = || Call::get(info.collection()).query("fieldSelector", &format!("metadata.name={}", info.name));
        loop {
            let mut list = one().value(client).await?;
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            if let Some(mut now) = list["items"].get_mut(0).map(Value::take) {
                complete(&mut now, info);
                if goal.holds(&now) {
                    return Ok(now);
                }
            }
            let mut watcher = Watcher::start(client, one().query("resourceVersion", &version)).await?;
            // A watch that ends, or is too old, is begun anew with a list.
            while let Ok(Some(event)) = watcher.next().await {
                if event.kind != "DELETED" && event.kind != "BOOKMARK" && goal.holds(&event.object) {
                    return Ok(event.object);
                }
            }
        }
    };
    tokio::time::timeout_at(deadline, watching).await.unwrap_or_else(|_| Err(late()))
}

/// Members of a list come without their kind.
fn complete(object: &mut Value, info: &Info) {
    let kind = info.type_meta();
    object["apiVersion"] = kind["apiVersion"].clone();
    object["kind"] = kind["kind"].clone();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_are_read_and_judged() {
        let object = json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": 2, "replicas": 3, "conditions": [{"type": "Available", "status": "True"}]},
        });
        let holds = |text: &str| Goal::parse(&[text.to_owned()]).expect(text).holds(&object);
        assert!(
            holds("condition=available") && holds("condition=Available=true") && !holds("condition=Available=False")
        );
        assert!(holds("jsonpath={.status.replicas}=3") && holds("jsonpath={.status.replicas}"));
        assert!(!holds("jsonpath={.status.nothing}") && !holds("jsonpath={.status.replicas}=4"));
        let mut old = object.clone();
        old["metadata"]["generation"] = 3.into();
        assert!(!Goal::parse(&["condition=available".to_owned()]).expect("a goal").holds(&old));
        assert!(Goal::parse(&["x".to_owned()]).is_err());
    }
}
