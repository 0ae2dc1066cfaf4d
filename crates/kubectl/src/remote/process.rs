//! A remote process on the user's own streams.

use std::io;

use apimachinery::Status;
use bytes::Bytes;
use client::Client;
use httpstream::channels::{self, Channels};
use httpstream::spdy::{Connection, Stream};
use httpstream::{CHANNELS_V4, CHANNELS_V5, Writer};
use rt::TaskSet;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::upgrade::{self, Answer, Switched};
use super::{RawTerminal, terminal};
use crate::Streams;
use crate::failure::{Failure, fail};

const STDIN_CHUNK: usize = 32 << 10;

/// A remote process, and which of its streams are wanted besides its output.
pub struct Remote {
    /// With its query.
    pub path: String,
    pub stdin: bool,
    pub tty: bool,
}

/// Runs the remote process to its end, on this process's own streams.
pub async fn run_remote(client: &Client, remote: &Remote, streams: &Streams) -> Result<(), Failure> {
    run_piped(client, remote, tokio::io::stdin(), Output::Streams, streams).await
}

/// Where the remote process's output goes.
pub enum Output<'a> {
    Streams,
    Pipe(&'a mut (dyn AsyncWrite + Send + Unpin)),
}

/// Runs the remote process to its end, with an input and an output of one's own.
pub async fn run_piped(
    client: &Client,
    remote: &Remote,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: Output<'_>,
    streams: &Streams,
) -> Result<(), Failure> {
    let tasks = TaskSet::new();
    let process = connect(client, remote, &tasks).await?;
    let raw = if remote.tty { RawTerminal::enter() } else { None };
    let ended = tokio::select! {
        ended = process.converse(input, output, streams, &tasks) => ended,
        () = terminal::ended(raw.is_some()) => Err(Failure::Exit(1)),
    };
    drop(raw);
    tasks.cancel();
    ended
}

/// A WebSocket, or SPDY where the server refuses that.
async fn connect(client: &Client, remote: &Remote, tasks: &TaskSet) -> Result<Process, Failure> {
    // Version 4 has no word for the end of the input; SPDY has.
    let protocols: &[&str] = if remote.stdin { &[CHANNELS_V5] } else { &[CHANNELS_V5, CHANNELS_V4] };
    match upgrade::websocket(client, &remote.path, protocols).await? {
        Answer::Switched(switched) => Ok(Process::over_channels(switched, remote, tasks).await),
        Answer::Refused(refused) => {
            tracing::debug!(refused = refused.text(), "no WebSocket; asking for SPDY");
            let switched = upgrade::spdy(client, &remote.path, &[CHANNELS_V4]).await?.switched()?;
            let opened = Process::over_spdy(switched, remote, tasks).await;
            opened.map_err(|error| Failure::Plain(format!("lost connection to the container: {error}")))
        }
    }
}

type Input = mpsc::Receiver<Bytes>;

/// The streams of a remote process, whatever carries them.
struct Process {
    stdin: Option<Writer>,
    sizes: Option<Writer>,
    stdout: Input,
    stderr: Input,
    error: Input,
    _carrier: Carrier,
}

/// Held until the process has ended: a connection that nobody holds is closed.
#[expect(dead_code, reason = "held, not used")]
enum Carrier {
    Channels(Channels),
    Spdy(Connection),
}

impl Process {
    async fn over_channels(switched: Switched, remote: &Remote, tasks: &TaskSet) -> Self {
        let wanted = [channels::STDOUT, channels::STDERR, channels::ERROR];
        let (carrier, [stdout, stderr, error]) = Channels::client(switched.io, &switched.protocol, wanted, tasks).await;
        Self {
            stdin: remote.stdin.then(|| carrier.writer(channels::STDIN)),
            sizes: remote.tty.then(|| carrier.writer(channels::RESIZE)),
            stdout,
            stderr,
            error,
            _carrier: Carrier::Channels(carrier),
        }
    }

    /// Opens what the server waits for, and nothing else.
    async fn over_spdy(switched: Switched, remote: &Remote, tasks: &TaskSet) -> io::Result<Self> {
        let connection = Connection::client(switched.io, tasks);
        let open = async |kind: &str| connection.open(&[("streamType", kind)]).await;
        let open_if = async |wanted: bool, kind: &str| match wanted {
            true => open(kind).await.map(Some),
            false => Ok(None),
        };
        let error = open("error").await?;
        let stdin = open_if(remote.stdin, "stdin").await?;
        let stdout = open("stdout").await?;
        let stderr = open_if(!remote.tty, "stderr").await?;
        let sizes = open_if(remote.tty, "resize").await?;
        Ok(Self {
            stdin: stdin.as_ref().map(Stream::writer),
            sizes: sizes.as_ref().map(Stream::writer),
            stdout: stdout.data,
            stderr: stderr.map_or_else(|| mpsc::channel(1).1, |stream| stream.data),
            error: error.data,
            _carrier: Carrier::Spdy(connection),
        })
    }

