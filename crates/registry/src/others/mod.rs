//! Kinds of other groups: reviews, certificates, API registration, flow control.

mod certificates;
mod flow_control;
mod pem;
mod registration;

use crate::strategy::Strategy;

pub use certificates::CertificateSigningRequest;
pub use flow_control::{FlowSchema, PriorityLevelConfiguration};
pub use registration::ApiService;

/// Kinds that are answered, not stored: reviews and bindings.
pub struct Review;

impl Strategy for Review {
    fn prepare_for_create(&self, _object: &mut serde_json::Value, _context: &crate::Context<'_>) {}
}

/// ComponentStatuses: read only.
pub struct ComponentStatus;

impl Strategy for ComponentStatus {}
