//! Upstream's conformance behaviours that need the API alone, group by group as upstream names them.
//!
//! Requests go out through kube-rs's transport as plain JSON, so that a test states method, path and body. `docs/conformance.md`
//! says which of upstream's tests each module stands for.

mod access;
mod aggregator;
mod api;
mod chunking;
mod conversion;
mod events;
mod field_validation;
mod garbage;
mod https;
mod kubectl;
mod namespaces;
mod policies;
mod publishing;
mod quota;
mod watchers;
mod webhook_configurations;
mod webhooks;
