//! Rules for names and values, with upstream's messages. A rule answers with what is wrong, nothing if all is well.

mod ip;
pub mod object_meta;
mod options;
mod selector;
mod url;
pub mod webhook;

pub use ip::{cidr_warnings, ip_warnings, is_ipv4, is_ipv6, parse_cidr, parse_ip, validate_cidr, validate_ip};
pub use options::{validate_create_options, validate_delete_options, validate_field_manager, validate_patch_options};
pub use selector::{label_selector, label_selector_requirements};

pub type Messages = Vec<String>;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

pub fn max_len_error(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

fn max_characters_error(length: usize) -> String {
    format!("must be no more than {length} characters")
}

pub fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

pub fn range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn bounded(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            edge(*first) && edge(*last) && bytes.iter().all(|byte| edge(*byte) || inner(*byte))
        }
        _ => false,
    }
}

fn label_form(text: &str) -> bool {
    bounded(text, lower, |byte| byte == b'-')
}

fn subdomain_form(text: &str) -> bool {
    text.split('.').all(label_form)
}

fn qualified_form(text: &str) -> bool {
    bounded(text, |byte| byte.is_ascii_alphanumeric(), |byte| b"-_.".contains(&byte))
}

pub fn is_dns1123_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 63 {
        messages.push(max_len_error(63));
    }
    if !label_form(value) {
        messages.push(if subdomain_form(value) {
            "must not contain dots".into()
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                           start and end with an alphanumeric character";
            regex_error(message, LABEL, &["my-name", "123-abc"])
        });
    }
    messages
}

pub fn is_dns1123_subdomain(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 253 {
        messages.push(max_len_error(253));
    }
    if !subdomain_form(value) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                       must start and end with an alphanumeric character";
        messages.push(regex_error(message, SUBDOMAIN, &["example.com"]));
    }
    messages
}

pub fn is_dns1035_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 63 {
        messages.push(max_characters_error(63));
    }
    if !label_form(value) || !value.as_bytes()[0].is_ascii_lowercase() {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                       alphabetic character, and end with an alphanumeric character";
        messages.push(regex_error(message, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    messages
}

pub fn is_wildcard_dns1123_subdomain(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 253 {
        messages.push(max_characters_error(253));
    }
    if !value.strip_prefix("*.").is_some_and(subdomain_form) {
        let message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                       consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        messages.push(regex_error(message, &format!("\\*\\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    messages
}

pub fn is_qualified_name(value: &str) -> Messages {
    let form = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut messages = Messages::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".into());
            } else {
                messages
                    .extend(is_dns1123_subdomain(prefix).into_iter().map(|message| format!("prefix part {message}")));
            }
            name
        }
        _ => {
            let message = regex_error(&format!("a valid label key {form}"), QUALIFIED, &examples);
            return vec![format!(
                "{message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        messages.push(format!("name part {}", max_len_error(63)));
    }
    if !qualified_form(name) {
        messages.push(format!("name part {}", regex_error(form, QUALIFIED, &examples)));
    }
    messages
}

pub fn is_label_value(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 63 {
        messages.push(max_len_error(63));
    }
    if !value.is_empty() && !qualified_form(value) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                       must start and end with an alphanumeric character";
        messages.push(regex_error(message, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"]));
    }
    messages
}

/// A name that is only a segment of a path: RBAC kinds.
pub fn is_path_segment_name(value: &str) -> Messages {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    let contains = ["/", "%"].iter().filter(|part| value.contains(**part));
    contains.map(|part| format!("may not contain '{part}'")).collect()
}

pub fn is_port_number(port: i64) -> Messages {
    if (1..=65535).contains(&port) { Messages::new() } else { vec![range_error(1, 65535)] }
}

pub fn is_port_name(name: &str) -> Messages {
    let mut messages = Messages::new();
    if name.len() > 15 {
        messages.push(max_characters_error(15));
    }
    if name.is_empty() || !name.bytes().all(|byte| lower(byte) || byte == b'-') {
        messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        messages.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        messages.push("must not begin or end with a hyphen".into());
    }
    messages
}

fn no_parent_directory(value: &str) -> Option<String> {
    match value {
        "." | ".." => Some(format!("must not be '{value}'")),
        _ if value.starts_with("..") => Some("must not start with '..'".into()),
        _ => None,
    }
}

pub fn is_env_var_name(value: &str) -> Messages {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".into()];
    }
    if value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Messages::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

pub fn is_config_map_key(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 253 {
        messages.push(max_characters_error(253));
    }
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        messages.push(regex_error(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    messages.extend(no_parent_directory(value));
    messages
}

pub fn is_percent(value: &str) -> Messages {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Messages::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(message, "[0-9]+%", &["1%", "93%"])]
}

pub fn is_http_header_name(value: &str) -> Messages {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Messages::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// User and group ids.
pub fn is_id(value: i64) -> Messages {
    let max = i64::from(i32::MAX);
    if (0..=max).contains(&value) { Messages::new() } else { vec![range_error(0, max)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_is_well_formed() {
        assert!(is_dns1123_label("a-1").is_empty());
        assert!(is_dns1123_subdomain("a.b-1.c").is_empty());
        assert!(is_dns1035_label("a1").is_empty());
        assert!(is_qualified_name("example.com/My_name.x").is_empty());
        assert!(is_label_value("").is_empty());
        assert!(is_port_name("http-2").is_empty());
        assert!(is_config_map_key("..a".trim_start_matches('.')).is_empty());
    }

    #[test]
    fn refuses_with_upstreams_words() {
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(is_dns1035_label("1a").len(), 1);
        assert_eq!(is_port_name("Bad_").len(), 1);
        assert_eq!(is_config_map_key(".."), ["must not be '..'"]);
        assert_eq!(is_qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(is_qualified_name("a/").len(), 2);
    }
}
