//! The two plugins that do not look: one lets everything pass, the other nothing.

use apimachinery::Status;
use async_trait::async_trait;

use crate::{Plugin, Request};

pub struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }
}

pub struct AlwaysDeny;

const DENIED: &str = "admission control is denying all modifications";

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        Err(request.forbidden(DENIED))
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        Err(request.forbidden(DENIED))
    }
}
