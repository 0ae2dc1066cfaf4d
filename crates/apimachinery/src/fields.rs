//! Field selectors: `metadata.name=x,status.phase!=Running`.

use std::fmt;

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term { selector: String, term: String },
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
    #[error("invalid field selector: unterminated escape sequence in value: {0}")]
    Escape(String),
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// The terms about fields that `chosen` names, and the others.
    pub fn split(&self, chosen: impl Fn(&str) -> bool) -> (Self, Self) {
        let (of_these, others) = self.0.iter().cloned().partition(|requirement| chosen(&requirement.field));
        (Self(of_these), Self(others))
    }

    /// The same of fields by other names; the field that has none is the error.
    pub fn renamed<'a>(&'a self, name: impl Fn(&'a str) -> Option<&'a str>) -> Result<Self, &'a str> {
        let rename = |term: &'a Requirement| {
            let field = name(&term.field).ok_or(term.field.as_str())?.to_owned();
            Ok::<_, &'a str>(Requirement { field, ..term.clone() })
        };
        Ok(Self(self.0.iter().map(rename).collect::<Result<_, _>>()?))
    }

    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let terms = split_terms(text);
        let terms = terms.iter().filter(|term| !term.is_empty());
        Ok(Self(terms.map(|term| parse_term(text, term)).collect::<Result<_, _>>()?))
    }

    /// Whether all terms hold, given the values of the fields.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        let holds = |term: &Requirement| (value(&term.field).unwrap_or_default() == term.value) == term.equal;
        self.0.iter().all(holds)
    }

    /// The value that the field must have exactly, if there is one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let term = self.0.iter().find(|term| term.equal && term.field == field)?;
        Some(&term.value)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let sign = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{sign}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Escapes what has a meaning in a field selector.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' {
            terms.push(&text[start..at]);
            start = at + 1;
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(selector: &str, term: &str) -> Result<Requirement, ParseError> {
    let unknown = || ParseError::Term { selector: selector.into(), term: term.into() };
    let (field, equal, value) = split_term(term).ok_or_else(unknown)?;
    Ok(Requirement { field: field.into(), equal, value: unescape(value)? })
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(sign) {
                return Some((&term[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut out = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(ParseError::Escape(format!("\\{c}"))),
                None => return Err(ParseError::Escape("\\".into())),
            },
            ',' | '=' => return Err(ParseError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_all_terms() {
        let selector = Selector::parse("metadata.name=a\\,b,status.phase!=Failed").unwrap();
        let value = |field: &str| match field {
            "metadata.name" => Some("a,b"),
            _ => None,
        };
        assert!(selector.matches(value));
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert_eq!(selector.to_string(), "metadata.name=a\\,b,status.phase!=Failed");
    }

    #[test]
    fn explains_a_term_without_a_sign() {
        let error = Selector::parse("metadata.name").unwrap_err();
        assert_eq!(error.to_string(), "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
    }
}
