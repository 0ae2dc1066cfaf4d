//! `auth reconcile`: makes roles and bindings grant at least what files say.

use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info, Write};
use crate::print::{OUTPUT_FLAGS, operation};
use crate::session::Session;
use crate::verbs::delete::Removal;
use crate::verbs::writing::{self, DryRun, Writing};

pub const COMMAND: Command = Command {
    name: "reconcile",
    about: "Reconciles rules for RBAC role, role binding, cluster role, and cluster role binding objects",
    usage: "-f FILENAME [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("remove-extra-permissions", "If true, removes extra permissions added to roles"),
    Flag::switch("remove-extra-subjects", "If true, removes extra subjects added to rolebindings"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return fail!("no arguments allowed, only -f");
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-auth-reconcile")?;
    let asked = Asked::of(session, &parsed)?;
    let (infos, failures) = asked.select(session).await?.infos(session.client()?).await?;
    Failure::all(failures)?;
    for info in infos {
        if info.mapping.group != "rbac.authorization.k8s.io" {
            session.warn(&format!("skipping non-RBAC object of kind {}", info.mapping.kind));
            continue;
        }
        reconcile(session, &parsed, &mut writing, info).await?;
    }
    Ok(())
}

async fn reconcile(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    mut info: Info,
) -> Result<(), Failure> {
    let client = session.client()?;
    let write = Write { dry_run: writing.dry_run != DryRun::No, ..writing.write() };
    let existing = match info.get(client).await {
        Err(failure) if failure.is_not_found() => {
            let created = info.create(client, &write).await?;
            return writing.report(&created, "reconciled");
        }
        existing => existing?,
    };
    if info.mapping.kind.ends_with("Binding") && existing["roleRef"] != info.object["roleRef"] {
        // The reference cannot be changed: the binding is made anew.
        if writing.dry_run == DryRun::No {
            Removal::default().finish(session, &info).await?;
        }
        let created = info.create(client, &write).await?;
        return writing.report(&created, "reconciled");
    }
    let (field, exact) = match info.mapping.kind.as_str() {
        "Role" | "ClusterRole" => ("rules", parsed.on("remove-extra-permissions")),
        _ => ("subjects", parsed.on("remove-extra-subjects")),
    };
    let merged = merged(&existing, &info.object, field, exact);
    if merged == existing {
        return session.streams.print(operation(&existing, "unchanged"));
    }
    info.object = merged;
    let replaced = info.replace(client, &write).await?;
    writing.report(&replaced, "reconciled")
}

/// The existing object with what is missing added, or exactly what is wanted.
fn merged(existing: &Value, wanted: &Value, field: &str, exact: bool) -> Value {
    let mut merged = existing.clone();
    for tags in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][tags].as_object().into_iter().flatten() {
            if merged["metadata"][tags].is_null() {
                merged["metadata"][tags] = json!({});
            }
            merged["metadata"][tags][key] = value.clone();
        }
    }
    let wanted_items = wanted[field].as_array().cloned().unwrap_or_default();
    let mut items = existing[field].as_array().cloned().unwrap_or_default();
    if exact {
        items.retain(|item| wanted_items.iter().any(|wanted| covers(wanted, item)));
    }
    let missing: Vec<Value> =
        wanted_items.into_iter().filter(|wanted| !items.iter().any(|item| covers(item, wanted))).collect();
    items.extend(missing);
    if !items.is_empty() {
        merged[field] = json!(items);
    }
    merged
}

/// Whether one rule grants all of another, or two subjects are the same.
fn covers(one: &Value, other: &Value) -> bool {
    if one.get("verbs").is_none() {
        return ["kind", "name", "namespace"].iter().all(|field| one[*field] == other[*field]);
    }
    let all_of = |field: &str| {
        let of = |rule: &Value| rule[field].as_array().cloned().unwrap_or_default();
        let (one, other) = (of(one), of(other));
        if field == "resourceNames" {
            return one.is_empty() || (!other.is_empty() && other.iter().all(|item| one.contains(item)));
        }
        one.contains(&json!("*")) || other.iter().all(|item| one.contains(item))
    };
    ["verbs", "apiGroups", "resources", "nonResourceURLs", "resourceNames"].iter().all(|field| all_of(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_not_granted_twice() {
        let rule =
            |verbs: &[&str], resources: &[&str]| json!({"apiGroups": [""], "verbs": verbs, "resources": resources});
        let existing = json!({"rules": [rule(&["*"], &["pods"])]});
        let wanted = json!({"rules": [rule(&["get"], &["pods"]), rule(&["get"], &["nodes"])]});
        let added = merged(&existing, &wanted, "rules", false);
        assert_eq!(added["rules"], json!([rule(&["*"], &["pods"]), rule(&["get"], &["nodes"])]));
        assert_eq!(merged(&existing, &wanted, "rules", true)["rules"].as_array().map(Vec::len), Some(2));
    }
}
