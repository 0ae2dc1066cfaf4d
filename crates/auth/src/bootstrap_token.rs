//! Bootstrap tokens: an id and a secret, kept in a Secret of kube-system, with which a machine begins to join.

use serde_json::Value;

use crate::UserInfo;

pub const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Id and secret of a text that has the form of such a token.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    token.split_once('.').filter(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

pub fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// Whom the token stands for, if the stored secret says so now.
pub fn user(id: &str, secret: &str, stored: &Value, now: jiff::Timestamp) -> Option<UserInfo> {
    let deleting = stored.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    if deleting || stored.get("type").and_then(Value::as_str) != Some(SECRET_TYPE) {
        return None;
    }
    let kept = data(stored, "token-secret");
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(kept.as_bytes(), secret.as_bytes()).is_ok();
    let used = data(stored, "usage-bootstrap-authentication") == "true";
    if kept.is_empty() || !same || data(stored, "token-id") != id || !used || is_over(stored, now) {
        return None;
    }
    let extra = data(stored, "auth-extra-groups");
    let mut groups: Vec<String> = extra.split(',').filter(|group| !group.is_empty()).map(str::to_string).collect();
    if !groups.iter().all(|group| is_bootstrap_group(group)) {
        return None;
    }
    groups.push(GROUP.to_string());
    groups.sort();
    groups.dedup();
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

fn data(secret: &Value, key: &str) -> String {
    use base64::Engine;
    let text = secret.get("data").and_then(|data| data.get(key)).and_then(Value::as_str).unwrap_or_default();
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// An end that cannot be read has come.
fn is_over(secret: &Value, now: jiff::Timestamp) -> bool {
    let end = data(secret, "expiration");
    !end.is_empty() && !end.parse::<jiff::Timestamp>().is_ok_and(|end| end > now)
}

fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= 256
        && rest.bytes().all(|byte| alphanumeric(byte) || matches!(byte, b':' | b'-'))
        && rest.bytes().next_back().is_some_and(alphanumeric)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use serde_json::json;

    use super::*;

    fn secret(changes: &[(&str, &str)]) -> Value {
        let mut data = serde_json::Map::new();
        let own = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2030-01-01T00:00:00Z"),
            ("auth-extra-groups", "system:bootstrappers:workers"),
        ];
        for (key, value) in own.iter().chain(changes) {
            data.insert((*key).to_string(), base64::prelude::BASE64_STANDARD.encode(value).into());
        }
        json!({"type": SECRET_TYPE, "data": data})
    }

    fn groups(changes: &[(&str, &str)]) -> Option<Vec<String>> {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        user("abcdef", "0123456789abcdef", &secret(changes), now).map(|user| user.groups)
    }

    #[test]
    fn a_token_is_a_user_with_the_groups_of_its_secret() {
        let own = ["system:bootstrappers", "system:bootstrappers:workers"].map(str::to_string);
        assert_eq!(groups(&[]), Some(own.to_vec()));
    }

    #[test]
    fn what_does_not_fit_is_nobody() {
        assert_eq!(groups(&[("token-secret", "another")]), None);
        assert_eq!(groups(&[("token-secret", "")]), None);
        assert_eq!(groups(&[("token-id", "another")]), None);
        assert_eq!(groups(&[("usage-bootstrap-authentication", "false")]), None);
        assert_eq!(groups(&[("expiration", "2020-01-01T00:00:00Z")]), None);
        assert_eq!(groups(&[("expiration", "some day")]), None);
        assert_eq!(groups(&[("auth-extra-groups", "system:masters")]), None);
    }

    #[test]
    fn tokens_have_one_form() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for wrong in ["", "abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdeé.0123456789abcdef"] {
            assert_eq!(parse(wrong), None);
        }
    }
}
