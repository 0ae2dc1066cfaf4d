//! The scheduler: gives each waiting pod a node.
//!
//! [`queue`] holds the pods that wait, [`cache`] what is known of nodes and what runs there, [`framework`] one scheduling
//! cycle over the ordered slices of [`plugins`]. [`core::Core`] joins them and is pure: time comes in, a [`core::Step`]
//! comes out. Only `run` and `bind` speak to the API.
//!
//! Must not know: controllers, kubelets, how the API is reached. Start at [`core::Core::step`], then
//! [`framework::cycle::schedule`].

mod bind;
pub mod cache;
pub mod cluster;
pub mod core;
#[cfg(test)]
mod core_tests;
pub mod event;
pub mod framework;
pub mod node_info;
pub mod nominator;
pub mod plugins;
pub mod pod_info;
pub mod queue;
pub mod resources;
mod run;
#[cfg(test)]
mod testing;

pub use run::start;

/// Pods that name this scheduler are ours.
pub const SCHEDULER_NAME: &str = "default-scheduler";
