//! Admission by webhooks: who is asked, what, and what becomes of the answer.
//!
//! [`Hooks`] keeps the compiled configurations, [`hook`] says whether one is to be asked, [`review`] is the question and the
//! answer, [`ask`] one exchange; [`post`] and [`caller`] carry it over
//! the network, for other webhooks too. The two plugins differ in that the mutating
//! one asks in turn and applies patches, the validating one asks all at once.

mod ask;
pub mod caller;
mod endpoint;
mod errors;
mod hook;
mod hooks;
mod mutating;
mod post;
mod reinvocation;
pub(crate) mod review;
mod validating;

pub use caller::{Exchange, HttpsCaller, WebhookCaller};
pub use endpoint::{Destination, Endpoint, Service};
pub use errors::CallError;
pub use hooks::Hooks;
pub use mutating::MutatingAdmissionWebhook;
pub(crate) use mutating::decoded;
pub use post::{PostError, post};
pub use reinvocation::Reinvocation;
pub use validating::ValidatingAdmissionWebhook;
