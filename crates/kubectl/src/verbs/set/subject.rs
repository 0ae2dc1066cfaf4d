//! `set subject`: to whom a binding gives its role.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{LOCAL_FLAGS, LOCAL_NEEDS_FILES, SELECTOR_FLAG, Setter};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

const RBAC: &str = "rbac.authorization.k8s.io";

pub const COMMAND: Command = Command {
    name: "subject",
    about: "Update the user, group, or service account in a role binding or cluster role binding",
    usage: "(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] \
            [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS, SELECTOR_FLAG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("group", Kind::Texts, "Groups to bind to the role"),
    Flag::new("serviceaccount", Kind::Texts, "Service accounts to bind to the role"),
    Flag::new("user", Kind::Texts, "Usernames to bind to the role"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    if setter.local && !parsed.arguments.is_empty() {
        return fail!("{LOCAL_NEEDS_FILES}");
    }
    let infos = setter.objects(parsed.arguments.clone()).await?;
    setter.check_local()?;
    setter.check_selection()?;
    let accounts = parsed.texts("serviceaccount");
    if parsed.texts("user").is_empty() && parsed.texts("group").is_empty() && accounts.is_empty() {
        return fail!("you must specify at least one value of user, group or serviceaccount");
    }
    check_accounts(&accounts, &infos)?;
    let subjects = subjects(&parsed, &session.namespace());
    let mut failures = Vec::new();
    for info in &infos {
        match with_subjects(info, &subjects) {
            Ok(after) => {
                let failed = "failed to patch subjects to rolebinding: ";
                failures.extend(setter.put_changed(info, after, "subjects updated", failed).await.err());
            }
            Err(why) => failures.push(setter.refused(info, &why)),
        }
    }
    Failure::all(failures)
}

fn check_accounts(accounts: &[String], infos: &[Info]) -> Result<(), Failure> {
    for account in accounts {
        let [namespace, name] = account.split(':').collect::<Vec<_>>()[..] else {
            return fail!("serviceaccount must be <namespace>:<name>");
        };
        if name.is_empty() {
            return fail!("serviceaccount must be <namespace>:<name>");
        }
        if namespace.is_empty() && infos.iter().any(|info| info.mapping.kind == "ClusterRoleBinding") {
            return fail!("serviceaccount must be <namespace>:<name>, namespace must be specified");
        }
    }
    Ok(())
}

fn subjects(parsed: &Parsed, here: &str) -> Vec<Value> {
    let sorted = |flag: &str| parsed.texts(flag).into_iter().collect::<BTreeSet<_>>();
    let named = |kind: &'static str| move |name: String| json!({"apiGroup": RBAC, "kind": kind, "name": name});
    let account = |account: String| {
        let (namespace, name) = account.split_once(':').unwrap_or(("", &account));
        let namespace = if namespace.is_empty() { here } else { namespace };
        json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    };
    let mut subjects: Vec<Value> = sorted("user").into_iter().map(named("User")).collect();
    subjects.extend(sorted("group").into_iter().map(named("Group")));
    subjects.extend(sorted("serviceaccount").into_iter().map(account));
    subjects
}

fn with_subjects(info: &Info, subjects: &[Value]) -> Result<Value, String> {
    if info.mapping.group != RBAC || !["RoleBinding", "ClusterRoleBinding"].contains(&info.mapping.kind.as_str()) {
        return Err("setting subjects is only supported for RoleBinding/ClusterRoleBinding".to_owned());
    }
    let mut after = info.object.clone();
    let mut all = after["subjects"].as_array().cloned().unwrap_or_default();
    let added: Vec<Value> = subjects.iter().filter(|subject| !all.contains(subject)).cloned().collect();
    if !added.is_empty() {
        all.extend(added);
        after["subjects"] = all.into();
    }
    Ok(after)
}
