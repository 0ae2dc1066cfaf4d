//! Paths like `.spec.name` and `.metadata['a.b']`, in the dialect of rules and selectable fields.

use crate::structural::Structural;

/// A path that leads somewhere, as field paths are printed, and what lies there.
#[derive(Debug)]
pub struct Found<'a> {
    pub path: String,
    pub schema: &'a Structural,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("array notation is not allowed")]
    ArrayNotation,
    #[error("unexpected end of JSON path")]
    End,
    #[error("expected single quoted string but got {0}")]
    NotQuoted(String),
    #[error("invalid string literal: invalid escape char {0}")]
    Escape(String),
    #[error("expected ] but got {0}")]
    NotClosed(String),
    #[error("expected [ or . but got: {0}")]
    Unexpected(String),
    #[error("does not refer to a valid field")]
    NoField,
}

pub fn resolve<'a>(path: &str, schema: &'a Structural, brackets: bool) -> Result<Found<'a>, Lost> {
    let mut found = Found { path: String::new(), schema };
    let mut tokens = tokens(path).into_iter();
    while let Some(token) = tokens.next() {
        match token {
            "." => found.step(tokens.next().ok_or(Lost::End)?)?,
            "[" if !brackets => return Err(Lost::ArrayNotation),
            "[" => {
                let token = tokens.next().ok_or(Lost::End)?;
                let quoted = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                found.step(&unescape(quoted.ok_or_else(|| Lost::NotQuoted(token.into()))?)?)?;
                match tokens.next().ok_or(Lost::End)? {
                    "]" => {}
                    other => return Err(Lost::NotClosed(other.into())),
                }
            }
            other => return Err(Lost::Unexpected(other.into())),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn step(&mut self, name: &str) -> Result<(), Lost> {
        if self.schema.properties.is_empty() {
            self.schema = self.schema.additional_schema().ok_or(Lost::NoField)?;
            self.path.push_str(&format!("[{name}]"));
            return Ok(());
        }
        self.schema = self.schema.property(name).ok_or(Lost::NoField)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.push_str(&format!("{dot}{name}"));
        Ok(())
    }
}

/// Delimiters, quoted texts, and what stands between them.
fn tokens(path: &str) -> Vec<&str> {
    let (mut all, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        let length = match rest.as_bytes()[0] {
            b'\'' => {
                let bytes = rest.as_bytes();
                (1..bytes.len())
                    .find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\')
                    .map_or(rest.len(), |at| at + 1)
            }
            b'.' | b'[' | b']' => 1,
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        all.push(token);
        rest = after;
    }
    all
}

fn unescape(text: &str) -> Result<String, Lost> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(c @ ('\'' | '\\')) => c,
            other => return Err(Lost::Escape(format!("\\{}", other.map(String::from).unwrap_or_default()))),
        });
    }
    Ok(out)
}
