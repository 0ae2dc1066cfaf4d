//! What a policy or a binding is about: rules, rules that take out again, and selectors.

use apimachinery::Status;
use apimachinery::labels::ParseError;
use serde_json::Value;

use super::{MatchPolicy, Rule, Selectors, Target, target};
use crate::Request;

/// The compiled `matchConstraints` of a policy, or `matchResources` of a binding.
pub struct Constraints {
    selectors: Result<Selectors, ParseError>,
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    policy: MatchPolicy,
}

impl Constraints {
    pub fn of(resources: &Value) -> Constraints {
        let exact = resources["matchPolicy"] == "Exact";
        Constraints {
            selectors: Selectors::of(resources),
            rules: Rule::list(&resources["resourceRules"]),
            excluded: Rule::list(&resources["excludeResourceRules"]),
            policy: if exact { MatchPolicy::Exact } else { MatchPolicy::Equivalent },
        }
    }

    /// In which form the request is meant, if it is. Without rules everything is.
    pub fn target(&self, request: &Request<'_>) -> Result<Option<Target>, Status> {
        let selectors = self.selectors.as_ref().map_err(Status::internal)?;
        let in_namespace = selectors.match_namespace(request);
        if in_namespace == Ok(false) || !selectors.match_object(request) {
            return Ok(None);
        }
        if target(&self.excluded, self.policy, request).is_some() {
            return Ok(None);
        }
        let found = match self.rules.is_empty() {
            true => Some(Target::of(request)),
            false => target(&self.rules, self.policy, request),
        };
        // What cannot be looked up only matters to those whom the request concerns.
        match (found, in_namespace) {
            (Some(_), Err(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }
}
