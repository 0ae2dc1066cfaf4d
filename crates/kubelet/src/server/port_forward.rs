//! Port-forward: pairs of SPDY streams, each pair one connection inside the pod's network.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use httpstream::Writer;
use httpstream::spdy::{Connection, Stream};
use nix::sched::{CloneFlags, setns};
use rt::TaskSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::probes::io_text;

const CHUNK: usize = 32 * 1024;
/// Pairs of which one half has come; a client that opens more halves than this is not in order.
const HALVES_MAX: usize = 256;

/// The pod to forward to.
#[derive(Debug, Clone)]
pub struct Destination {
    /// None with host networking.
    pub netns: Option<PathBuf>,
    pub pod: String,
}

/// Serves the streams of one client until it leaves.
pub async fn run(mut connection: Connection, destination: Destination, tasks: TaskSet) {
    let destination = Arc::new(destination);
    let mut halves: HashMap<(String, String), Stream> = HashMap::new();
    while let Some(stream) = connection.accept().await {
        let header = |name: &str| stream.header(name).to_owned();
        let (kind, port) = (header("streamtype"), header("port"));
        // Clients older than request ids open the two halves one after the other.
        let key = (port.clone(), header("requestid"));
        let Some(other) = halves.remove(&key) else {
            if halves.len() < HALVES_MAX {
                halves.insert(key, stream);
            }
            continue;
        };
        let (data, error) = if kind == "data" { (stream, other) } else { (other, stream) };
        let destination = Arc::clone(&destination);
        tasks.spawn_until_cancelled("port-forward connection", async move {
            let writer = error.writer();
            if let Err(message) = forward(data, &port, &destination).await {
                let _ = writer.send(message.as_bytes()).await;
            }
            let _ = writer.finish().await;
        });
    }
}

async fn forward(data: Stream, port: &str, destination: &Destination) -> Result<(), String> {
    let failed = |why: String| format!("error forwarding port {port} to pod {}: {why}", destination.pod);
    let number: u16 = port.parse().map_err(|_| failed(format!("unable to parse port {port:?}")))?;
    let stream = match dial(destination.netns.clone(), number).await {
        Ok(stream) => stream,
        Err(error) => {
            let _ = data.writer().finish().await;
            return Err(failed(format!(
                "failed to connect to localhost:{number} inside the pod's network: dial tcp4 127.0.0.1:{number}: connect: {}",
                io_text(&error)
            )));
        }
    };
    copy(data, stream).await.map_err(|error| failed(error.to_string()))
}

async fn copy(mut data: Stream, stream: TcpStream) -> io::Result<()> {
    let writer = data.writer();
    let (read, mut write) = stream.into_split();
    let inward = async {
        while let Some(part) = data.data.recv().await {
            write.write_all(&part).await?;
        }
        write.shutdown().await
    };
    let (inward, outward) = tokio::join!(inward, copy_out(read, writer));
    // A side that went away in the middle ends the other as well; that is how connections end.
    let _ = inward;
    outward
}

async fn copy_out(mut read: tokio::net::tcp::OwnedReadHalf, writer: Writer) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) | Err(_) => return writer.finish().await,
            Ok(length) => writer.send(&buffer[..length]).await?,
        }
    }
}

/// Connects in a thread of its own: a worker of the runtime must never change its namespace.
async fn dial(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("port-forward dial".to_owned()).spawn(move || {
        // The client may have left meanwhile.
        let _ = sender.send(dial_here(netns.as_deref(), port));
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the dialing thread ended"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn dial_here(netns: Option<&Path>, port: u16) -> io::Result<StdStream> {
    if let Some(path) = netns {
        setns(std::fs::File::open(path)?, CloneFlags::CLONE_NEWNET)?;
    }
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    StdStream::connect(v4).or_else(|error| StdStream::connect(v6).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn all(mut stream: Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(part) = stream.data.recv().await {
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    /// Opens a pair of streams to `port`, sends `text`, and gives what comes back and what is complained of.
    async fn talk(port: u16, text: &[u8]) -> (Vec<u8>, String) {
        let tasks = TaskSet::new();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let destination = Destination { netns: None, pod: "p".to_owned() };
        tasks.spawn("port-forward", run(Connection::server(far, &tasks), destination, tasks.clone()));
        let client = Connection::client(near, &tasks);
        let number = port.to_string();
        let headers = |kind| [("streamType", kind), ("port", number.as_str()), ("requestID", "0")];
        let error = client.open(&headers("error")).await.expect("opened");
        error.writer().finish().await.expect("finished");
        let data = client.open(&headers("data")).await.expect("opened");
        data.writer().send(text).await.expect("sent");
        data.writer().finish().await.expect("finished");
        let (answer, complaint) = tokio::join!(all(data), all(error));
        drop(client);
        tasks.shutdown().await;
        (answer, String::from_utf8(complaint).expect("text"))
    }

    #[tokio::test]
    async fn bytes_go_there_and_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let echo = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut text = Vec::new();
            stream.read_to_end(&mut text).await.expect("read");
            stream.write_all(&text).await.expect("write");
        };
        let ((), answer) = tokio::join!(echo, talk(port, b"there and back"));
        assert_eq!(answer, (b"there and back".to_vec(), String::new()));
    }

    #[tokio::test]
    async fn a_closed_port_is_said_on_the_error_stream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let (answer, complaint) = talk(port, b"x").await;
        assert!(answer.is_empty() && complaint.contains("connection refused"), "{complaint}");
    }
}
