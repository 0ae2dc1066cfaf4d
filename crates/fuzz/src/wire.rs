//! What comes over connections and from the kernel.

use httpstream::Tunnel;
use httpstream::channels::{Channels, STDIN};
use httpstream::spdy::Connection;
use netlink::wire;
use rt::TaskSet;
use tokio::io::{AsyncWriteExt, DuplexStream};

use crate::pipeline::block_on;

/// Nested as deep as the kernel does.
const DEPTH_MAX: usize = 8;

pub fn netlink(input: &[u8]) {
    for message in wire::messages(input) {
        attributes(message.payload, 0);
    }
}

fn attributes(bytes: &[u8], depth: usize) {
    for (_, value) in wire::attributes(bytes) {
        let _ = (wire::text(value), wire::be16(value), wire::be32(value));
        if depth < DEPTH_MAX {
            attributes(value, depth + 1);
        }
    }
}

/// A client that says this and goes.
fn speaking(input: &[u8]) -> (impl Future<Output = ()> + use<>, DuplexStream) {
    let input = input.to_vec();
    let (mut theirs, ours) = tokio::io::duplex(input.len().max(1));
    let speak = async move {
        let (mut reader, mut writer) = tokio::io::split(&mut theirs);
        let written = async {
            // Who has heard enough hangs up.
            let _ = writer.write_all(&input).await;
            let _ = writer.shutdown().await;
        };
        let mut nowhere = tokio::io::sink();
        let _ = tokio::join!(written, tokio::io::copy(&mut reader, &mut nowhere));
    };
    (speak, ours)
}

/// A terminal's messages, to their end.
pub fn websocket(input: &[u8]) {
    let (speak, ours) = speaking(input);
    block_on(async move {
        let tasks = TaskSet::new();
        let listen = async {
            let (channels, [mut stdin]) = Channels::server(ours, [STDIN], &tasks).await;
            while stdin.recv().await.is_some() {}
            drop(channels);
            tasks.shutdown().await;
        };
        tokio::join!(speak, listen);
    });
}

/// A forwarded port's frames, in messages.
pub fn tunnel(input: &[u8]) {
    let (speak, ours) = speaking(input);
    block_on(async move {
        let tasks = TaskSet::new();
        let listen = async {
            let mut connection = Connection::server(Tunnel::server(ours).await, &tasks);
            while connection.accept().await.is_some() {}
            drop(connection);
            tasks.shutdown().await;
        };
        tokio::join!(speak, listen);
    });
}
