//! Kinds of other groups: reviews, certificates, API registration, flow control.

mod certificates;
mod flow_control;
mod registration;

use serde_json::Value;

use crate::cells::{list, name, text};
use crate::strategy::{Column, Strategy};

pub use certificates::CertificateSigningRequest;
pub use flow_control::{FlowSchema, PriorityLevelConfiguration};
pub use registration::ApiService;

/// Kinds that are answered, not stored: reviews and bindings.
pub struct Review;

impl Strategy for Review {
    fn prepare_for_create(&self, _object: &mut Value, _context: &crate::Context<'_>) {}
}

/// ComponentStatuses: read only.
pub struct ComponentStatus;

impl Strategy for ComponentStatus {
    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Status"), Column::text("Message"), Column::text("Error")] }
    }

    fn row(&self, component: &Value, _now: i64) -> Vec<Value> {
        let healthy = list(component, "/conditions").iter().find(|condition| condition["type"] == "Healthy");
        let status = match healthy.map(|condition| condition["status"] == "True") {
            Some(true) => "Healthy",
            Some(false) => "Unhealthy",
            None => "Unknown",
        };
        let told = |field: &str| Value::from(healthy.map_or("", |condition| text(condition, field)));
        vec![name(component), status.into(), told("/message"), told("/error")]
    }
}
