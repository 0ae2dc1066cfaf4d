//! One webhook, compiled, and whether it is to be asked about a request.

use std::time::Duration;

use apimachinery::Status;
use apimachinery::labels::ParseError;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::errors::CallError;
use crate::Request;
use crate::match_conditions::{Conditions, Outcome};
use crate::matching::{self, MatchPolicy, Rule, Selectors, Target};

const TIMEOUT_DEFAULT: u64 = 10;

/// Who is asked, about what, and what happens when nobody answers.
pub struct Hook {
    pub configuration: String,
    pub name: String,
    /// Distinguishes hooks of the same name: configuration, name and place.
    pub uid: String,
    pub endpoint: Endpoint,
    pub timeout: Duration,
    pub ignores_failure: bool,
    pub reinvoked_if_needed: bool,
    /// Whether a dry run may ask it.
    side_effects: Option<String>,
    rules: Vec<Rule>,
    policy: MatchPolicy,
    selectors: Result<Selectors, ParseError>,
    conditions: Conditions,
}

impl Hook {
    pub fn compile(configuration: &str, place: usize, webhook: &Value) -> Hook {
        let text = |field: &str| webhook[field].as_str().unwrap_or_default();
        let name = text("name").to_owned();
        Hook {
            uid: format!("{configuration}/{name}/{place}"),
            configuration: configuration.to_owned(),
            endpoint: Endpoint::of(&webhook["clientConfig"]),
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_DEFAULT)),
            ignores_failure: text("failurePolicy") == "Ignore",
            reinvoked_if_needed: text("reinvocationPolicy") == "IfNeeded",
            side_effects: webhook["sideEffects"].as_str().map(str::to_owned),
            rules: Rule::list(&webhook["rules"]),
            policy: if text("matchPolicy") == "Exact" { MatchPolicy::Exact } else { MatchPolicy::Equivalent },
            selectors: Selectors::of(webhook),
            conditions: Conditions::compile(&webhook["matchConditions"], false),
            name,
        }
    }

    /// In which form the request is to be shown to the webhook; `None` if it is none of its business.
    pub fn concerns(&self, request: &Request<'_>) -> Result<Option<Target>, Status> {
        let selectors = self.selectors.as_ref().map_err(Status::internal)?;
        let in_namespace = selectors.match_namespace(request);
        if in_namespace == Ok(false) || !selectors.match_object(request) {
            return Ok(None);
        }
        let Some(target) = matching::target(&self.rules, self.policy, request) else { return Ok(None) };
        // What cannot be looked up only matters to those whom the request concerns.
        in_namespace?;
        match self.conditions.evaluate(request, &target, &Value::Null) {
            Outcome::Met => Ok(Some(target)),
            Outcome::Unmet => Ok(None),
            Outcome::Failed(_) if self.ignores_failure => Ok(None),
            Outcome::Failed(why) => Err(Status::forbidden(&request.group_resource(), request.object_name(), why)),
        }
    }

    /// A dry run asks only those that promise to leave nothing behind.
    pub fn check_dry_run(&self, request: &Request<'_>) -> Result<(), CallError> {
        if !request.dry_run {
            return Ok(());
        }
        match self.side_effects.as_deref() {
            Some("None" | "NoneOnDryRun") => Ok(()),
            Some(_) => Err(CallError::DryRun(self.name.clone())),
            None => Err(CallError::failed(&self.name, "Webhook SideEffects is nil", 400)),
        }
    }
}
