//! `coracle kubectl` beside the real one, at the same server: both must print the same, byte for byte.
//!
//! The server runs in this process. Without a real kubectl the comparison is skipped, and says so.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changes;
mod compare;
mod config;
mod copy;
mod debug;
mod formats;
mod played;
mod plugin;
mod refusals;
mod server;
mod templates;
mod walkthrough;
mod web;
