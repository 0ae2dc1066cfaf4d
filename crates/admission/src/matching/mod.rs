//! Which requests a webhook or a policy is about: rules, scopes, selectors, other versions of a resource.

mod constraints;
mod equivalents;
mod rules;
mod selectors;

pub use constraints::Constraints;
pub use equivalents::Target;
pub use rules::Rule;
pub use selectors::Selectors;

use crate::Request;

/// Whether other versions of a resource match as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchPolicy {
    Exact,
    Equivalent,
}

/// The resource in whose form a request is matched, if any rule is about it.
pub fn target(rules: &[Rule], policy: MatchPolicy, request: &Request<'_>) -> Option<Target> {
    let own = Target::of(request);
    if rules.iter().any(|rule| rule.matches(request, &own)) {
        return Some(own);
    }
    if policy == MatchPolicy::Exact {
        return None;
    }
    let others = own.equivalents(request);
    // Earlier rules win.
    rules.iter().find_map(|rule| others.iter().find(|other| rule.matches(request, other)).cloned())
}

/// Whether a request writes the configurations themselves, which nobody can forbid.
pub fn is_exempt(request: &Request<'_>) -> bool {
    const CONFIGURATIONS: &[&str] = &[
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    let name: &str = request.resource.name;
    request.resource.group == crate::services::GROUP && CONFIGURATIONS.contains(&name)
}
