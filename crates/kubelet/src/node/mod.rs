//! This node's own object and lease. `plan` is pure; `keep` writes.

pub mod keep;
pub mod machine;
pub mod plan;
pub mod thresholds;
