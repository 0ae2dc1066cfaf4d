//! The staircase: how everything above the API server talks to it.
//!
//! A [`Transport`] carries HTTP requests: in process, straight into the API server's pipeline, or over TLS. On top of it
//! [`Api`] is the typed view of one kind. Works against any Kubernetes API server.
//!
//! Must not know: how requests are served, caches (they are `controller-runtime`'s). Start at [`Client`] and [`Api`].

mod api;
mod certificate;
mod dynamic;
mod error;
pub mod events;
mod https;
pub mod kubeconfig;
mod metrics;
mod own_account;
mod request;
mod transport;
mod watch;

pub use api::{Api, DeleteParams, List, ListParams, Object, Patch, Propagation};
pub use certificate::ClientCertificate;
pub use dynamic::{ApiResource, Discovered, PartialObject, discover, discover_available};
pub use error::Error;
pub use https::{Endpoint, HttpsTransport, Identity};
pub use metrics::write_metrics;
pub use own_account::ServiceAccountTransport;
pub use request::Client;
pub use transport::{Body, BoxError, Transport, TransportError, Upgraded, body, empty_body};
pub use watch::WatchEvent;
