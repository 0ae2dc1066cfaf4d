//! `cluster-info dump`: what there is, and what the pods have said, for whoever looks for a fault.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde_json::Value;

use super::named::RUNNING_TIMEOUT;
use crate::command::{Command, runs};
use crate::config::os_text;
use crate::failure::Failure;
use crate::flags::{Flag, Parsed};
use crate::objects::Call;
use crate::print::{Format, OUTPUT_FLAGS, to_json_in_order};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "dump",
    about: "Dump relevant information for debugging and diagnosis",
    usage: "[flags] [options]",
    flags: &[OUTPUT_FLAGS, FLAGS, RUNNING_TIMEOUT],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all-namespaces", "If true, dump all namespaces.  If true, --namespaces is ignored.").short('A'),
    Flag::list("namespaces", "A comma separated list of namespaces to dump."),
    Flag::text(
        "output-directory",
        "Where to output the files.  If empty or '-' uses stdout, otherwise creates a directory hierarchy in that \
         directory",
    ),
];

/// The lists of a namespace: the file's name, the API, the resource.
const LISTS: &[(&str, &str, &str)] = &[
    ("events", "v1", "events"),
    ("replication-controllers", "v1", "replicationcontrollers"),
    ("services", "v1", "services"),
    ("daemonsets", "apps/v1", "daemonsets"),
    ("deployments", "apps/v1", "deployments"),
    ("replicasets", "apps/v1", "replicasets"),
    ("pods", "v1", "pods"),
];

/// A list's and its members' own, in JSON.
const KEY_ORDER: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "labels",
    "annotations",
    "spec",
    "status",
    "items",
];

struct Dump<'a> {
    session: &'a Session,
    format: Option<Format>,
    extension: &'static str,
    directory: Option<&'a str>,
    /// How many lists there were: documents of YAML stand apart.
    shown: usize,
}

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut dump = Dump {
        session,
        format: Format::of_written(&parsed)?,
        extension: match parsed.text("output") {
            "" | "json" => "json",
            "yaml" => "yaml",
            _ => "txt",
        },
        directory: parsed.some("output-directory").filter(|directory| *directory != "-"),
        shown: 0,
    };
    let nodes = dump.list("v1", "", "nodes").await?;
    dump.show(&nodes, "nodes")?;
    for namespace in namespaces(session, &parsed).await? {
        dump.namespace(&namespace).await?;
    }
    match dump.directory {
        Some(directory) => session.streams.line(format!("Cluster info dumped to {directory}")),
        None => Ok(()),
    }
}

async fn namespaces(session: &Session, parsed: &Parsed) -> Result<Vec<String>, Failure> {
    if parsed.on("all-namespaces") {
        let list = Call::get("/api/v1/namespaces").value(session.client()?).await?;
        let items = list["items"].as_array().into_iter().flatten();
        return Ok(items.map(|item| apimachinery::object::name(item).to_owned()).collect());
    }
    let named = parsed.list("namespaces");
    Ok(if named.is_empty() { vec!["kube-system".into(), session.namespace()] } else { named })
}

impl Dump<'_> {
    async fn list(&self, api: &str, namespace: &str, resource: &str) -> Result<Value, Failure> {
        let root = if api.contains('/') { "apis" } else { "api" };
        let namespace = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        Call::get(format!("/{root}/{api}/{namespace}{resource}")).value(self.session.client()?).await
    }

    async fn namespace(&mut self, namespace: &str) -> Result<(), Failure> {
        let mut pods = Value::Null;
        for (file, api, resource) in LISTS {
            let list = self.list(api, namespace, resource).await?;
            self.show(&list, &format!("{namespace}/{file}"))?;
            if *resource == "pods" {
                pods = list;
            }
        }
        for pod in pods["items"].as_array().into_iter().flatten() {
            self.logs(namespace, pod).await?;
        }
        Ok(())
    }

    fn show(&mut self, list: &Value, name: &str) -> Result<(), Failure> {
        let list = trimmed(list);
        let text = match &mut self.format {
            None | Some(Format::Json { .. }) => to_json_in_order(&list, KEY_ORDER) + "\n",
            Some(format) if format.is_yaml() && self.shown > 0 => format!("---\n{}", format.render(&list)?),
            Some(format) => format.render(&list)?,
        };
        self.shown += 1;
        self.write(text.as_bytes(), name, self.extension)
    }

    fn write(&self, bytes: &[u8], name: &str, extension: &str) -> Result<(), Failure> {
        let Some(directory) = self.directory else { return self.session.streams.print(bytes) };
        let path = Path::new(directory).join(format!("{name}.{extension}"));
        write_private(&path, bytes)
            .map_err(|error| Failure::Plain(format!("open {}: {}", path.display(), os_text(&error))))
    }

    /// What all containers of a pod have said. That one has said nothing is no reason to end.
    async fn logs(&self, namespace: &str, pod: &Value) -> Result<(), Failure> {
        let name = apimachinery::object::name(pod);
        let mut text = Vec::new();
        for list in ["initContainers", "containers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let container = container["name"].as_str().unwrap_or_default();
                let place = format!("logs for container {container} of pod {namespace}/{name} ====\n");
                text.extend_from_slice(format!("==== START {place}").as_bytes());
                let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/log");
                match Call::get(path).query("container", container).bytes(self.session.client()?).await {
                    Ok(said) => text.extend_from_slice(&said),
                    Err(failure) => {
                        text.extend_from_slice(format!("Request log error: {}\n", why(&failure)).as_bytes())
                    }
                }
                text.extend_from_slice(format!("==== END {place}").as_bytes());
            }
        }
        self.write(&text, &format!("{namespace}/{name}/logs"), "txt")
    }
}

fn why(failure: &Failure) -> String {
    failure.status().map_or_else(|| failure.text(), |status| status.message.clone())
}

/// Without the managers, and as a client of typed lists shows it.
fn trimmed(list: &Value) -> Value {
    let mut list = list.clone();
    if list["items"].as_array().is_some_and(Vec::is_empty) {
        list["items"] = Value::Null;
    }
    for item in list["items"].as_array_mut().into_iter().flatten() {
        if let Some(metadata) = item["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    list
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}
