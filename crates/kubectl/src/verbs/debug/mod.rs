//! `debug`: a container beside those of a pod, in a copy of it, or on a node.

mod custom;
mod plan;
mod profile;

use http::Method;
use serde_json::{Value, json};

use super::attach::Joining;
use super::attended::{join_or_read, read, until};
use super::named::one_object;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, Patch, Write};
use crate::session::{FOREVER, Session};
use plan::{Wanted, has_container, lacks_capabilities};

pub const COMMAND: Command = Command {
    name: "debug",
    about: "Create debugging sessions for troubleshooting workloads and nodes",
    usage: "(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ] [options]",
    flags: &[FILENAME_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch(
        "arguments-only",
        "If specified, everything after -- will be passed to the new container as Args instead of Command.",
    ),
    Flag::switch(
        "attach",
        "If true, wait for the container to start running, and then attach as if 'kubectl attach ...' were called.  \
         Default false, unless '-i/--stdin' is set, in which case the default is true.",
    ),
    Flag::text("container", "Container name to use for debug container.").short('c'),
    Flag::text("copy-to", "Create a copy of the target Pod with this name."),
    Flag::text(
        "custom",
        "Path to a JSON or YAML file containing a partial container spec to customize built-in debug profiles.",
    ),
    Flag::list("env", "Environment variables to set in the container."),
    Flag::text("image", "Container image to use for debug container."),
    Flag::text(
        "image-pull-policy",
        "The image pull policy for the container. If left empty, this value will not be specified by the client and \
         defaulted by the server.",
    ),
    Flag::switch("keep-annotations", "If true, keep the original pod annotations."),
    Flag::switch("keep-init-containers", "Run the init containers for the pod. Defaults to true.").or("true"),
    Flag::switch("keep-labels", "If true, keep the original pod labels."),
    Flag::switch("keep-liveness", "If true, keep the original pod liveness probes."),
    Flag::switch("keep-readiness", "If true, keep the original pod readiness probes."),
    Flag::switch("keep-startup", "If true, keep the original startup probes."),
    Flag::text(
        "profile",
        "Options are \"general\", \"baseline\", \"restricted\", \"netadmin\" or \"sysadmin\". Defaults to \"general\"",
    )
    .or("general"),
    Flag::switch("quiet", "If true, suppress informational messages.").short('q'),
    Flag::switch("replace", "When used with '--copy-to', delete the original Pod."),
    Flag::switch("same-node", "When used with '--copy-to', schedule the copy of target Pod on the same node."),
    Flag::list("set-image", "When used with '--copy-to', a list of name=image pairs for changing container images."),
    Flag::switch("share-processes", "When used with '--copy-to', enable process namespace sharing in the copy.")
        .or("true"),
    Flag::switch("stdin", "Keep stdin open on the container(s) in the pod, even if nothing is attached.").short('i'),
    Flag::text("target", "When using an ephemeral container, target processes in this container name."),
    Flag::switch("tty", "Allocate a TTY for the debugging container.").short('t'),
];

const NOT_ROOT: &str = "Non-root user is configured for the entire target Pod, and some capabilities granted by debug \
    profile may not work. Please consider using \"--custom\" with a custom profile that specifies \
    \"securityContext.runAsUser: 0\".";

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let (names, words) = parsed.arguments.split_at(parsed.before_dash.unwrap_or(parsed.arguments.len()));
    let debug = Debug { session, parsed: &parsed, wanted: Wanted::of(&parsed, words)? };
    debug.check(names)?;
    for info in debug.targets(names).await? {
        let made = match (info.mapping.group.as_str(), info.mapping.kind.as_str()) {
            ("", "Pod") if parsed.some("copy-to").is_some() => debug.in_a_copy(&info).await?,
            ("", "Pod") => Some(debug.beside(&info).await?),
            ("", "Node") => Some(debug.on_node(&info).await?),
            (_, kind) => {
                let gvk = format!("{}, Kind={kind}", info.mapping.api_version());
                return fail!("{gvk:?} not supported by debug");
            }
        };
        let attaches = if parsed.given("attach") { parsed.on("attach") } else { parsed.on("stdin") };
        if let Some((pod, container)) = made.filter(|_| attaches) {
            debug.attach(&pod, &container).await?;
        }
    }
    Ok(())
}

struct Debug<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    wanted: Wanted,
}

