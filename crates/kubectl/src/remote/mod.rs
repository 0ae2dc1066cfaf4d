//! Connections that leave HTTP: a container's streams, and a pod's ports.

mod forwarder;
mod pods;
mod process;
mod terminal;
mod upgrade;

pub use forwarder::Forwarder;
pub use pods::{Order, default_container, pod_behind, selector_text};
pub use process::{Output, Remote, run_piped, run_remote};
use terminal::RawTerminal;
