//! Why an expression does not compile, and why an evaluation has no value.

use std::fmt;

use crate::types::Type;

/// One problem of an expression, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// In characters from the start of the expression.
    pub(crate) at: usize,
    pub message: String,
}

/// Why an expression does not compile.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// The rendered issues. `Display` is upstream's `ERROR: <input>:1:6: ...` text; consumers put `compilation failed: ` before it.
    #[error("{text}")]
    Invalid { text: String, issues: Vec<Issue> },
    /// It compiles, but to another type.
    #[error("must evaluate to {expected}")]
    ResultType { expected: Type, found: Type },
}

impl CompileError {
    pub(crate) fn invalid(source: &str, issues: Vec<Issue>) -> Self {
        let text = issues.iter().map(|issue| render(source, issue)).collect::<Vec<_>>().join("\n");
        Self::Invalid { text, issues }
    }
}

/// The longest line that is shown below a message.
const MAX_SNIPPET_BYTES: usize = 16384;

fn render(source: &str, issue: &Issue) -> String {
    let (line, column, snippet) = locate(source, issue.at);
    let mut text = format!("ERROR: <input>:{line}:{}: {}", column + 1, issue.message);
    if snippet.len() <= MAX_SNIPPET_BYTES {
        let snippet = snippet.replace('\t', " ");
        let mark = |c: char, narrow: char, wide: char| if c.len_utf8() > 1 { wide } else { narrow };
        text.push_str(&format!("\n | {snippet}\n | "));
        text.extend(snippet.chars().take(column).map(|c| mark(c, '.', '．')));
        text.push(snippet.chars().nth(column).map_or('^', |c| mark(c, '^', '＾')));
    }
    text
}

fn locate(source: &str, at: usize) -> (usize, usize, &str) {
    let mut start = 0;
    let mut last = (1, at, "");
    for (number, line) in source.split('\n').enumerate() {
        let length = line.chars().count();
        last = (number + 1, at.saturating_sub(start).min(length), line);
        if at <= start + length {
            return last;
        }
        start += length + 1;
    }
    last
}

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such attribute(s): {0}")]
    NoSuchAttribute(String),
    #[error("no such overload")]
    NoSuchOverload,
    #[error("index out of bounds: {0}")]
    IndexOutOfBounds(i64),
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulus by zero")]
    ModulusByZero,
    #[error("integer overflow")]
    IntegerOverflow,
    #[error("unsigned integer overflow")]
    UnsignedOverflow,
    #[error("timestamp overflow")]
    TimestampOverflow,
    #[error("duration overflow")]
    DurationOverflow,
    #[error("{0}")]
    Message(String),
    /// This call cost more than one call may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CallCost,
    /// This call needed more than what the budget had left.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

impl EvalError {
    pub(crate) fn message(text: impl fmt::Display) -> Self {
        Self::Message(text.to_string())
    }

    /// Whether the limits ended the evaluation. No operator absorbs such an error.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::CallCost | Self::OutOfBudget)
    }
}
