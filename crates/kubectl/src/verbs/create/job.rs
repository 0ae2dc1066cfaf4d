//! `create job` and `create cronjob`.

use serde_json::{Map, Value, json};

use super::{SAVE_CONFIG, create_made};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Selection};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const JOB: Command = Command {
    name: "job",
    about: "Create a job with the specified name",
    usage: "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("from", "The name of the resource to create a Job from (only cronjob is supported)."),
            Flag::text("image", "Image name to run."),
        ],
    ],
    run: runs!(job),
    ..Command::EMPTY
};

pub const CRON_JOB: Command = Command {
    name: "cronjob",
    aliases: &["cj"],
    about: "Create a cron job with the specified name",
    usage: "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("image", "Image name to run."),
            Flag::text("restart", "job's restart policy. supported values: OnFailure, Never"),
            Flag::text("schedule", "A schedule in the Cron format the job should be run with."),
        ],
    ],
    run: runs!(cron_job),
    ..Command::EMPTY
};

fn pod_spec(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"containers": [container], "restartPolicy": restart})
}

async fn job(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let Some(name) = parsed.arguments.first() else {
        return Err(session.usage("exactly one NAME is required, got 0"));
    };
    let command = &parsed.arguments[1..];
    let spec = match (parsed.some("image"), parsed.some("from")) {
        (None, None) => return fail!("either --image or --from must be specified"),
        (Some(_), Some(_)) => return fail!("either --image or --from must be specified"),
        (None, Some(_)) if !command.is_empty() => return fail!("cannot specify --from and command"),
        (None, Some(from)) => return job_from(session, &parsed, name, from).await,
        (Some(image), None) => pod_spec(name, image, command, "Never"),
    };
    let object = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {}, "spec": spec}},
        "status": {},
    });
    create_made(session, &parsed, object, Some("job: ")).await
}

async fn job_from(session: &Session, parsed: &Parsed, name: &str, from: &str) -> Result<(), Failure> {
    let asked = Asked { arguments: vec![from.to_owned()], namespace: session.namespace(), ..Asked::default() };
    let Selection::Named { mut infos, single: true } = asked.select(session).await? else {
        return fail!("from must be an existing cronjob");
    };
    let mut info = infos.remove(0);
    info.refresh(session.client()?).await?;
    if (info.mapping.group.as_str(), info.mapping.kind.as_str()) != ("batch", "CronJob") {
        return fail!("unsupported object type {}; only CronJob is supported", info.mapping.kind);
    }
    create_made(session, parsed, of_cron_job(name, &info.object), Some("job: ")).await
}

/// The job that a cron job would make now.
fn of_cron_job(name: &str, cron_job: &Value) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_else(Map::new);
    annotations.insert("cronjob.kubernetes.io/instantiate".into(), "manual".into());
    let mut metadata = json!({
        "name": name,
        "annotations": annotations,
        "ownerReferences": [{
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": cron_job["metadata"]["name"],
            "uid": cron_job["metadata"]["uid"],
            "controller": true,
        }],
    });
    if let Some(labels) = template["metadata"]["labels"].as_object() {
        metadata["labels"] = json!(labels);
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"], "status": {}})
}

async fn cron_job(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    for flag in ["image", "schedule"] {
        if parsed.some(flag).is_none() {
            return fail!("required flag(s) {flag:?} not set");
        }
    }
    let Some(name) = parsed.arguments.first() else {
        return Err(session.usage("exactly one NAME is required, got 0"));
    };
    let restart = parsed.some("restart").unwrap_or("OnFailure");
    let spec = pod_spec(name, parsed.text("image"), &parsed.arguments[1..], restart);
    let object = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "jobTemplate": {"metadata": {"name": name}, "spec": {"template": {"metadata": {}, "spec": spec}}},
            "schedule": parsed.text("schedule"),
        },
        "status": {},
    });
    create_made(session, &parsed, object, Some("cronjob: ")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_job_belongs_to_its_cron_job() {
        let cron_job = json!({
            "metadata": {"name": "c", "uid": "u"},
            "spec": {"jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}},
        });
        let job = of_cron_job("j", &cron_job);
        assert_eq!(job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"], "manual");
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    }
}
