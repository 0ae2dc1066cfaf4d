//! `cp`: files into and out of a container, by the `tar` that it holds.

mod archive;
mod paths;

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWrite, DuplexStream};
use tokio::runtime::Handle;

use super::exec;
use crate::Streams;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::Info;
use crate::remote::{Output, Remote, default_container, run_piped};
use crate::session::Session;
use archive::{Blocking, Unpacking, pack};
use paths::{FileSpec, archive_prefix, base, clean, directory, join};

/// How long a container may think about whether something is a directory.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
const PIPE_BYTES: usize = 256 << 10;

pub const COMMAND: Command = Command {
    name: "cp",
    about: "Copy files and directories to and from containers",
    usage: "<file-spec-src> <file-spec-dest> [options]",
    flags: &[&[
        Flag::text(
            "container",
            "Container name. If omitted, use the kubectl.kubernetes.io/default-container annotation for selecting the \
             container to be attached or the first container in the pod will be chosen",
        )
        .short('c'),
        Flag::switch(
            "no-preserve",
            "The copied file/directory's ownership and permissions will not be preserved in the container",
        ),
        Flag::number(
            "retries",
            "0",
            "Set number of retries to complete a copy operation from a container. Specify 0 to disable or any negative \
             value for infinite retrying. The default is 0 (no retry).",
        ),
    ]],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [source, destination] = parsed.arguments.as_slice() else {
        return fail!("source and destination are required");
    };
    let (source, destination) = (FileSpec::parse(source)?, FileSpec::parse(destination)?);
    if !source.pod.is_empty() && !destination.pod.is_empty() {
        return fail!("one of src or dest must be a local file specification");
    }
    if source.path.is_empty() || destination.path.is_empty() {
        return fail!("filepath can not be empty");
    }
    match (source.pod.is_empty(), destination.pod.is_empty()) {
        (false, _) => copy_out(&Place::of(session, &parsed, &source), &source, &destination.path).await,
        (_, false) => copy_in(&Place::of(session, &parsed, &destination), &source.path, &destination).await,
        _ => fail!("one of src or dest must be a remote file specification"),
    }
}

/// The container at one end.
struct Place<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    namespace: String,
    pod: String,
}

impl<'a> Place<'a> {
    fn of(session: &'a Session, parsed: &'a Parsed, spec: &FileSpec) -> Self {
        let namespace = if spec.namespace.is_empty() { session.namespace() } else { spec.namespace.clone() };
        Self { session, parsed, namespace, pod: spec.pod.clone() }
    }

    /// The request that runs something in the container.
    async fn request(&self, command: &[&str], stdin: bool, streams: &Streams) -> Result<Remote, Failure> {
        let info = Info::new(&self.session.catalog().await?.resource("pods")?, &self.namespace, &self.pod);
        let pod = info.get(self.session.client()?).await?;
        if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
            return fail!("cannot exec into a container in a completed pod; current phase is {phase}");
        }
        let container = default_container(streams, &pod, self.parsed.some("container"), false)?;
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        Ok(Remote { path: exec::path(&info, &command, &container, stdin, false), stdin, tty: false })
    }

    /// Whether the container has such a directory. One that cannot say has not.
    async fn has_directory(&self, path: &str) -> Result<bool, Failure> {
        let nowhere = Streams::new(std::io::sink(), std::io::sink());
        let looking = async {
            let remote = self.request(&["test", "-d", path], false, &nowhere).await?;
            run_piped(self.session.client()?, &remote, tokio::io::empty(), Output::Streams, &nowhere).await
        };
        match tokio::time::timeout(LOOK_TIMEOUT, looking).await {
            Ok(looked) => Ok(looked.is_ok()),
            Err(_) => fail!("context deadline exceeded"),
        }
    }
}

