//! Connections that leave HTTP: channels to a container's streams, and tunnels to a pod's ports.

mod channels;
mod pods;
mod spdy;
mod terminal;
mod tunnel;
mod websocket;

pub use channels::{Remote, run_remote};
pub use pods::{Order, default_container, pod_behind, selector_text};
pub use spdy::Forwarder;
use terminal::RawTerminal;
