//! As whom a request is made: the user's entry in the kubeconfig, and the flags over it.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::failure::{Failure, fail};
use crate::flags::Parsed;

#[derive(Clone, Debug, Default)]
pub struct Impersonation {
    user: Option<String>,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    pub fn of_flags(parsed: &Parsed) -> Self {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // What is no pair is passed over, as upstream does.
        for (key, value) in parsed.texts("as-user-extra").iter().filter_map(|word| word.split_once('=')) {
            extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let text = |flag: &str| parsed.some(flag).map(str::to_owned);
        Self { user: text("as"), uid: text("as-uid"), groups: parsed.texts("as-group"), extra }
    }

    fn of_user(user: &Map<String, Value>) -> Self {
        let text = |field: &str| user.get(field)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let extra = user.get("as-user-extra").and_then(Value::as_object);
        Self {
            user: text("as"),
            uid: text("as-uid"),
            groups: user.get("as-groups").map(texts).unwrap_or_default(),
            extra: extra.into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect(),
        }
    }

    /// What is missing is taken from the kubeconfig's user.
    pub fn over(self, user: &Map<String, Value>) -> Self {
        let below = Self::of_user(user);
        let mut extra = below.extra;
        extra.extend(self.extra);
        Self {
            user: self.user.or(below.user),
            uid: self.uid.or(below.uid),
            groups: if self.groups.is_empty() { below.groups } else { self.groups },
            extra,
        }
    }

    pub fn headers(&self, user_name: &str) -> Result<HeaderMap, Failure> {
        let has_more = self.uid.is_some() || !self.groups.is_empty() || !self.extra.is_empty();
        if self.user.is_none() && has_more {
            return fail!("requesting uid, groups or user-extra for {user_name} without impersonating a user");
        }
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::from("not a header's value"));
        for (name, text) in [("impersonate-user", &self.user), ("impersonate-uid", &self.uid)] {
            if let Some(text) = text {
                headers.insert(name, value(text)?);
            }
        }
        for group in &self.groups {
            headers.append("impersonate-group", value(group)?);
        }
        for (key, values) in &self.extra {
            let name = format!("impersonate-extra-{}", escape(key).to_lowercase());
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "--as-user-extra: not a header's name")?;
            for text in values {
                headers.append(name.clone(), value(text)?);
            }
        }
        Ok(headers)
    }
}

/// What a header's name cannot hold is percent-encoded.
fn escape(key: &str) -> String {
    let mut escaped = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_lie_over_the_user() {
        let user = json!({"as": "joe", "as-groups": ["g"], "as-user-extra": {"K/x": ["v", "w"]}});
        let flags = Impersonation { user: Some("bob".into()), ..Impersonation::default() };
        let headers = flags.over(user.as_object().expect("an object")).headers("u").expect("complete");
        let shown: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().expect("text"))).collect();
        let expected =
            ["impersonate-user=bob", "impersonate-group=g", "impersonate-extra-k%2fx=v", "impersonate-extra-k%2fx=w"];
        assert_eq!(shown, expected);
        let nobody = Impersonation { groups: vec!["g".into()], ..Impersonation::default() };
        let why = nobody.headers("u").expect_err("nobody is impersonated").text();
        assert_eq!(why, "requesting uid, groups or user-extra for u without impersonating a user");
    }
}
