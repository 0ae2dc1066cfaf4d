//! Resources that may only be used where a quota covers them: `limitedResources` of the configuration.

use std::collections::BTreeSet;

use apimachinery::Status;
use apimachinery::field::{ErrorList, Path};
use quota::{Evaluator, ScopeSelector, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::Request;
use crate::configuration::{ConfigurationError, settings};

/// One resource that is limited: by names that contain a text, and by scopes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitedResource {
    #[serde(default)]
    api_group: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    match_contains: Vec<String>,
    #[serde(default)]
    match_scopes: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceQuotaConfiguration {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    limited_resources: Vec<LimitedResource>,
}

impl LimitedResource {
    pub fn all_of(value: &Value) -> Result<Vec<Self>, ConfigurationError> {
        const KINDS: [(&str, &str); 3] = [
            ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
            ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
            ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
        ];
        if value.is_null() {
            return Ok(Vec::new());
        }
        let found: ResourceQuotaConfiguration = settings(value, &KINDS)?;
        let mut errors = ErrorList::new();
        for (index, limited) in found.limited_resources.iter().enumerate() {
            if limited.resource.is_empty() {
                errors.required(&Path::new("limitedResources").index(index).child("resource"), "");
            }
        }
        match errors.is_empty() {
            true => Ok(found.limited_resources),
            false => Err(ConfigurationError::Invalid { plugin: "ResourceQuota", errors }),
        }
    }
}

/// What must be covered for one object.
pub struct Demands {
    names: BTreeSet<String>,
    scopes: Vec<ScopeSelector>,
}

/// What the quotas of a namespace cover.
#[derive(Default)]
pub struct Covered {
    pub names: BTreeSet<String>,
    pub scopes: Vec<ScopeSelector>,
}

impl Demands {
    pub fn of(request: &Request<'_>, evaluator: &Evaluator, object: &Value, usage: &Usage) -> Demands {
        let limited = &request.services.configuration.limited;
        let scopes = limited.iter().flat_map(|one| {
            let selectors: Vec<ScopeSelector> = one.match_scopes.iter().map(ScopeSelector::of).collect();
            evaluator.matching_scopes(object, &selectors)
        });
        let same = limited.iter().filter(|one| request.is_resource(&one.api_group, &one.resource));
        let texts: Vec<&String> = same.flat_map(|one| &one.match_contains).collect();
        let used = usage.iter().filter(|(_, amount)| !amount.is_zero() && !amount.is_negative());
        let names = used.filter(|(name, _)| texts.iter().any(|text| name.contains(text.as_str())));
        Demands { names: names.map(|(name, _)| name.clone()).collect(), scopes: scopes.collect() }
    }

    /// Refuses what no quota covers.
    pub fn check(&self, request: &Request<'_>, covered: &Covered) -> Result<(), Status> {
        let names: Vec<&str> = self.names.difference(&covered.names).map(String::as_str).collect();
        if !names.is_empty() {
            return Err(request.forbidden(format!("insufficient quota to consume: {}", names.join(","))));
        }
        let open = self.scopes.iter().filter(|wanted| covered.scopes.iter().all(|scope| scope.scope != wanted.scope));
        let open: Vec<String> = open.map(ToString::to_string).collect();
        if open.is_empty() {
            return Ok(());
        }
        // Upstream answers with an error that is no refusal.
        let why = format!("insufficient quota to match these scopes: [{}]", open.join(" "));
        Err(Status { message: why.clone(), reason: String::new(), details: None, ..Status::internal(why) })
    }
}