impl Debug<'_> {
    fn check(&self, names: &[String]) -> Result<(), Failure> {
        self.wanted.check(self.parsed)?;
        if names.is_empty() && !self.parsed.given("filename") {
            return fail!("NAME or filename is required for debug");
        }
        self.wanted.check_more()?;
        if !self.wanted.target.is_empty() {
            self.tell(&format!(
                "Targeting container {:?}. If you don't see processes from this container it may be because the \
                 container runtime doesn't support this feature.",
                self.wanted.target
            ))?;
        }
        if self.wanted.tty && !self.wanted.stdin {
            return fail!("-i/--stdin is required for containers with -t/--tty=true");
        }
        if self.wanted.profile.is_legacy() {
            self.session.streams.note(
                "--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended to specify other \
                 profile, for example \"--profile=general\".",
            );
        }
        Ok(())
    }

    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.parsed.on("quiet") { Ok(()) } else { self.session.streams.line(line) }
    }

    async fn targets(&self, names: &[String]) -> Result<Vec<Info>, Failure> {
        if self.parsed.given("filename") {
            let asked = Asked { arguments: names.to_vec(), ..Asked::of(self.session, self.parsed)? };
            let (infos, failures) = asked.select(self.session).await?.fetched(self.session.client()?).await?;
            return Failure::all(failures).map(|()| infos);
        }
        let mut infos = Vec::new();
        for name in names {
            infos.push(one_object(self.session, name).await?);
        }
        Ok(infos)
    }

    /// The container's name: the one that was asked for, or one that is not in the pod.
    fn container_name(&self, pod: &Value) -> Result<String, Failure> {
        if !self.wanted.container.is_empty() {
            return Ok(self.wanted.container.clone());
        }
        let mut name = format!("debugger-{}", suffix());
        while has_container(pod, &name) {
            name = format!("debugger-{}", suffix());
        }
        self.tell(&format!("Defaulting debug container name to {name}."))?;
        Ok(name)
    }

    fn warn(&self, pod: &Value, container: &Value) {
        if lacks_capabilities(pod, container) {
            self.session.warn(NOT_ROOT);
        }
    }

    async fn beside(&self, info: &Info) -> Result<(Info, String), Failure> {
        let name = self.container_name(&info.object)?;
        let container = self.wanted.ephemeral_container(&info.object, &name)?;
        self.warn(&info.object, &container);
        let patch = json!({"spec": {
            "$setElementOrder/ephemeralContainers": names_with(&info.object, &name),
            "ephemeralContainers": [container],
        }});
        let write = Write { subresource: "/ephemeralcontainers", ..Write::default() };
        info.patch(self.session.client()?, Patch::Strategic, &patch, &write).await?;
        Ok((info.clone(), name))
    }

    async fn in_a_copy(&self, info: &Info) -> Result<Option<(Info, String)>, Failure> {
        let drawn = if self.wanted.container.is_empty() && !self.wanted.image.is_empty() {
            self.container_name(&info.object)?
        } else {
            String::new()
        };
        let (copy, container) = self.wanted.copy(&info.object, || drawn)?;
        let containers = copy["spec"]["containers"].as_array().into_iter().flatten();
        containers.filter(|one| Some(one["name"].as_str().unwrap_or_default()) == container.as_deref()).for_each(
            |one| {
                self.warn(&copy, one);
            },
        );
        let made = Info::of_object(&info.mapping, copy);
        let client = self.session.client()?;
        made.create(client, &Write::default()).await?;
        if self.parsed.on("replace") {
            let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
            Call::new(Method::DELETE, info.path()).json(&now).value(client).await?;
        }
        Ok(container.map(|container| (made, container)))
    }

    async fn on_node(&self, node: &Info) -> Result<(Info, String), Failure> {
        let container = if self.wanted.container.is_empty() { "debugger" } else { &self.wanted.container };
        let name = format!("node-debugger-{}-{}", node.name, suffix());
        self.tell(&format!("Creating debugging pod {name} with container {container} on node {}.", node.name))?;
        let pod = self.wanted.node_pod(&node.name, &name, container)?;
        let mut info = Info::of_object(&self.session.catalog().await?.resource("pods")?, pod);
        info.namespace = self.session.namespace();
        info.create(self.session.client()?, &Write::default()).await?;
        Ok((info, container.to_owned()))
    }

    /// Waits for the container, and joins it; of one that has ended already, shows what it said.
    async fn attach(&self, pod: &Info, container: &str) -> Result<(), Failure> {
        let object = self.started(pod, container).await?;
        let state = &state_of(&object, container)["state"];
        if state["terminated"].is_object() {
            return read(self.session, pod, container, None).await;
        }
        let joining = Joining {
            container: container.to_owned(),
            stdin: self.wanted.stdin,
            tty: self.wanted.tty,
            quiet: self.parsed.on("quiet"),
            command: "kubectl attach",
        };
        join_or_read(self.session, pod, &object, joining, None).await
    }

    async fn started(&self, pod: &Info, container: &str) -> Result<Value, Failure> {
        until(self.session, pod, FOREVER, |object| self.is_started(object, container)).await
    }

    fn is_started(&self, pod: &Value, container: &str) -> bool {
        let state = &state_of(pod, container)["state"];
        if let Some(message) = state["waiting"]["message"].as_str().filter(|_| !self.parsed.on("quiet")) {
            self.session.warn(&format!("container {container}: {message}"));
        }
        state["running"].is_object() || state["terminated"].is_object()
    }
}

/// The ephemeral containers in their order, a new one last.
fn names_with(pod: &Value, name: &str) -> Vec<Value> {
    let known = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    let mut names: Vec<Value> = known.map(|container| json!({"name": container["name"]})).collect();
    let new = json!({"name": name});
    if !names.contains(&new) {
        names.push(new);
    }
    names
}

fn state_of<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let mut all = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    all.find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

/// Five letters that make a name new.
fn suffix() -> String {
    use std::hash::{BuildHasher, Hasher};
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut number = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let mut draw = || {
        let letters = LETTERS.len() as u64;
        let letter = usize::try_from(number % letters).expect("less than the number of letters");
        number /= letters;
        char::from(LETTERS[letter])
    };
    (0..5).map(|_| draw()).collect()
}
