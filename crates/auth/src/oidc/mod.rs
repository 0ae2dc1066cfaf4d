//! Tokens of OpenID Connect issuers. Whoever can speak to the network brings the issuer's keys.

mod configuration;
mod mapping;

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

pub use configuration::{Anonymous, Authentication, AuthenticationConfiguration};

use configuration::{ClaimMappings, ClaimValidationRule, IssuerReference, JwtAuthenticator, PrefixedClaimOrExpression};
use mapping::Mapping;

use crate::UserInfo;
use crate::token::{TokenError, now};

/// What an administrator says of an issuer; the flags of upstream's `--oidc-*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerConfig {
    pub url: String,
    pub client_id: String,
    /// `sub` when empty.
    pub username_claim: String,
    /// `-` for none. When empty: the issuer, except for the claim `email`.
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub required_claims: BTreeMap<String, String>,
    /// `RS256` when empty.
    pub signing_algorithms: Vec<String>,
    /// Of the issuer's server; the system's authorities when absent.
    pub ca_pem: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("the keys of the issuer are not known yet")]
    NoKeys,
    #[error("no key of the issuer verifies the token")]
    UnknownKey,
    #[error("the token is invalid")]
    Token(#[from] TokenError),
    #[error("the claim {0:?} is missing or unfit")]
    Claim(String),
    #[error("{0}")]
    Expression(String),
}

/// What a structured configuration allows.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

impl IssuerConfig {
    /// The same in the structured form.
    fn structured(&self) -> JwtAuthenticator {
        let claim = if self.username_claim.is_empty() { "sub" } else { &self.username_claim };
        let mapped = |claim: &str, prefix: String| PrefixedClaimOrExpression {
            claim: claim.to_owned(),
            prefix: Some(prefix),
            expression: String::new(),
        };
        let required = self.required_claims.iter().map(|(claim, value)| ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimValidationRule::default()
        });
        JwtAuthenticator {
            issuer: IssuerReference {
                url: self.url.clone(),
                certificate_authority: self.ca_pem.clone().unwrap_or_default(),
                audiences: vec![self.client_id.clone()],
                ..IssuerReference::default()
            },
            claim_validation_rules: required.collect(),
            claim_mappings: ClaimMappings {
                username: mapped(claim, self.prefix_of(claim)),
                groups: mapped(&self.groups_claim, self.groups_prefix.clone()),
                ..ClaimMappings::default()
            },
            ..JwtAuthenticator::default()
        }
    }

    fn prefix_of(&self, claim: &str) -> String {
        match self.username_prefix.as_str() {
            "-" => String::new(),
            "" if claim == "email" => String::new(),
            "" => format!("{}#", self.url),
            prefix => prefix.to_string(),
        }
    }
}

/// One issuer that is trusted.
pub struct Issuer {
    reference: IssuerReference,
    mapping: Mapping,
    algorithms: Vec<Algorithm>,
    keys: ArcSwapOption<JwkSet>,
}

impl Issuer {
    /// By flags. None when an algorithm is unknown, or no public-key one: a shared secret proves nothing here.
    pub fn new(config: &IssuerConfig) -> Option<Issuer> {
        let names = if config.signing_algorithms.is_empty() {
            vec!["RS256".to_string()]
        } else {
            config.signing_algorithms.clone()
        };
        let algorithms = names.iter().map(|name| name.parse::<Algorithm>().ok().filter(|_| !name.starts_with("HS")));
        let algorithms = algorithms.collect::<Option<Vec<_>>>()?;
        let structured = config.structured();
        let mapping = Mapping::compile(&structured, &Path::new("jwt"), &mut ErrorList::new());
        Some(Issuer { algorithms, ..Issuer::structured(structured.issuer, mapping) })
    }

    fn structured(reference: IssuerReference, mapping: Mapping) -> Issuer {
        Issuer { reference, mapping, algorithms: ALGORITHMS.to_vec(), keys: ArcSwapOption::empty() }
    }

    pub fn url(&self) -> &str {
        &self.reference.url
    }

    /// Where the discovery document is.
    pub fn discovery_url(&self) -> String {
        match self.reference.discovery_url.as_str() {
            "" => format!("{}/.well-known/openid-configuration", self.url().trim_end_matches('/')),
            url => url.to_owned(),
        }
    }

    /// The authority of the issuer's server, unless it is one of the system's.
    pub fn ca_pem(&self) -> Option<&str> {
        Some(self.reference.certificate_authority.as_str()).filter(|pem| !pem.is_empty())
    }

