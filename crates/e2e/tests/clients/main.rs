//! Unmodified clients against a bare control plane: recorded requests, Helm, kube-rs, Python's client, kopf and every kubectl.
//!
//! Each test starts a server of its own and needs no node. The clients are those that `cargo xtask` lays into `target/tools`;
//! a test whose client is missing says so and passes.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bare;
mod conformance;
mod helm;
mod kube_rs;
mod kubectl;
mod python;
mod replay;
