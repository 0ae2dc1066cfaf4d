//! The group `apps`.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod rolling;
mod stateful_set;

pub use controller_revision::ControllerRevision;
pub use daemon_set::DaemonSet;
pub use deployment::Deployment;
pub use replica_set::ReplicaSet;
pub use rolling::{int_or_percent, not_over_100_percent};
pub use stateful_set::StatefulSet;

#[cfg(test)]
mod tests;
