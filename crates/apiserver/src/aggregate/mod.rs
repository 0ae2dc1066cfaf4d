//! Group versions that other servers serve, and the APIServices that tell where each group version is served.
//!
//! [`registration`] keeps an APIService for what this server serves itself. Those that name a service are [`remote`]:
//! [`availability`] looks after them, one at a time in [`check`], [`proxy`] sends requests there, [`discovery`] tells of them.

pub mod availability;
mod check;
mod connections;
pub mod discovery;
mod failure;
pub mod proxy;
pub mod registration;
pub mod remote;
mod schedule;

pub use remote::Remotes;

pub const GROUP: &str = "apiregistration.k8s.io";
pub const NAME: &str = "apiservices";

fn path(name: &str) -> String {
    format!("/apis/{GROUP}/v1/{NAME}/{name}")
}
