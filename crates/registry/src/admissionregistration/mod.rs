//! The group `admissionregistration.k8s.io`: webhooks and policies that judge or change requests.

mod mutating_policy;
mod policy;
mod rules;
mod validating_policy;
mod webhook;

pub use mutating_policy::{MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding};
pub use validating_policy::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
pub use webhook::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
