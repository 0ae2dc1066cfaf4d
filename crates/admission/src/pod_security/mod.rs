//! The Pod Security Standards as pure functions: what a level of a version forbids in a pod.
//!
//! [`Policy::of`] reads a namespace's labels, [`evaluate`] judges a pod. A check is one line in [`checks::CHECKS`].

mod baseline;
mod checks;
mod configuration;
mod policy;
mod restricted;
mod setters;
#[cfg(test)]
mod tests;

pub use checks::evaluate;
pub use configuration::Configuration;
pub use policy::{Level, LevelVersion, Policy};
