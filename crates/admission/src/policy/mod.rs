//! Admission by policies: expressions that refuse or change what is written.
//!
//! [`Index`] keeps the compiled policies with their bindings, [`select`](select::select) finds those that a request
//! concerns and their parameters, [`Input`] is what expressions see of a request. The two plugins are
//! [`validating`] and [`mutating`].

mod authorizer;
mod expression;
mod index;
mod input;
mod mutating;
mod params;
mod patch;
mod select;
mod validating;
mod validator;

pub use authorizer::Asker;
pub use expression::{Expression, Failure};
pub use index::Index;
pub use input::Input;
pub use mutating::{MutatingAdmissionPolicy, Mutations};
pub use validating::ValidatingAdmissionPolicy;
pub use validator::Validations;

use crate::Request;
use crate::matching::is_exempt;

/// Questions that the cluster itself asks; nothing is written by them.
fn is_out_of_reach(request: &Request<'_>) -> bool {
    let reviews = ["authentication.k8s.io", "authorization.k8s.io"];
    is_exempt(request) || (reviews.contains(&request.resource.group) && request.resource.name.ends_with("reviews"))
}
