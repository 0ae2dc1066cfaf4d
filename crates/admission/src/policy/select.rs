//! Which policies a request concerns, through which bindings, with which parameters.

use std::sync::Arc;

use serde_json::Value;

use super::index::{Binding, Body, Bound, Policy};
use super::params;
use crate::Request;
use crate::matching::Target;

/// A policy through one of its bindings, or why that cannot be said.
pub struct Selected<B> {
    pub policy: Arc<Policy<B>>,
    /// None where the policy itself is at fault.
    pub binding: Option<Arc<Binding>>,
    pub outcome: Result<(Target, Vec<Value>), String>,
}

pub fn select<B: Body>(all: &[Bound<B>], request: &Request<'_>) -> Vec<Selected<B>> {
    all.iter().flat_map(|bound| policy(bound, request)).collect()
}

fn policy<B: Body>(bound: &Bound<B>, request: &Request<'_>) -> Vec<Selected<B>> {
    let at_fault = |why: String| {
        let outcome = Err(format!("failed to configure policy: {why}"));
        vec![Selected { policy: bound.policy.clone(), binding: None, outcome }]
    };
    let target = match bound.policy.constraints.target(request) {
        Ok(Some(target)) => target,
        Ok(None) => return Vec::new(),
        Err(error) => return at_fault(error.message),
    };
    let resource = bound.policy.param_kind.as_ref().map(|kind| params::resource(kind, request)).transpose();
    let resource = match resource {
        Ok(resource) => resource,
        Err(why) => return at_fault(why),
    };
    let through = bound.bindings.iter().filter_map(|binding| {
        let params = match binding.resources.as_ref().map(|resources| resources.target(request)) {
            Some(Ok(None)) => return None,
            Some(Err(error)) => Err(error.message),
            _ => params::collect(resource.as_deref(), binding, request).map_err(|error| error.to_string()),
        };
        let outcome = params.map(|params| (target.clone(), params));
        let outcome = outcome.map_err(|why| format!("failed to configure binding: {why}"));
        Some(Selected { policy: bound.policy.clone(), binding: Some(binding.clone()), outcome })
    });
    through.collect()
}
