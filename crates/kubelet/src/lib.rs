//! The node agent: this node's object and lease, its pods, and the server for logs, exec, attach and port-forward.
//!
//! Seams: `container::ContainerRuntime`, `image::ImageService`, and [`PodNetwork`], which the pod network fills. Must
//! not know: how pods are scheduled, how addresses are given, how images are stored. Start at [`Kubelet`], then
//! `pods::plan`.

pub mod certificates;
mod config;
mod context;
mod hooks;
mod images;
mod kubelet;
mod network;
mod node;
mod pods;
mod probes;
mod references;
mod server;
mod start;
mod volumes;

pub use config::Config;
pub use kubelet::{Dependencies, Kubelet};
pub use network::{HostPort, NetworkError, PodAddresses, PodNetwork, PodRef};
pub use node::thresholds::{ThresholdError, Thresholds};
pub use server::{Caller, Identify, Server};
