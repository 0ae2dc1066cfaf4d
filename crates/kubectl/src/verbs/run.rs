//! `run`: one pod from an image.

use serde_json::{Value, json};

use super::apply::set_last_applied;
use super::attach::Joining;
use super::attended::{join_or_read, read, until};
use super::create::pairs;
use super::delete::Removal;
use super::named::RUNNING_TIMEOUT;
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
    flags: &[OUTPUT_FLAGS, writing::FLAGS, RUNNING_TIMEOUT, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("annotations", Kind::Texts, "Annotations to apply to the pod."),
    Flag::switch(
        "attach",
        "If true, wait for the Pod to start running, and then attach to the Pod as if 'kubectl attach ...' were \
         called.  Default false, unless '-i/--stdin' is set, in which case the default is true. With \
         '--restart=Never' the exit code of the container process is returned.",
    ),
    Flag::new(
        "cascade",
        Kind::Optional("background"),
        "Must be \"background\", \"orphan\", or \"foreground\". Selects the deletion cascading strategy for the dependents.",
    )
    .or("background"),
    Flag::switch(
        "command",
        "If true and extra arguments are present, use them as the 'command' field in the container.",
    ),
    Flag::new("env", Kind::Texts, "Environment variables to set in the container."),
    Flag::switch("expose", "If true, create a ClusterIP service associated with the pod.  Requires `--port`."),
    Flag::text("image", "The image for the container to run."),
    Flag::text("image-pull-policy", "The image pull policy for the container."),
    Flag::text("labels", "Comma separated labels to apply to the pod.").short('l'),
    Flag::switch(
        "leave-stdin-open",
        "If the pod is started in interactive mode or with stdin, leave stdin open after the first attach completes. \
         By default, stdin will be closed after the first attach completes.",
    ),
    Flag::text("overrides", "An inline JSON override for the generated object."),
    Flag::text("override-type", "The method used to override the generated object: json, merge, or strategic.")
        .or("merge"),
    Flag::text("port", "The port that this container exposes."),
    Flag::switch("privileged", "If true, run the container in privileged mode."),
    Flag::switch("quiet", "If true, suppress prompt messages.").short('q'),
    Flag::switch(
        "rm",
        "If true, delete the pod after it exits.  Only valid when attaching to the container, e.g. with '--attach' or \
         with '-i/--stdin'.",
    ),
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
    check(session, &parsed)?;
    let mut pod = pod(&parsed, name, words)?;
    if let Some(text) = parsed.some("overrides") {
        let overrides = decode_documents(text).map_err(|why| format!("Invalid JSON Patch: {why}"))?;
        let [patch] = overrides.as_slice() else { return fail!("--overrides takes one object") };
        json_merge(&mut pod, patch);
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-run")?;
    let service = parsed.on("expose").then(|| service(&parsed, &pod, name));
    if attaches(&parsed) {
        return attended(session, &parsed, &mut writing, [Some(pod), service]).await;
    }
    for (index, object) in service.into_iter().chain([pod]).enumerate() {
        if index > 0 && writing.shows_objects() {
            // The YAML printer writes another.
            session.streams.line("---")?;
        }
        create(session, &parsed, &mut writing, object).await?;
    }
    Ok(())
}

fn check(session: &Session, parsed: &Parsed) -> Result<(), Failure> {
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
    if !attaches(parsed) && parsed.on("rm") {
        return Err(session.usage("--rm should only be used for attached containers"));
    }
    if attaches(parsed) && DryRun::of(parsed)? != DryRun::No {
        return Err(session.usage(
            "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
        ));
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
    if parsed.on("stdin") && !parsed.on("leave-stdin-open") {
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

fn attaches(parsed: &Parsed) -> bool {
    if parsed.given("attach") { parsed.on("attach") } else { parsed.on("stdin") }
}

/// Makes the objects, joins the pod, and leaves as it left.
async fn attended(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    objects: [Option<Value>; 2],
) -> Result<(), Failure> {
    let mut made = Vec::new();
    for mut object in objects.into_iter().flatten() {
        if parsed.on("save-config") {
            set_last_applied(&mut object);
        }
        let mut info = Info::of_object(&session.catalog().await?.of_object(&object)?, object);
        info.namespace = session.config.namespace().0;
        let created = info.create(session.client()?, &writing.write()).await?;
        if !made.is_empty() {
            // Of the pod, what it says tells enough.
            writing.report(&created, "created")?;
        }
        made.push(info);
    }
    let pod = made.first().ok_or("no pod was made")?;
    let ended = joined(session, parsed, pod).await;
    if parsed.on("rm") {
        remove(session, parsed, &made).await?;
    }
    ended
}

async fn remove(session: &Session, parsed: &Parsed, made: &[Info]) -> Result<(), Failure> {
    let removal = Removal::cascading(parsed)?;
    for info in made {
        let there = removal.start(session, info, DryRun::No).await?.is_some();
        if there && !parsed.on("quiet") {
            let (kind, namespace) = (info.mapping.kind_name(), &info.namespace);
            session.streams.line(format!("{kind} {:?} deleted from {namespace} namespace", info.name))?;
        }
    }
    Ok(())
}

/// The exit code counts unless the container is to be started again.
async fn joined(session: &Session, parsed: &Parsed, pod: &Info) -> Result<(), Failure> {
    let timeout = parsed.duration("pod-running-timeout");
    join_or_read_pod(session, parsed, pod).await?;
    let wanted: &[&str] = match parsed.text("restart") {
        _ if parsed.on("leave-stdin-open") => return Ok(()),
        "Never" => &["Succeeded", "Failed"],
        "OnFailure" => &["Succeeded"],
        _ => return Ok(()),
    };
    let ended = until(session, pod, timeout, |object| wanted.contains(&phase(object))).await?;
    outcome(pod, &ended)
}

async fn join_or_read_pod(session: &Session, parsed: &Parsed, pod: &Info) -> Result<(), Failure> {
    let begun = |object: &Value| ends(object) || phase(object) == "Running" && is_ready(object);
    let object = until(session, pod, parsed.duration("pod-running-timeout"), begun).await?;
    let container = object["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_owned();
    if ends(&object) {
        return read(session, pod, &container, None).await;
    }
    // What it said before anybody listened.
    let since = match read(session, pod, &container, None).await {
        Ok(()) => {
            let now = jiff::Timestamp::now();
            Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        Err(failure) => {
            session.streams.note(format!("warning: couldn't fetch pre-attach logs: {}", failure.text()));
            None
        }
    };
    let joining = Joining {
        container,
        stdin: parsed.on("stdin"),
        tty: parsed.on("tty"),
        quiet: parsed.on("quiet"),
        command: "kubectl attach",
    };
    join_or_read(session, pod, &object, joining, since.as_deref()).await
}

fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

fn ends(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&phase(pod))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// How the pod's one container ended.
fn outcome(pod: &Info, object: &Value) -> Result<(), Failure> {
    if phase(object) == "Succeeded" {
        return Ok(());
    }
    let named = format!("pod {}/{}", pod.namespace, pod.name);
    let terminated = &object["status"]["containerStatuses"][0]["state"]["terminated"];
    let code = terminated["exitCode"].as_i64().and_then(|code| u8::try_from(code & 0xff).ok());
    let Some(code) = code.filter(|code| *code != 0) else {
        return fail!("{named} failed with unknown exit code");
    };
    let text = |field: &str| terminated[field].as_str().unwrap_or_default().to_owned();
    let said = format!("{named} terminated ({})\n{}", text("reason"), text("message"));
    Err(Failure::Code(said.trim_end_matches('\n').to_owned(), code))
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
