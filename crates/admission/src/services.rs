//! What plugins keep between requests.

use std::sync::Arc;

use auth::Authorizer;
use serde_json::Value;

use crate::webhook::{Hooks, WebhookCaller};

/// The chain's indexes and connections. One for each server; the server tells it of changes with [`Services::apply`].
pub struct Services {
    pub(crate) mutating: Hooks,
    pub(crate) validating: Hooks,
    pub(crate) caller: Arc<dyn WebhookCaller>,
    pub(crate) authorizer: Arc<Authorizer>,
}

/// The group whose configurations the chain follows.
pub const GROUP: &str = "admissionregistration.k8s.io";

impl Services {
    pub fn new(caller: Arc<dyn WebhookCaller>, authorizer: Arc<Authorizer>) -> Services {
        Services { mutating: Hooks::default(), validating: Hooks::default(), caller, authorizer }
    }

    /// How webhooks are reached; those that convert objects are asked through it too.
    pub fn caller(&self) -> &dyn WebhookCaller {
        self.caller.as_ref()
    }

    /// Takes in the newest state of a configuration; `None` when it is gone.
    pub fn apply(&self, resource: &str, name: &str, object: Option<&Value>) {
        if let Some(hooks) = self.hooks(resource) {
            hooks.apply(name, object);
        }
    }

    /// Drops what is known of a resource, before it is taken in anew.
    pub fn forget(&self, resource: &str) {
        if let Some(hooks) = self.hooks(resource) {
            hooks.clear();
        }
    }

    fn hooks(&self, resource: &str) -> Option<&Hooks> {
        match resource {
            "mutatingwebhookconfigurations" => Some(&self.mutating),
            "validatingwebhookconfigurations" => Some(&self.validating),
            _ => None,
        }
    }
}
