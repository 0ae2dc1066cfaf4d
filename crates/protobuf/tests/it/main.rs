//! The crate against Kubernetes' own golden objects, and against hostile bytes.

mod golden;
mod hostile;
