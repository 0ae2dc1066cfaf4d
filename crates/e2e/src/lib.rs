//! Black-box tests: real clients against a real cluster.
//!
//! [`Cluster`] is a dev cluster of our binary, [`Kubectl`] any kubectl; [`walkthrough`] is the first user's day. Knows nothing of
//! the code: only commands and what they print. Start at [`walkthrough::run`].
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

pub mod cluster;
pub mod kubectl;
pub mod load;
pub mod processes;
pub mod server;
pub mod terminal;
pub mod walkthrough;

pub use cluster::Cluster;
pub use kubectl::Kubectl;
pub use terminal::Terminal;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a cluster may take for something that needs no image.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer satisfies, as a person would.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < PATIENCE {
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => last = format!("; the last answer was: {error:#}"),
        }
    }
    bail!("{what}: not within {} s{last}", PATIENCE.as_secs())
}