async fn copy_in(place: &Place<'_>, source: &str, destination: &FileSpec) -> Result<(), Failure> {
    if std::fs::metadata(source).is_err() {
        return fail!("{source} doesn't exist in local filesystem");
    }
    let mut path = destination.path.clone();
    if place.has_directory(&path).await? {
        path = join(&path, &base(source));
    }
    let mut command = vec!["tar"];
    if place.parsed.on("no-preserve") {
        command.extend(["--no-same-permissions", "--no-same-owner"]);
    }
    let above = directory(&path);
    command.extend(["-xmf", "-", "-C", &above]);
    let streams = &place.session.streams;
    let remote = place.request(&command, true, streams).await?;
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let packing = spawn_packing(clean(source), base(&clean(&path)), near);
    let unpacked = run_piped(place.session.client()?, &remote, far, Output::Streams, streams);
    let (packed, unpacked) = tokio::join!(packing, unpacked);
    // A container that ended early is why the rest could not be written.
    unpacked.and(packed)
}

async fn spawn_packing(source: String, name: String, pipe: DuplexStream) -> Result<(), Failure> {
    let out = Blocking { pipe, runtime: Handle::current() };
    let packing = tokio::task::spawn_blocking(move || pack(Path::new(&source), &name, std::io::BufWriter::new(out)));
    packing.await.map_err(|error| error.to_string())?.map_err(Failure::Plain)
}

async fn copy_out(place: &Place<'_>, source: &FileSpec, destination: &str) -> Result<(), Failure> {
    let (mut near, far) = tokio::io::duplex(PIPE_BYTES);
    let unpacking = Unpacking {
        namespace: source.namespace.clone(),
        pod: source.pod.clone(),
        source: source.path.clone(),
        prefix: archive_prefix(&source.path),
        destination: destination.to_owned(),
    };
    let archive = Blocking { pipe: far, runtime: Handle::current() };
    let streams = place.session.streams.clone();
    let unpacking = tokio::task::spawn_blocking(move || unpacking.unpack(archive, &streams));
    let fetched = fetch(place, &source.path, &mut near).await;
    drop(near);
    let unpacked = unpacking.await.map_err(|error| error.to_string())?.map_err(Failure::Plain);
    fetched.and(unpacked)
}

/// Passes the archive on, and asks for the rest of it when the connection is lost.
async fn fetch(place: &Place<'_>, source: &str, out: &mut DuplexStream) -> Result<(), Failure> {
    let retries_max = place.parsed.number("retries");
    let streams = place.session.streams.errors_in_output();
    let mut out = Counted { inner: out, bytes: 0 };
    let mut retries = 0;
    loop {
        let whole = ["tar", "cf", "-", source].map(str::to_owned).to_vec();
        let from = if retries == 0 { 0 } else { out.bytes + 1 };
        let command = if retries_max == 0 { whole } else { resumed(source, from) };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let remote = place.request(&words, false, &streams).await?;
        let client = place.session.client()?;
        let fetched = run_piped(client, &remote, tokio::io::empty(), Output::Pipe(&mut out), &streams).await;
        match fetched {
            // What the container itself says is no accident of the connection.
            Err(Failure::Plain(_) | Failure::Client(_)) if retries_max < 0 || retries < retries_max => {
                retries += 1;
                let line = format!("Resuming copy at {} bytes, retry {retries}/{retries_max}", out.bytes);
                place.session.streams.line(line)?;
            }
            ended => return ended,
        }
    }
}

/// The archive from this byte on, the first of which is number one.
fn resumed(source: &str, from: u64) -> Vec<String> {
    let source = source.replace('\'', r"'\''");
    ["sh", "-c", &format!("tar cf - '{source}' | tail -c+{from}")].map(str::to_owned).to_vec()
}

/// Knows how much has been written.
struct Counted<'a> {
    inner: &'a mut DuplexStream,
    bytes: u64,
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let written = std::task::ready!(std::pin::Pin::new(&mut *self.inner).poll_write(context, bytes))?;
        self.bytes += written as u64;
        std::task::Poll::Ready(Ok(written))
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.inner).poll_shutdown(context)
    }
}
