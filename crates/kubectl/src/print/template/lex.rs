//! From text to tokens: the text between actions, and what stands in them.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawText,
    RightDelimiter,
    RightParenthesis,
    Space,
    Quoted,
    Text,
    Variable,
    Keyword(Keyword),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Dot,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

const KEYWORDS: &[(&str, Keyword)] = &[
    ("block", Keyword::Block),
    ("break", Keyword::Break),
    ("continue", Keyword::Continue),
    ("define", Keyword::Define),
    ("else", Keyword::Else),
    ("end", Keyword::End),
    ("if", Keyword::If),
    ("nil", Keyword::Nil),
    ("range", Keyword::Range),
    ("template", Keyword::Template),
    ("with", Keyword::With),
];

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub position: usize,
    pub line: usize,
    /// As written; of an error, what is wrong.
    pub text: String,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::End => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            Kind::Keyword(_) => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let short: String = self.text.chars().take(10).collect();
                write!(f, "{}...", super::go_quoted(&short))
            }
            _ => f.write_str(&super::go_quoted(&self.text)),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";

pub struct Lexer<'t> {
    text: &'t str,
    start: usize,
    at: usize,
    parentheses: usize,
    in_action: bool,
    failed: bool,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, start: 0, at: 0, parentheses: 0, in_action: false, failed: false }
    }

    /// The next token; after the last one, and after an error, always the end.
    pub fn token(&mut self) -> Token {
        if self.failed {
            self.start = self.text.len();
            self.at = self.start;
            return self.emit(Kind::End);
        }
        if self.in_action { self.inside() } else { self.outside() }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn emit(&mut self, kind: Kind) -> Token {
        let token = self.token_of(kind, self.text[self.start..self.at].to_owned());
        self.start = self.at;
        token
    }

    fn token_of(&self, kind: Kind, text: String) -> Token {
        let line = 1 + self.text[..self.start].matches('\n').count();
        Token { kind, position: self.start, line, text }
    }

    fn error(&mut self, why: impl Into<String>) -> Token {
        self.failed = true;
        self.token_of(Kind::Error, why.into())
    }

    /// Text up to an action or the end.
    fn outside(&mut self) -> Token {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                self.at = self.text.len();
                return self.emit(if self.at > self.start { Kind::Text } else { Kind::End });
            };
            if length > 0 {
                let text = &self.rest()[..length];
                let trims = has_left_marker(&self.rest()[length + LEFT.len()..]);
                let kept = if trims { text.trim_end_matches(is_space).len() } else { length };
                self.at += kept;
                let token = self.emit(Kind::Text);
                self.at += length - kept;
                self.start = self.at;
                if !token.text.is_empty() {
                    return token;
                }
            }
            if let Some(token) = self.left() {
                return token;
            }
        }
    }

    /// What opens an action; of a comment, which is passed over, nothing.
    fn left(&mut self) -> Option<Token> {
        self.at += LEFT.len();
        let marker = if has_left_marker(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.at += marker;
            self.start = self.at;
            return self.comment();
        }
        let token = self.emit(Kind::LeftDelimiter);
        self.at += marker;
        self.start = self.at;
        self.in_action = true;
        self.parentheses = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token> {
        let Some(end) = self.rest()[2..].find("*/") else { return Some(self.error("unclosed comment")) };
        self.at += end + 4;
        let Some(trims) = self.at_right() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.pass_right(trims);
        None
    }

    /// Whether an action ends here, and whether that trims the text behind.
    fn at_right(&self) -> Option<bool> {
        if has_right_marker(self.rest()) && self.rest()[2..].starts_with(RIGHT) {
            return Some(true);
        }
        self.rest().starts_with(RIGHT).then_some(false)
    }

    fn pass_right(&mut self, trims: bool) {
        self.at += if trims { 2 + RIGHT.len() } else { RIGHT.len() };
        if trims {
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
        }
        self.start = self.at;
    }

    fn right(&mut self, trims: bool) -> Token {
        if trims {
            self.at += 2;
            self.start = self.at;
        }
        self.at += RIGHT.len();
        let token = self.emit(Kind::RightDelimiter);
        if trims {
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            self.start = self.at;
        }
        self.in_action = false;
        token
    }

    fn inside(&mut self) -> Token {
        if let Some(trims) = self.at_right() {
            return if self.parentheses == 0 { self.right(trims) } else { self.error("unclosed left paren") };
        }
        let Some(next) = self.next() else { return self.error("unclosed action") };
        match next {
            next if is_space(next) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' if self.next() == Some('=') => self.emit(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' => self.name(Kind::Variable),
            '.' if self.peek().is_some_and(|next| !next.is_ascii_digit()) => self.name(Kind::Field),
            '.' | '+' | '-' | '0'..='9' => self.number(),
            next if is_alphanumeric(next) => self.identifier(),
            '(' => {
                self.parentheses += 1;
                self.emit(Kind::LeftParenthesis)
            }
            ')' if self.parentheses == 0 => self.error("unexpected right paren"),
            ')' => {
                self.parentheses -= 1;
                self.emit(Kind::RightParenthesis)
            }
            ' '..='~' => self.emit(Kind::Char),
            other => self.error(format!("unrecognized character in action: {}", code_point(other))),
        }
    }

    /// A run of spaces; one before a trimming end belongs to the end.
    fn space(&mut self) -> Token {
        while self.peek().is_some_and(is_space) {
            self.next();
        }
        let before = self.at - 1;
        if has_right_marker(&self.text[before..]) && self.text[before + 2..].starts_with(RIGHT) {
            self.at = before;
            if self.start == before {
                return self.right(true);
            }
        }
        self.emit(Kind::Space)
    }

    fn identifier(&mut self) -> Token {
        self.pass_alphanumeric();
        if let Some(error) = self.unterminated() {
            return error;
        }
        let word = &self.text[self.start..self.at];
        let keyword = KEYWORDS.iter().find(|(text, _)| *text == word);
        self.emit(match (word, keyword) {
            (_, Some((_, keyword))) => Kind::Keyword(*keyword),
            ("true" | "false", None) => Kind::Bool,
            _ => Kind::Identifier,
        })
    }

    /// `.name` or `$name`, or the mark alone.
    fn name(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            return self.emit(if kind == Kind::Field { Kind::Keyword(Keyword::Dot) } else { kind });
        }
        self.pass_alphanumeric();
        self.unterminated().unwrap_or_else(|| self.emit(kind))
    }

    fn pass_alphanumeric(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
    }

    fn at_terminator(&self) -> bool {
        self.rest().starts_with(RIGHT) || self.peek().is_none_or(|next| is_space(next) || ".,|:)(".contains(next))
    }

    fn unterminated(&mut self) -> Option<Token> {
        if self.at_terminator() {
            return None;
        }
        let next = self.peek().map_or_else(String::new, code_point);
        Some(self.error(format!("bad character {next}")))
    }

    fn quoted(&mut self, end: char, kind: Kind, unterminated: &str) -> Token {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|next| next != '\n') => drop(self.next()),
                None | Some('\n' | '\\') => return self.error(unterminated),
                Some(next) if next == end => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Token {
        match self.rest().find('`') {
            Some(end) => {
                self.at += end + 1;
                self.emit(Kind::RawText)
            }
            None => self.error("unterminated raw quoted string"),
        }
    }

    /// Whatever might be a number; the parser looks closer.
    fn number(&mut self) -> Token {
        self.at = self.start;
        self.accept(|next| "+-".contains(next));
        let (mut digits, mut exponent): (fn(char) -> bool, &str) = (|next| next.is_ascii_digit() || next == '_', "eE");
        if self.accept(|next| next == '0') {
            if self.accept(|next| "xX".contains(next)) {
                (digits, exponent) = (|next: char| next.is_ascii_hexdigit() || next == '_', "pP");
            } else if self.accept(|next| "oObB".contains(next)) {
                exponent = "";
            }
        }
        self.accept_all(digits);
        if self.accept(|next| next == '.') {
            self.accept_all(digits);
        }
        if self.accept(|next| exponent.contains(next)) {
            self.accept(|next| "+-".contains(next));
            self.accept_all(|next| next.is_ascii_digit() || next == '_');
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            let number = super::go_quoted(&self.text[self.start..self.at]);
            return self.error(format!("bad number syntax: {number}"));
        }
        self.emit(Kind::Number)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let accepted = self.peek().is_some_and(wanted);
        if accepted {
            self.next();
        }
        accepted
    }

    fn accept_all(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn has_left_marker(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn has_right_marker(text: &str) -> bool {
    text.strip_prefix(is_space).is_some_and(|rest| rest.starts_with('-'))
}

/// `%#U`.
pub fn code_point(character: char) -> String {
    let number = u32::from(character);
    if character.is_control() { format!("U+{number:04X}") } else { format!("U+{number:04X} '{character}'") }
}