    /// Whether a token says that it is from here. Says nothing of whether that is true.
    pub fn issued(&self, token: &str) -> bool {
        unverified(token).is_some_and(|claims| claims.get("iss").and_then(Value::as_str) == Some(self.url()))
    }

    /// Takes the keys of the issuer's key set.
    pub fn set_keys(&self, key_set: &[u8]) -> Result<(), serde_json::Error> {
        self.keys.store(Some(std::sync::Arc::new(serde_json::from_slice(key_set)?)));
        Ok(())
    }

    pub fn verify(&self, token: &str) -> Result<UserInfo, OidcError> {
        self.mapping.user(&self.verified(token)?)
    }

    fn verified(&self, token: &str) -> Result<Value, OidcError> {
        let keys = self.keys.load_full().ok_or(OidcError::NoKeys)?;
        let header = jsonwebtoken::decode_header(token).map_err(TokenError::Jwt)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(OidcError::UnknownKey);
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[self.url()]);
        validation.set_audience(&self.reference.audiences);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let fits = |id: &Option<String>| header.kid.is_none() || *id == header.kid;
        let decoded = keys.keys.iter().filter(|key| fits(&key.common.key_id)).find_map(|key| {
            let decoding = DecodingKey::from_jwk(key).ok()?;
            let decoded = jsonwebtoken::decode::<Value>(token, &decoding, &validation);
            match decoded {
                Err(error) if is_signature(&error) => None,
                decoded => Some(decoded.map(|data| data.claims)),
            }
        });
        let claims = decoded.ok_or(OidcError::UnknownKey)?.map_err(TokenError::Jwt)?;
        check_times(&claims)?;
        Ok(claims)
    }
}

fn is_signature(error: &jsonwebtoken::errors::Error) -> bool {
    use jsonwebtoken::errors::ErrorKind;
    matches!(error.kind(), ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm)
}

/// How far the issuer's clock may be ahead.
const AHEAD_SECONDS: f64 = 300.0;

fn check_times(claims: &Value) -> Result<(), TokenError> {
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
    let now = now() as f64;
    let time = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    if time("exp").is_none_or(|end| end <= now) {
        return Err(TokenError::Expired);
    }
    if time("nbf").is_some_and(|begin| begin > now + AHEAD_SECONDS) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}