    /// Passes everything on until the process has ended; then judges how.
    async fn converse(
        self,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: Output<'_>,
        streams: &Streams,
        tasks: &TaskSet,
    ) -> Result<(), Failure> {
        let Self { stdin, sizes, stdout, stderr, error, _carrier } = self;
        if let Some(sizes) = sizes {
            tasks.spawn_until_cancelled("terminal size", send_sizes(sizes));
        }
        if let Some(stdin) = stdin {
            tasks.spawn_until_cancelled("stdin", send_input(input, stdin));
        }
        let printed = pass_on(stdout, output, streams);
        let complained = each(stderr, |data| {
            streams.print_error(data);
            Ok(())
        });
        let mut status = Vec::new();
        let told = each(error, |data| {
            status.extend_from_slice(&data);
            Ok(())
        });
        tokio::try_join!(printed, complained, told)?;
        judge(&status)
    }
}

async fn pass_on(mut stdout: Input, output: Output<'_>, streams: &Streams) -> Result<(), Failure> {
    let Output::Pipe(pipe) = output else { return each(stdout, |data| streams.print(data)).await };
    while let Some(data) = stdout.recv().await {
        // Whoever reads no more has what was wanted.
        if pipe.write_all(&data).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn each(mut input: Input, mut take: impl FnMut(Bytes) -> Result<(), Failure>) -> Result<(), Failure> {
    while let Some(data) = input.recv().await {
        take(data)?;
    }
    Ok(())
}

async fn send_input(mut input: impl AsyncRead + Unpin, stdin: Writer) {
    let mut buffer = vec![0; STDIN_CHUNK];
    while let Ok(length @ 1..) = input.read(&mut buffer).await {
        if stdin.send(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // Whoever does not hear it has left.
    let _ = stdin.finish().await;
}

/// Now, and whenever the window changes.
async fn send_sizes(sizes: Writer) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((columns, rows)) = terminal::size() {
            let size = json!({"Width": columns, "Height": rows}).to_string();
            if sizes.send(size.as_bytes()).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// Every server says how it ended; one that does not was lost.
fn judge(status: &[u8]) -> Result<(), Failure> {
    if status.is_empty() {
        return fail!("lost connection to the container");
    }
    let Ok(status) = serde_json::from_slice::<Status>(status) else {
        return fail!("error stream protocol error: unknown error: {}", String::from_utf8_lossy(status));
    };
    match status.status.as_str() {
        "Success" => Ok(()),
        _ if status.reason == "NonZeroExitCode" => Err(exit_code(&status)),
        _ => fail!("{}", status.message),
    }
}

fn exit_code(status: &Status) -> Failure {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut codes = causes.filter(|cause| cause.reason == "ExitCode").map(|cause| cause.message.as_str());
    match codes.next().map(str::parse::<u32>) {
        Some(Ok(code)) => {
            let message = format!("command terminated with exit code {code}");
            Failure::Code(message, u8::try_from(code & 0xff).unwrap_or(1))
        }
        _ => Failure::Plain("error stream protocol error: no ExitCode cause given".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        let report = |status: &str| judge(status.as_bytes()).map_err(|failure| failure.report());
        let status = r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(report(status), Err(("command terminated with exit code 3".into(), 3)));
        assert_eq!(report(r#"{"status":"Success"}"#), Ok(()));
        let gone = r#"{"status":"Failure","message":"no such container"}"#;
        assert_eq!(report(gone), Err(("error: no such container".into(), 1)));
        assert_eq!(report(""), Err(("error: lost connection to the container".into(), 1)));
    }

    #[tokio::test]
    async fn input_is_sent_and_closed() {
        let tasks = TaskSet::new();
        let (near, far) = tokio::io::duplex(4096);
        let (client, []) = Channels::client(near, CHANNELS_V5, [], &tasks).await;
        let (_server, [mut stdin]) = Channels::server(far, [channels::STDIN], &tasks).await;
        send_input(&b"hello"[..], client.writer(channels::STDIN)).await;
        assert_eq!((stdin.recv().await, stdin.recv().await), (Some(Bytes::from_static(b"hello")), None));
        tasks.shutdown().await;
    }
}
