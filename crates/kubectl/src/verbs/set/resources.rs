//! `set resources`: what containers may use, and what they are promised.

use apimachinery::quantity::Quantity;
use serde_json::Value;

use super::pod_spec::{each_container, pod_spec};
use super::{LOCAL_FLAGS, SELECTOR_FLAG, Setter};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "resources",
    about: "Update resource requests/limits on objects with pod templates",
    usage: "(-f FILENAME | TYPE NAME)  ([--limits=LIMITS & --requests=REQUESTS] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS, SELECTOR_FLAG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("containers", "The names of containers in the selected pod templates to change, may use wildcards")
        .short('c')
        .or("*"),
    Flag::text("limits", "The resource requirement limits for this container. For example, 'cpu=100m,memory=256Mi'."),
    Flag::text("requests", "The resource requirement requests for this container."),
];

/// `limits` and `requests` with what they are to hold.
type Changes = [(&'static str, Vec<(String, String)>); 2];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    let infos = setter.objects(parsed.arguments.clone()).await?;
    setter.check_local()?;
    setter.check_selection()?;
    if parsed.some("limits").is_none() && parsed.some("requests").is_none() {
        return fail!("you must specify an update to requests or limits (in the form of --requests/--limits)");
    }
    let changes = [("limits", list(parsed.text("limits"))?), ("requests", list(parsed.text("requests"))?)];
    let names = parsed.text("containers");
    let mut failures = Vec::new();
    for info in &infos {
        match with_resources(info, &changes, names) {
            Ok(None) => {
                failures.push(Failure::Plain(format!("error: unable to find container named {names}")));
            }
            Ok(Some(after)) => {
                let failed = "failed to patch resources update to pod template ";
                failures.extend(setter.put_changed(info, after, "resource requirements updated", failed).await.err());
            }
            Err(why) => failures.push(setter.refused(info, &why)),
        }
    }
    Failure::all(failures)
}

/// `cpu=1,memory=1Gi`, canonical.
fn list(spec: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut list = Vec::new();
    for part in spec.split(',').filter(|_| !spec.is_empty()) {
        let [name, quantity] = part.split('=').collect::<Vec<_>>()[..] else {
            return fail!("Invalid argument syntax {part}, expected <resource>=<value>");
        };
        let quantity: Quantity = quantity.parse().map_err(|error| Failure::Plain(format!("{error}")))?;
        list.push((name.to_owned(), quantity.to_string()));
    }
    Ok(list)
}

/// `None` when no container matches.
fn with_resources(info: &Info, changes: &Changes, names: &str) -> Result<Option<Value>, String> {
    let mut after = info.object.clone();
    let count = each_container(pod_spec(info, &mut after)?, names, |container| {
        for (field, list) in changes {
            for (name, quantity) in list {
                container["resources"][*field][name] = quantity.as_str().into();
            }
        }
    });
    Ok((count > 0).then_some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_resources_are_read() {
        let read = list("cpu=1000m,memory=1024Mi").expect("good");
        assert_eq!(read, [("cpu".into(), "1".into()), ("memory".into(), "1Gi".into())]);
        assert_eq!(list("cpu").expect_err("bad").text(), "Invalid argument syntax cpu, expected <resource>=<value>");
        assert!(list("").expect("empty").is_empty() && list("cpu=x").is_err());
    }
}
