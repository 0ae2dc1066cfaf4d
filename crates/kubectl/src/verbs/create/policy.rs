//! `create poddisruptionbudget`, `priorityclass` and `quota`.

use serde_json::{Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const BUDGET: Command = Command {
    name: "poddisruptionbudget",
    aliases: &["pdb"],
    about: "Create a pod disruption budget with the specified name",
    usage: "NAME --selector=SELECTOR --min-available=N [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("max-unavailable", "The maximum number or percentage of unavailable pods this budget requires."),
            Flag::text("min-available", "The minimum number or percentage of available pods this budget requires."),
            Flag::text("selector", "A label selector to use for this budget."),
        ],
    ],
    run: runs!(budget),
    ..Command::EMPTY
};

pub const PRIORITY_CLASS: Command = Command {
    name: "priorityclass",
    aliases: &["pc"],
    about: "Create a priority class with the specified name",
    usage: "NAME --value=VALUE --global-default=BOOL [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("description", "An arbitrary string that describes when this priority class should be used."),
            Flag::switch("global-default", "Whether this PriorityClass should be considered as the default priority."),
            Flag::text("preemption-policy", "The policy for preempting pods with lower priority.")
                .or("PreemptLowerPriority"),
            Flag::number("value", "0", "the value of this priority class."),
        ],
    ],
    run: runs!(priority_class),
    ..Command::EMPTY
};

pub const QUOTA: Command = Command {
    name: "quota",
    aliases: &["resourcequota"],
    about: "Create a quota with the specified name",
    usage: "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2] [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::list("hard", "A comma-delimited set of resource=quantity pairs that define a hard limit."),
            Flag::list("scopes", "A comma-delimited set of quota scopes that must all match each object."),
        ],
    ],
    run: runs!(quota),
    ..Command::EMPTY
};

fn int_or_percent(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

async fn budget(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let selector = parsed.text("selector");
    if selector.is_empty() {
        return fail!("a selector must be specified");
    }
    let mut spec = json!({"selector": {"matchLabels": super::plain::pairs(&parsed.list("selector"))?}});
    match (parsed.some("max-unavailable"), parsed.some("min-available")) {
        (None, None) => return fail!("one of min-available or max-unavailable must be specified"),
        (Some(_), Some(_)) => return fail!("min-available and max-unavailable cannot be both specified"),
        (Some(text), None) => spec["maxUnavailable"] = int_or_percent(text),
        (None, Some(text)) => spec["minAvailable"] = int_or_percent(text),
    }
    let status = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    let object = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": spec,
        "status": status,
    });
    create_made(session, &parsed, object, Some("poddisruptionbudgets: ")).await
}

async fn priority_class(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let mut object = json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": parsed.number("value"),
        "preemptionPolicy": parsed.text("preemption-policy"),
    });
    if parsed.on("global-default") {
        object["globalDefault"] = true.into();
    }
    if let Some(description) = parsed.some("description") {
        object["description"] = description.into();
    }
    create_made(session, &parsed, object, Some("priorityclass: ")).await
}

async fn quota(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let mut spec = json!({});
    let hard = super::plain::pairs(&parsed.list("hard"))?;
    if !hard.is_empty() {
        spec["hard"] = json!(hard);
    }
    let scopes = parsed.list("scopes");
    if !scopes.is_empty() {
        spec["scopes"] = json!(scopes);
    }
    let object =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec, "status": {}});
    create_made(session, &parsed, object, Some("quota: ")).await
}
