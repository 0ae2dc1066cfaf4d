//! The Kubernetes API over HTTP: one pipeline for every resource.
//!
//! [`Server::handle`] takes a request, from a TLS connection or from a component in the same process, through the same
//! stages in the same order: authenticate, impersonate, limit, authorize, audit, then the verb. What differs from kind
//! to kind is asked of the registry; there is no router with kinds in it.
//!
//! Must not know: what components do with the API, and how a kind is validated. Start at [`Server`] and `pipeline`.

mod accept;
mod admission_origin;
mod aggregate;
mod allocate;
mod audit;
mod authentication_config;
mod body;
mod bootstrap;
mod call;
mod catalog;
mod change;
mod config;
mod custom;
mod decode;
mod device_access;
mod encode;
mod event_ttl;
mod file_changes;
mod flow;
mod follow;
mod identity;
mod internal;
mod issuer_keys;
mod negotiate;
mod options;
mod outbound;
mod ownership;
mod pipeline;
mod query;
mod request_info;
mod serve;
mod server;
mod stages;
mod subresources;
mod unicode;
mod verbs;
mod webhook_time;

pub use admission::Configuration as AdmissionConfiguration;
pub use audit::{AuditConfig, AuditDelivery, Batching, Delivery, LogConfig, Throttle, Truncation};
pub use body::{Body, BoxError};
pub use catalog::indexer;
pub use config::{CidrError, Config, Ipv4Cidr, Storage};
pub use server::{PeerAddress, PeerCertificates, Server, StartError};
