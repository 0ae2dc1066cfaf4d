//! The admission chain: what is changed in a write, and what is refused, before it is validated and stored.
//!
//! [`mutate`] and [`validate`] run the ordered slice below; a plugin is one file with one [`Plugin`]. What plugins keep
//! between requests (indexes of configurations, connections, counts) is in [`Services`].
//!
//! Must not know: how requests come in, authentication, how objects are written. Start at [`Plugin`].

mod configuration;
mod match_conditions;
mod matching;
mod plugins;
mod pod_security;
mod policy;
mod request;
mod services;
pub mod webhook;

use apimachinery::Status;
use async_trait::async_trait;

pub use configuration::{Configuration, ConfigurationError};
pub use request::{Operation, Origin, Request};
pub use services::{GROUP, Services};

/// One step of the chain.
#[async_trait]
pub trait Plugin: Send + Sync {
    fn name(&self) -> &'static str;

    /// Changes the object, or refuses.
    async fn admit(&self, _request: &mut Request<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Only refuses. Runs after everybody changed what they wanted and the object is valid.
    async fn validate(&self, _request: &Request<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// Upstream's order.
static CHAIN: &[&dyn Plugin] = &[
    &plugins::NamespaceLifecycle,
    &plugins::LimitRanger,
    &plugins::ServiceAccount,
    &plugins::NodeRestriction,
    &plugins::TaintNodesByCondition,
    &plugins::PodSecurity,
    &plugins::Priority,
    &plugins::DefaultTolerationSeconds,
    &plugins::DefaultStorageClass,
    &plugins::StorageObjectInUseProtection,
    &plugins::PersistentVolumeClaimResize,
    &plugins::RuntimeClass,
    &plugins::CertificateApproval,
    &plugins::CertificateSigning,
    &plugins::CertificateSubjectRestriction,
    &plugins::DefaultIngressClass,
    &plugins::PodTopologyLabels,
    &policy::MutatingAdmissionPolicy,
    &webhook::MutatingAdmissionWebhook,
    &policy::ValidatingAdmissionPolicy,
    &webhook::ValidatingAdmissionWebhook,
    &plugins::ResourceQuota,
];

/// Runs the changing half of the chain; a second time when a webhook changed something.
pub async fn mutate(request: &mut Request<'_>) -> Result<(), Status> {
    admit(request).await?;
    if request.reinvocation.begin_again() {
        admit(request).await?;
    }
    Ok(())
}

async fn admit(request: &mut Request<'_>) -> Result<(), Status> {
    for plugin in running(request.services) {
        plugin.admit(request).await?;
    }
    Ok(())
}

/// Runs the refusing half of the chain.
pub async fn validate(request: &Request<'_>) -> Result<(), Status> {
    for plugin in running(request.services) {
        plugin.validate(request).await?;
    }
    Ok(())
}

/// The plugins that the configuration leaves on.
fn running(services: &Services) -> impl Iterator<Item = &'static dyn Plugin> + use<'_> {
    CHAIN.iter().copied().filter(|plugin| services.configuration.runs(plugin.name()))
}

/// The names of the chain, in order.
pub fn plugin_names() -> impl Iterator<Item = &'static str> {
    CHAIN.iter().map(|plugin| plugin.name())
}
