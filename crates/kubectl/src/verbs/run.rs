//! `run`: one pod from an image.

use serde_json::{Value, json};

use super::apply::set_last_applied;
use super::create::pairs;
use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Info, decode_documents};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "run",
    about: "Run a particular image on the cluster",
    usage: "NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] \
            [--command] -- [COMMAND] [args...] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("annotations", Kind::Texts, "Annotations to apply to the pod."),
    Flag::switch(
        "command",
        "If true and extra arguments are present, use them as the 'command' field in the container.",
    ),
    Flag::new("env", Kind::Texts, "Environment variables to set in the container."),
    Flag::switch("expose", "If true, create a ClusterIP service associated with the pod.  Requires `--port`."),
    Flag::text("image", "The image for the container to run."),
    Flag::text("image-pull-policy", "The image pull policy for the container."),
    Flag::text("labels", "Comma separated labels to apply to the pod.").short('l'),
    Flag::text("overrides", "An inline JSON override for the generated object."),
    Flag::text("override-type", "The method used to override the generated object: json, merge, or strategic.")
        .or("merge"),
    Flag::text("port", "The port that this container exposes."),
    Flag::switch("privileged", "If true, run the container in privileged mode."),
    Flag::text("restart", "The restart policy for this Pod.  Legal values [Always, OnFailure, Never].").or("Always"),
    Flag::switch("save-config", "If true, the configuration of current object will be saved in its annotation."),
    Flag::switch("stdin", "Keep stdin open on the container in the pod.").short('i'),
    Flag::switch("tty", "Allocate a TTY for the container in the pod.").short('t'),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.given("image") {
        return fail!("required flag(s) \"image\" not set");
    }
    let Some((name, words)) = parsed.arguments.split_first() else {
        return Err(session.usage("NAME is required for run"));
    };
    if parsed.before_dash == Some(0) {
        return Err(session.usage("NAME is required for run"));
    }
    check(&parsed)?;
    let mut pod = pod(&parsed, name, words)?;
    if let Some(text) = parsed.some("overrides") {
        let overrides = decode_documents(text).map_err(|why| format!("Invalid JSON Patch: {why}"))?;
        let [patch] = overrides.as_slice() else { return fail!("--overrides takes one object") };
        json_merge(&mut pod, patch);
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-run")?;
    let service = parsed.on("expose").then(|| service(&parsed, &pod, name));
    for (index, object) in service.into_iter().chain([pod]).enumerate() {
        if index > 0 && writing.shows_objects() {
            // The YAML printer writes another.
            session.streams.line("---")?;
        }
        create(session, &parsed, &mut writing, object).await?;
    }
    Ok(())
}

fn check(parsed: &Parsed) -> Result<(), Failure> {
    let image = parsed.text("image");
    if image.is_empty() {
        return fail!("--image is required");
    }
    if image.contains(char::is_whitespace) || image.contains(char::is_uppercase) && !image.contains('/') {
        return fail!("Invalid image name {image:?}: invalid reference format");
    }
    if parsed.on("tty") && !parsed.on("stdin") {
        return fail!("-i/--stdin is required for containers with -t/--tty=true");
    }
    if parsed.on("expose") && parsed.some("port").is_none() {
        return fail!("--port must be set when exposing a service");
    }
    match parsed.text("restart") {
        "Always" | "OnFailure" | "Never" => Ok(()),
        other => fail!("invalid restart policy: {other}"),
    }
}

fn container(parsed: &Parsed, name: &str, words: &[String]) -> Result<Value, Failure> {
    let mut container = json!({"name": name, "image": parsed.text("image"), "resources": {}});
    if !words.is_empty() {
        container[if parsed.on("command") { "command" } else { "args" }] = json!(words);
    }
    let mut env = Vec::new();
    for word in parsed.texts("env") {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => env.push(json!({"name": name, "value": value})),
            _ => return fail!("invalid env: {word}"),
        }
    }
    if !env.is_empty() {
        container["env"] = env.into();
    }
    if let Some(port) = parsed.some("port") {
        let number: i64 = port.parse().map_err(|_| format!("strconv.Atoi: parsing {port:?}: invalid syntax"))?;
        container["ports"] = json!([{"containerPort": number}]);
    }
    if let Some(policy) = parsed.some("image-pull-policy") {
        container["imagePullPolicy"] = policy.into();
    }
    if parsed.on("privileged") {
        container["securityContext"] = json!({"privileged": true});
    }
    for flag in ["stdin", "tty"].into_iter().filter(|flag| parsed.on(flag)) {
        container[flag] = true.into();
    }
    if parsed.on("stdin") {
        container["stdinOnce"] = true.into();
    }
    Ok(container)
}

fn pod(parsed: &Parsed, name: &str, words: &[String]) -> Result<Value, Failure> {
    let labels = match parsed.some("labels") {
        Some(_) => json!(pairs(&parsed.list("labels"))?),
        None => json!({"run": name}),
    };
    let mut metadata = json!({"name": name, "labels": labels});
    let annotations = parsed.texts("annotations");
    if !annotations.is_empty() {
        metadata["annotations"] = json!(pairs(&annotations)?);
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [container(parsed, name, words)?],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": parsed.text("restart"),
        },
        "status": {},
    }))
}

fn service(parsed: &Parsed, pod: &Value, name: &str) -> Value {
    let port = parsed.text("port").parse::<i64>().unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
            "selector": pod["metadata"]["labels"],
        },
        "status": {"loadBalancer": {}},
    })
}

/// A JSON merge patch.
fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        match (target.as_object_mut(), value) {
            (Some(map), Value::Null) => drop(map.remove(key)),
            (Some(map), value) => json_merge(map.entry(key.clone()).or_insert(Value::Null), value),
            (None, _) => {}
        }
    }
}

async fn create(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    mut object: Value,
) -> Result<(), Failure> {
    if parsed.on("save-config") {
        set_last_applied(&mut object);
    }
    let (namespace, given) = session.config.namespace();
    if writing.dry_run == DryRun::Client {
        if given {
            apimachinery::object::set_namespace(&mut object, &namespace);
        }
        return writing.report(&object, "created");
    }
    let mapping = session.catalog().await?.of_object(&object)?;
    let mut info = Info::of_object(&mapping, object);
    info.namespace = namespace;
    let created = info.create(session.client()?, &writing.write()).await?;
    writing.report(&created, "created")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_merged() {
        let mut pod = json!({"spec": {"a": 1, "b": 2}});
        json_merge(&mut pod, &json!({"spec": {"a": null, "c": {"d": 1}}}));
        assert_eq!(pod, json!({"spec": {"b": 2, "c": {"d": 1}}}));
    }
}
