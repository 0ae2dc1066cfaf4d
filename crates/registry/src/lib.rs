//! Strategies: what is specific to each kind on the server side, as pure functions.
//!
//! A kind is one file, `src/<group>/<kind>.rs`, and one line in [`resources`]. The API server drives every
//! resource through the same pipeline and asks the kind's [`Strategy`] for what differs. Objects are
//! `serde_json::Value`, already given upstream's form by `apimachinery::strict`.
//!
//! Must not know: HTTP, the store, who asks. Start at [`strategy::Strategy`]; what pods and all that hold a pod
//! template share is in `pod_spec`.

mod absent;
mod admissionregistration;
pub mod apiextensions;
mod apps;
mod at;
mod autoscaling;
mod batch;
pub mod cel;
mod cells;
mod conditions;
mod coordination;
mod core;
mod counts;
mod defaults;
mod disabled;
mod discovery;
mod events;
pub mod flow_bootstrap;
mod keys;
pub mod names;
mod networking;
mod node;
mod others;
mod pem;
mod pod_spec;
mod policy;
mod rbac;
mod repeats;
mod resource;
mod resources;
mod scheduling;
mod storage;
pub mod strategy;

pub use absent::shown as shown_errors;
pub use core::check_service_addresses;
pub use disabled::drop_disabled;
pub use pod_spec::qos_class;
pub use repeats::{metadata_judged, status_metadata_judged};
pub use resources::{by_kind, resource, resources};
pub use strategy::{
    Column, Context, Custom, NameRule, Resource, ScalePaths, Schema, Strategy, StrategyRef, Subresource,
};
