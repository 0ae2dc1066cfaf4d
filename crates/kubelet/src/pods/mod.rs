//! Pods on this node: one worker per UID, which observes, plans (pure) and applies.
//!
//! Start at [`plan::plan_pod`] and [`status::plan_status`]; `worker` is the loop around them.

pub mod admit;
pub mod backoff;
pub mod ephemeral;
pub mod manager;
pub mod model;
pub mod plan;
pub mod qos;
mod sandbox;
pub mod status;
mod stop;
pub mod worker;
mod writer;
