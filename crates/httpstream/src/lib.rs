//! The streams that `exec`, `attach` and `port-forward` speak once they have left HTTP, for client and server alike.
//!
//! [`spdy`] is SPDY/3.1, in which either side opens streams; [`channels`] is a WebSocket whose messages name a channel; a
//! [`Tunnel`] carries SPDY inside a WebSocket. A [`Writer`] hides which of them a stream is. The upgrade itself and the
//! meaning of the streams are the users' affair.
//!
//! Must not know: pods, containers, processes, HTTP. Start at [`spdy::Connection`].

pub mod channels;
mod input;
pub mod spdy;
mod tunnel;

use std::io;

/// What a server answers to a WebSocket client's key.
pub use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
pub use tunnel::Tunnel;

/// The header that names a SPDY connection's protocol.
pub const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
/// The header in which a server that refuses says what it knows.
pub const ACCEPTED_PROTOCOLS_HEADER: &str = "x-accepted-stream-protocol-versions";
/// The streams of a process; in version 5 a WebSocket's channels can be closed one by one.
pub const CHANNELS_V5: &str = "v5.channel.k8s.io";
pub const CHANNELS_V4: &str = "v4.channel.k8s.io";
/// Pairs of streams, over SPDY.
pub const PORT_FORWARD: &str = "portforward.k8s.io";
/// The same, with SPDY inside a WebSocket.
pub const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// The writing half of a stream.
#[derive(Clone)]
pub enum Writer {
    Spdy(spdy::StreamWriter),
    Channel(channels::ChannelWriter),
}

impl Writer {
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Spdy(stream) => stream.send(data).await,
            Self::Channel(channel) => channel.send(data).await,
        }
    }

    /// Tells the peer that nothing follows, where the protocol has a way to.
    pub async fn finish(&self) -> io::Result<()> {
        match self {
            Self::Spdy(stream) => stream.finish().await,
            Self::Channel(channel) => channel.finish().await,
        }
    }
}
