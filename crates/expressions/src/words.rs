//! Words that are no names.

/// What the language itself means something by.
const MEANING: [&str; 4] = ["true", "false", "null", "in"];

/// What no variable and no function may be called.
const KEPT: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether it reads as a name, and may not be one.
pub(crate) fn is_kept(word: &str) -> bool {
    KEPT.contains(&word)
}

pub(crate) fn is_reserved(word: &str) -> bool {
    MEANING.contains(&word) || is_kept(word)
}

/// Whether a name can stand in an expression.
pub fn is_identifier(name: &str) -> bool {
    let start = name.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    start && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) && !is_reserved(name)
}
