//! What plugins keep between requests.

use std::sync::Arc;

use auth::Authorizer;
use serde_json::Value;

use crate::Configuration;
use crate::metrics::Metrics;
use crate::policy::{Index, Mutations, Validations};
use crate::webhook::{Hooks, WebhookCaller};

/// The chain's indexes and connections. One for each server; the server tells it of changes with [`Services::apply`].
pub struct Services {
    pub(crate) mutating: Hooks,
    pub(crate) validating: Hooks,
    pub(crate) mutating_policies: Index<Mutations>,
    pub(crate) validating_policies: Index<Validations>,
    pub(crate) caller: Arc<dyn WebhookCaller>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) configuration: Configuration,
    pub(crate) metrics: Metrics,
}

/// The group whose configurations the chain follows.
pub const GROUP: &str = "admissionregistration.k8s.io";

impl Services {
    pub fn new(caller: Arc<dyn WebhookCaller>, authorizer: Arc<Authorizer>, configuration: Configuration) -> Services {
        Services {
            mutating: Hooks::default(),
            validating: Hooks::default(),
            mutating_policies: Index::default(),
            validating_policies: Index::default(),
            caller,
            authorizer,
            configuration,
            metrics: Metrics::default(),
        }
    }

    /// How webhooks are reached; those that convert objects are asked through it too.
    pub fn caller(&self) -> &dyn WebhookCaller {
        self.caller.as_ref()
    }

    /// What is counted of the chain, for `/metrics`.
    pub fn write_metrics(&self, out: &mut String) {
        self.metrics.write(out);
    }

    /// Takes in the newest state of a configuration; `None` when it is gone.
    pub fn apply(&self, resource: &str, name: &str, object: Option<&Value>) {
        match resource {
            "mutatingwebhookconfigurations" => self.mutating.apply(name, object),
            "validatingwebhookconfigurations" => self.validating.apply(name, object),
            "mutatingadmissionpolicies" => self.mutating_policies.apply_policy(name, object),
            "mutatingadmissionpolicybindings" => self.mutating_policies.apply_binding(name, object),
            "validatingadmissionpolicies" => self.validating_policies.apply_policy(name, object),
            "validatingadmissionpolicybindings" => self.validating_policies.apply_binding(name, object),
            _ => {}
        }
    }

    /// Drops what is known of a resource, before it is taken in anew.
    pub fn forget(&self, resource: &str) {
        match resource {
            "mutatingwebhookconfigurations" => self.mutating.clear(),
            "validatingwebhookconfigurations" => self.validating.clear(),
            "mutatingadmissionpolicies" => self.mutating_policies.forget_policies(),
            "mutatingadmissionpolicybindings" => self.mutating_policies.forget_bindings(),
            "validatingadmissionpolicies" => self.validating_policies.forget_policies(),
            "validatingadmissionpolicybindings" => self.validating_policies.forget_bindings(),
            _ => {}
        }
    }
}
