//! `AuthenticationConfiguration` of apiserver.config.k8s.io: which issuers are trusted, and who their tokens stand for.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use serde::Deserialize;

use super::Issuer;
use super::mapping::Mapping;

const ISSUERS_MAX: usize = 64;
const KIND: &str = "AuthenticationConfiguration";
const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationConfiguration {
    pub api_version: String,
    pub kind: String,
    #[serde(default)]
    pub jwt: Vec<JwtAuthenticator>,
    pub anonymous: Option<Anonymous>,
}

/// Who may ask without saying who he is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anonymous {
    pub enabled: bool,
    #[serde(default)]
    pub conditions: Vec<AnonymousCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousCondition {
    pub path: String,
}

impl Anonymous {
    pub fn allows(&self, path: &str) -> bool {
        self.enabled && (self.conditions.is_empty() || self.conditions.iter().any(|one| one.path == path))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtAuthenticator {
    pub issuer: IssuerReference,
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    #[serde(default)]
    pub claim_mappings: ClaimMappings,
    #[serde(default)]
    pub user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IssuerReference {
    pub url: String,
    /// Where the discovery document is, if not below the URL.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// Of the issuer's server; the system's authorities when empty.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimMappings {
    pub username: PrefixedClaimOrExpression,
    pub groups: PrefixedClaimOrExpression,
    pub uid: ClaimOrExpression,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrefixedClaimOrExpression {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimOrExpression {
    pub claim: String,
    pub expression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

/// What a configuration comes to.
pub struct Authentication {
    pub issuers: Vec<Issuer>,
    pub anonymous: Option<Anonymous>,
}

impl AuthenticationConfiguration {
    /// `own`: the issuer of service account tokens, which no other may claim to be.
    pub fn compile(self, own: &[String]) -> Result<Authentication, ErrorList> {
        let mut errors = ErrorList::new();
        self.check_kind(&mut errors);
        let root = Path::new("jwt");
        if self.jwt.len() > ISSUERS_MAX {
            errors.invalid(&root, self.jwt.len(), format!("must have at most {ISSUERS_MAX} items"));
            return Err(errors);
        }
        self.check_duplicates(&root, &mut errors);
        let mut issuers = Vec::new();
        for (index, one) in self.jwt.into_iter().enumerate() {
            let path = root.index(index);
            check_issuer(&one.issuer, own, &path.child("issuer"), &mut errors);
            let mapping = Mapping::compile(&one, &path, &mut errors);
            issuers.push(Issuer::structured(one.issuer, mapping));
        }
        if self.anonymous.as_ref().is_some_and(|anonymous| !anonymous.enabled && !anonymous.conditions.is_empty()) {
            let path = Path::new("anonymous").child("conditions");
            errors.invalid(&path, "", "enabled should be set to true when conditions are defined");
        }
        if errors.is_empty() { Ok(Authentication { issuers, anonymous: self.anonymous }) } else { Err(errors) }
    }

    fn check_kind(&self, errors: &mut ErrorList) {
        if self.kind != KIND {
            errors.not_supported(&Path::new("kind"), self.kind.as_str(), &[KIND]);
        }
        if !VERSIONS.contains(&self.api_version.as_str()) {
            errors.not_supported(&Path::new("apiVersion"), self.api_version.as_str(), &VERSIONS);
        }
    }

    fn check_duplicates(&self, root: &Path, errors: &mut ErrorList) {
        let (mut urls, mut discoveries) = (BTreeSet::new(), BTreeSet::new());
        for (index, one) in self.jwt.iter().enumerate() {
            let path = root.index(index).child("issuer");
            if !urls.insert(&one.issuer.url) {
                errors.duplicate(&path.child("url"), one.issuer.url.as_str());
            }
            let discovery = &one.issuer.discovery_url;
            if !discovery.is_empty() && !discoveries.insert(discovery) {
                errors.duplicate(&path.child("discoveryURL"), discovery.as_str());
            }
        }
    }
}

fn check_issuer(issuer: &IssuerReference, own: &[String], path: &Path, errors: &mut ErrorList) {
    let url = path.child("url");
    if issuer.url.is_empty() {
        errors.required(&url, "");
    } else if own.contains(&issuer.url) {
        let why = format!("URL must not overlap with disallowed issuers: [{}]", own.join(" "));
        errors.invalid(&url, issuer.url.as_str(), why);
    } else {
        check_url(&issuer.url, &url, errors);
    }
    if !issuer.discovery_url.is_empty() {
        let path = path.child("discoveryURL");
        if issuer.url.trim_end_matches('/') == issuer.discovery_url.trim_end_matches('/') {
            errors.invalid(&path, issuer.discovery_url.as_str(), "discoveryURL must be different from URL");
        }
        check_url(&issuer.discovery_url, &path, errors);
    }
    check_audiences(issuer, path, errors);
    if !issuer.certificate_authority.is_empty() && !issuer.certificate_authority.contains("-----BEGIN CERTIFICATE-----")
    {
        let why = "data does not contain any valid RSA or ECDSA certificates";
        errors.invalid(&path.child("certificateAuthority"), "<omitted>", why);
    }
    if !matches!(issuer.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
        let why = "egress selector must be either controlplane or cluster";
        errors.invalid(&path.child("egressSelectorType"), issuer.egress_selector_type.as_str(), why);
    }
}

fn check_url(url: &str, path: &Path, errors: &mut ErrorList) {
    let Some(rest) = url.strip_prefix("https://") else {
        return errors.invalid(path, url, "URL scheme must be https");
    };
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (place, query) = before.split_once('?').unwrap_or((before, ""));
    if place.split('/').next().is_some_and(|authority| authority.contains('@')) {
        errors.invalid(path, url, "URL must not contain a username or password");
    }
    if !query.is_empty() {
        errors.invalid(path, url, "URL must not contain a query");
    }
    if !fragment.is_empty() {
        errors.invalid(path, url, "URL must not contain a fragment");
    }
}

fn check_audiences(issuer: &IssuerReference, path: &Path, errors: &mut ErrorList) {
    let (audiences, policy) = (&issuer.audiences, issuer.audience_match_policy.as_str());
    let own = path.child("audiences");
    if audiences.is_empty() {
        return errors.required(&own, &format!("at least one {own} is required"));
    }
    for (index, audience) in audiences.iter().enumerate() {
        if audience.is_empty() {
            errors.required(&own.index(index), "");
        }
        if audiences[..index].contains(audience) {
            errors.duplicate(&own.index(index), audience.as_str());
        }
    }
    let path = path.child("audienceMatchPolicy");
    if audiences.len() > 1 && policy != "MatchAny" {
        errors.invalid(&path, policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
    } else if !matches!(policy, "" | "MatchAny") {
        errors.invalid(&path, policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
    }
}
