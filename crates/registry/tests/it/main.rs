//! What a recorded API server answered, asked of the strategies directly.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    clippy::cast_possible_truncation,
    reason = "a test ends at the first surprise, and counts few things"
)]

mod custom;
mod harness;
mod missing;
mod recorded;
mod rows;
mod warnings;
