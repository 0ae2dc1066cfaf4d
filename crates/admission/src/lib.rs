//! The admission chain: what is changed in a write, and what is refused, before it is validated and stored.
//!
//! [`mutate`] and [`validate`] run the ordered slice below; a plugin is one file with one [`Plugin`]. What plugins keep
//! between requests (indexes of configurations, connections, counts) is in [`Services`].
//!
//! Must not know: how requests come in, authentication, how objects are written. Start at [`Plugin`].

mod configuration;
mod match_conditions;
mod matching;
mod metrics;
mod plugins;
mod pod_security;
mod policy;
mod request;
mod services;
pub mod webhook;

use std::time::Instant;

use apimachinery::Status;
use async_trait::async_trait;

use metrics::Step;

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
    &plugins::AlwaysAdmit,
    &plugins::NamespaceLifecycle,
    &plugins::NamespaceExists,
    &plugins::LimitPodHardAntiAffinityTopology,
    &plugins::LimitRanger,
    &plugins::ServiceAccount,
    &plugins::NodeRestriction,
    &plugins::TaintNodesByCondition,
    &plugins::AlwaysPullImages,
    &plugins::PodSecurity,
    &plugins::PodNodeSelector,
    &plugins::Priority,
    &plugins::DefaultTolerationSeconds,
    &plugins::PodTolerationRestriction,
    &plugins::ExtendedResourceToleration,
    &plugins::DefaultStorageClass,
    &plugins::StorageObjectInUseProtection,
    &plugins::PodGroupProtection,
    &plugins::OwnerReferencesPermissionEnforcement,
    &plugins::PersistentVolumeClaimResize,
    &plugins::RuntimeClass,
    &plugins::CertificateApproval,
    &plugins::CertificateSigning,
    &plugins::ClusterTrustBundleAttest,
    &plugins::CertificateSubjectRestriction,
    &plugins::DefaultIngressClass,
    &plugins::DenyServiceExternalIPs,
    &plugins::PodTopologyLabels,
    &plugins::PodGroupWorkloadExists,
    &plugins::JobValidation,
    &plugins::PodResizeValidator,
    &policy::MutatingAdmissionPolicy,
    &webhook::MutatingAdmissionWebhook,
    &policy::ValidatingAdmissionPolicy,
    &webhook::ValidatingAdmissionWebhook,
    &plugins::ResourceQuota,
    &plugins::AlwaysDeny,
];

/// Those that run only if the administrator asks for them. NodeRestriction is none of them: nodes are not trusted here.
pub(crate) static OFF_BY_DEFAULT: &[&str] = &[
    "AlwaysAdmit",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "AlwaysPullImages",
    "PodNodeSelector",
    "PodTolerationRestriction",
    "ExtendedResourceToleration",
    "OwnerReferencesPermissionEnforcement",
    "DenyServiceExternalIPs",
    "AlwaysDeny",
];

/// Runs the changing half of the chain; a second time when a webhook changed something.
pub async fn mutate(request: &mut Request<'_>) -> Result<(), Status> {
    let began = Instant::now();
    let mut admitted = admit(request).await;
    if admitted.is_ok() && request.reinvocation.begin_again() {
        admitted = admit(request).await;
    }
    request.services.metrics.step(Step::Admit, request.operation, began.elapsed(), admitted.is_err());
    admitted
}

async fn admit(request: &mut Request<'_>) -> Result<(), Status> {
    for plugin in running(request.services) {
        plugin.admit(request).await?;
    }
    Ok(())
}

/// Runs the refusing half of the chain.
pub async fn validate(request: &Request<'_>) -> Result<(), Status> {
    let began = Instant::now();
    let validated = refuse(request).await;
    request.services.metrics.step(Step::Validate, request.operation, began.elapsed(), validated.is_err());
    validated
}

async fn refuse(request: &Request<'_>) -> Result<(), Status> {
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