fn unverified(token: &str) -> Option<Value> {
    use base64::Engine;
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;
    use crate::pki::Pki;

    const URL: &str = "https://issuer.example";

    /// An issuer that signs with a service account key of ours.
    fn issuer(pki: &Pki, change: impl FnOnce(&mut IssuerConfig)) -> Issuer {
        let mut config = IssuerConfig {
            url: URL.into(),
            client_id: "kubernetes".into(),
            groups_claim: "groups".into(),
            signing_algorithms: vec!["ES256".into()],
            ..IssuerConfig::default()
        };
        change(&mut config);
        let issuer = Issuer::new(&config).unwrap();
        issuer.set_keys(pki.service_accounts.key_set().to_string().as_bytes()).unwrap();
        issuer
    }

    fn token(pki: &Pki, claims: &Value) -> String {
        let mut all = json!({"iss": URL, "aud": "kubernetes", "sub": "jane", "exp": now() + 60, "groups": ["a", "b"]});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        pki.service_accounts.sign_any(&all)
    }

    #[test]
    fn a_token_is_a_user_by_the_claims_that_were_chosen() {
        let pki = Pki::ephemeral().unwrap();
        let user = issuer(&pki, |_| ()).verify(&token(&pki, &json!({}))).unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("https://issuer.example#jane", 2));
        let by_mail = issuer(&pki, |config| {
            config.username_claim = "email".into();
            config.groups_prefix = "oidc:".into();
        });
        let claims = json!({"email": "j@x", "email_verified": true, "groups": "one"});
        let user = by_mail.verify(&token(&pki, &claims)).unwrap();
        assert_eq!((user.name.as_str(), user.groups[0].as_str()), ("j@x", "oidc:one"));
        assert!(by_mail.verify(&token(&pki, &json!({"email": "j@x", "email_verified": false}))).is_err());
    }

    #[test]
    fn tokens_for_others_old_ones_and_forged_ones_are_refused() {
        let pki = Pki::ephemeral().unwrap();
        let issuer = issuer(&pki, |config| drop(config.required_claims.insert("hd".into(), "x".into())));
        let verify = |claims: Value| issuer.verify(&token(&pki, &claims)).is_ok();
        assert!(verify(json!({"hd": "x"})));
        assert!(!verify(json!({})));
        assert!(!verify(json!({"hd": "x", "aud": "another"})));
        assert!(!verify(json!({"hd": "x", "exp": 5})));
        assert!(!verify(json!({"hd": "x", "iss": "https://another"})));
        assert!(!verify(json!({"hd": "x", "sub": 7})));
        let forged = token(&Pki::ephemeral().unwrap(), &json!({"hd": "x"}));
        assert!(matches!(issuer.verify(&forged), Err(OidcError::UnknownKey)));
        let shared = jsonwebtoken::encode(&Header::default(), &json!({}), &EncodingKey::from_secret(b"x")).unwrap();
        assert!(issuer.verify(&shared).is_err() && !issuer.issued(&shared));
        for hostile in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\u{0}.\u{0}.\u{0}"] {
            assert!(issuer.verify(hostile).is_err() && !issuer.issued(hostile));
        }
    }

    fn configured(jwt: &Value) -> Result<Issuer, String> {
        let whole =
            json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt]});
        let config: AuthenticationConfiguration = serde_json::from_value(whole).unwrap();
        let compiled = config.compile(&[crate::token::ISSUER.to_owned()]).map_err(|errors| errors.to_string())?;
        Ok(compiled.issuers.into_iter().next().unwrap())
    }

    #[test]
    fn expressions_map_claims_and_rules_refuse() {
        let pki = Pki::ephemeral().unwrap();
        let issuer = configured(&json!({
            "issuer": {"url": URL, "audiences": ["kubernetes", "other"], "audienceMatchPolicy": "MatchAny"},
            "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 3600", "message": "too long"}],
            "claimMappings": {
                "username": {"expression": "claims.sub + ':oidc'"},
                "groups": {"expression": "claims.roles.split(',')"},
                "uid": {"claim": "id"},
                "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}]},
            "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}]}))
        .unwrap();
        issuer.set_keys(pki.service_accounts.key_set().to_string().as_bytes()).unwrap();
        let claims = |name: &str, life: u64| {
            json!({"sub": name, "aud": "other", "iat": now(), "exp": now() + life, "roles": "a,b", "id": "7",
                "tenant": "t", "jti": "x"})
        };
        let user = issuer.verify(&token(&pki, &claims("jane", 60))).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str(), user.groups.len()), ("jane:oidc", "7", 2));
        assert_eq!(user.extra["example.com/tenant"], ["t"]);
        assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=x"]);
        let told = |claims: Value| issuer.verify(&token(&pki, &claims)).unwrap_err().to_string();
        assert!(told(claims("jane", 7200)).ends_with("failed: too long"));
        assert!(told(claims("system:x", 60)).ends_with("failed: reserved"));
    }

    #[test]
    fn what_is_wrong_with_a_configuration_is_told_with_its_place() {
        let issuer = json!({"url": "http://issuer.example?x=1", "audiences": ["a", "b"]});
        let mappings = json!({"username": {"expression": "claims.email"}, "groups": {"claim": "g"},
            "extra": [{"key": "Foo", "valueExpression": "1 +"}]});
        let told = configured(&json!({"issuer": issuer, "claimMappings": mappings})).err().unwrap();
        for part in [
            "jwt[0].issuer.url: Invalid value: \"http://issuer.example?x=1\": URL scheme must be https",
            "audienceMatchPolicy must be MatchAny for multiple audiences",
            "jwt[0].claimMappings.groups.prefix: Required value",
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"Foo\": must be a domain-prefixed path",
            "claims.email_verified must be used in",
            "compilation failed: ERROR: <input>:1:4: Syntax error",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        let own = json!({"url": crate::token::ISSUER, "audiences": ["a"]});
        let told = configured(&json!({"issuer": own})).err().unwrap();
        assert!(told.contains("URL must not overlap with disallowed issuers"));
    }

    #[test]
    fn anonymous_requests_may_be_limited_to_paths() {
        let anonymous: Anonymous =
            serde_json::from_value(json!({"enabled": true, "conditions": [{"path": "/livez"}]})).unwrap();
        assert!(anonymous.allows("/livez") && !anonymous.allows("/livez/ping"));
        assert!(Anonymous { enabled: true, conditions: Vec::new() }.allows("/api"));
        assert!(!Anonymous::default().allows("/livez"));
    }
}
