//! Property names as identifiers: `a-b` is `a__dash__b`, `namespace` is `__namespace__`.

use crate::words::is_reserved;

const SEQUENCES: [(&str, &str); 4] =
    [("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// The identifier for a property, unless the property has characters that cannot be escaped.
pub fn escape(property: &str) -> Option<String> {
    if property.is_empty() || property.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_reserved(property) {
        return Some(format!("__{property}__"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    property.chars().all(allowed).then(|| replace(property, |(plain, escaped)| (plain, escaped)))
}

/// The property behind an identifier, unless its escapes are none of the known ones.
pub fn unescape(identifier: &str) -> Option<String> {
    let inner = identifier.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(keyword) = inner.filter(|inner| is_reserved(inner)) {
        return Some(keyword.into());
    }
    let plain = replace(identifier, |(plain, escaped)| (escaped, plain));
    (escape(&plain).as_deref() == Some(identifier)).then_some(plain)
}

type Sequence = (&'static str, &'static str);

fn replace(text: &str, direction: impl Fn(Sequence) -> Sequence) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some(first) = rest.chars().next() {
        let matched = SEQUENCES.iter().map(|pair| direction(*pair)).find(|(from, _)| rest.starts_with(from));
        let (from, to) = matched.unwrap_or((&rest[..first.len_utf8()], &rest[..first.len_utf8()]));
        out.push_str(to);
        rest = &rest[from.len()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_that_can_be_escaped_comes_back() {
        for (property, identifier) in [
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("namespace", "__namespace__"),
            ("a__b", "a__underscores__b"),
            ("plain", "plain"),
        ] {
            assert_eq!(escape(property).as_deref(), Some(identifier));
            assert_eq!(unescape(identifier).as_deref(), Some(property));
        }
        assert_eq!(escape("a b"), None);
        assert_eq!(escape("1a"), None);
    }
}
