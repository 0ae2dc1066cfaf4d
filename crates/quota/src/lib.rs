//! What an object uses of a resource quota, and which quotas it counts against: pure functions.
//!
//! Admission charges by them before a write, the quota controller counts anew by them after deletions. Start at
//! [`Evaluator::of`]; sums and comparisons of usages are in [`usage`].
//!
//! Must not know: stores, requests, who counts.

mod claim;
mod device_claim;
mod evaluator;
mod pod;
pub mod pod_resources;
mod scopes;
mod service;
pub mod usage;

pub use evaluator::Evaluator;
pub use scopes::{ScopeSelector, scope_selectors};
pub use usage::Usage;
