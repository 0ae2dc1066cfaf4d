//! The crate against Kubernetes' own golden objects, and against hostile bytes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod golden;
mod hostile;
