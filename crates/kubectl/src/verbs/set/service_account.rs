//! `set serviceaccount`: as whom pods speak to the API.

use super::pod_spec::pod_spec;
use super::{LOCAL_FLAGS, Setter};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::FILENAME_FLAGS;
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "serviceaccount",
    aliases: &["sa"],
    about: "Update the service account of a resource",
    usage: "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    setter.check_local()?;
    let Some((account, resources)) = parsed.arguments.split_last() else { return fail!("serviceaccount is required") };
    // What is not read from the server needs no names.
    let resources = if setter.local { Vec::new() } else { resources.to_vec() };
    let infos = setter.objects(resources).await?;
    let mut failures = Vec::new();
    for info in &infos {
        let mut after = info.object.clone();
        match pod_spec(info, &mut after) {
            Ok(spec) => {
                spec["serviceAccountName"] = account.as_str().into();
                let failed = "failed to patch ServiceAccountName ";
                failures.extend(setter.put(info, after, "serviceaccount updated", failed).await.err());
            }
            Err(why) => failures.push(setter.refused(info, &why)),
        }
    }
    Failure::all(failures)
}
