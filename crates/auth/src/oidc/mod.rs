//! Tokens of OpenID Connect issuers. Whoever can speak to the network brings the issuer's keys.

use std::collections::BTreeMap;

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

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
}

/// One issuer that is trusted.
pub struct Issuer {
    pub config: IssuerConfig,
    algorithms: Vec<Algorithm>,
    keys: ArcSwapOption<JwkSet>,
}

impl Issuer {
    /// None when an algorithm is unknown, or no public-key one: a shared secret proves nothing here.
    pub fn new(config: IssuerConfig) -> Option<Issuer> {
        let names = if config.signing_algorithms.is_empty() {
            vec!["RS256".to_string()]
        } else {
            config.signing_algorithms.clone()
        };
        let algorithms = names.iter().map(|name| name.parse::<Algorithm>().ok().filter(|_| !name.starts_with("HS")));
        let algorithms = algorithms.collect::<Option<Vec<_>>>()?;
        Some(Issuer { config, algorithms, keys: ArcSwapOption::empty() })
    }

    /// Whether a token says that it is from here. Says nothing of whether that is true.
    pub fn issued(&self, token: &str) -> bool {
        unverified(token).is_some_and(|claims| claims.get("iss").and_then(Value::as_str) == Some(&self.config.url))
    }

    /// Takes the keys of the issuer's key set.
    pub fn set_keys(&self, key_set: &[u8]) -> Result<(), serde_json::Error> {
        self.keys.store(Some(std::sync::Arc::new(serde_json::from_slice(key_set)?)));
        Ok(())
    }

    pub fn verify(&self, token: &str) -> Result<UserInfo, OidcError> {
        let claims = self.verified(token)?;
        let config = &self.config;
        let claim = if config.username_claim.is_empty() { "sub" } else { &config.username_claim };
        let name = text(&claims, claim)?;
        if claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
            return Err(OidcError::Claim("email_verified".into()));
        }
        for (key, value) in &config.required_claims {
            if text(&claims, key)? != value {
                return Err(OidcError::Claim(key.clone()));
            }
        }
        let name = format!("{}{name}", self.username_prefix(claim));
        Ok(UserInfo { name, groups: self.groups(&claims)?, ..UserInfo::default() })
    }

    fn username_prefix(&self, claim: &str) -> String {
        match self.config.username_prefix.as_str() {
            "-" => String::new(),
            "" if claim == "email" => String::new(),
            "" => format!("{}#", self.config.url),
            prefix => prefix.to_string(),
        }
    }

    /// A list, or a single text.
    fn groups(&self, claims: &Value) -> Result<Vec<String>, OidcError> {
        let IssuerConfig { groups_claim, groups_prefix, .. } = &self.config;
        let unfit = || OidcError::Claim(groups_claim.clone());
        let prefixed = |group: &str| format!("{groups_prefix}{group}");
        match claims.get(groups_claim.as_str()) {
            _ if groups_claim.is_empty() => Ok(Vec::new()),
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(group)) => Ok(vec![prefixed(group)]),
            Some(Value::Array(list)) => {
                list.iter().map(|group| group.as_str().map(prefixed).ok_or_else(unfit)).collect()
            }
            Some(_) => Err(unfit()),
        }
    }

    fn verified(&self, token: &str) -> Result<Value, OidcError> {
        let keys = self.keys.load_full().ok_or(OidcError::NoKeys)?;
        let header = jsonwebtoken::decode_header(token).map_err(TokenError::Jwt)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(OidcError::UnknownKey);
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.url]);
        validation.set_audience(&[&self.config.client_id]);
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

fn text<'a>(claims: &'a Value, claim: &str) -> Result<&'a str, OidcError> {
    claims.get(claim).and_then(Value::as_str).ok_or_else(|| OidcError::Claim(claim.to_string()))
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
        let issuer = Issuer::new(config).unwrap();
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
}
