//! From text to tokens.

use std::sync::Arc;

use crate::ast::Literal;
use crate::errors::Issue;

#[derive(Clone, Debug)]
pub struct Token {
    pub at: usize,
    pub kind: TokenKind,
    /// As written, for messages.
    pub text: String,
}

#[derive(Clone, Debug)]
pub enum TokenKind {
    Ident,
    Literal(Literal),
    /// A number without its sign may lie just beyond the range; the parser decides.
    Int {
        digits: String,
        hex: bool,
    },
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%",
    "<", ">", "in",
];

pub fn tokens(source: &str) -> Result<Vec<Token>, Issue> {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        if start >= chars.len() {
            tokens.push(Token { at: start, kind: TokenKind::End, text: "<EOF>".into() });
            return Ok(tokens);
        }
        let kind = lexer.token()?;
        tokens.push(Token { at: start, kind, text: chars[start..lexer.at].iter().collect() });
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

fn issue(at: usize, message: impl Into<String>) -> Issue {
    Issue { at, message: message.into() }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip_blank(&mut self) {
        loop {
            if matches!(self.peek(0), ' ' | '\t' | '\r' | '\n' | '\u{c}') {
                self.at += 1;
            } else if self.peek(0) == '/' && self.peek(1) == '/' {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, Issue> {
        if let Some(prefix) = self.string_prefix() {
            return self.string(prefix);
        }
        let first = self.peek(0);
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(self.word());
        }
        self.symbol()
    }

    fn symbol(&mut self) -> Result<TokenKind, Issue> {
        let matches = |symbol: &&&str| symbol.chars().enumerate().all(|(index, c)| self.peek(index) == c);
        match SYMBOLS.iter().find(matches) {
            Some(symbol) => {
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
            None => Err(issue(self.at, format!("Syntax error: token recognition error at: '{}'", self.peek(0)))),
        }
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match word.as_str() {
            "true" => TokenKind::Literal(Literal::Bool(true)),
            "false" => TokenKind::Literal(Literal::Bool(false)),
            "null" => TokenKind::Literal(Literal::Null),
            "in" => TokenKind::Symbol("in"),
            _ => TokenKind::Ident,
        }
    }

    fn digits(&mut self, accept: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while accept(self.peek(0)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn number(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        if self.peek(0) == '0' && matches!(self.peek(1), 'x' | 'X') && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            let digits = self.digits(|c| c.is_ascii_hexdigit());
            return self.whole(start, digits, true);
        }
        let digits = self.digits(|c| c.is_ascii_digit());
        let fraction = self.peek(0) == '.' && self.peek(1).is_ascii_digit();
        if fraction {
            self.at += 1;
            self.digits(|c| c.is_ascii_digit());
        }
        if self.exponent() || fraction {
            let text: String = self.chars[start..self.at].iter().collect();
            let value: f64 = text.parse().map_err(|_| issue(start, "invalid double literal"))?;
            return Ok(TokenKind::Literal(Literal::Double(value)));
        }
        self.whole(start, digits, false)
    }

    fn exponent(&mut self) -> bool {
        let signed = usize::from(matches!(self.peek(1), '+' | '-'));
        let found = matches!(self.peek(0), 'e' | 'E') && self.peek(1 + signed).is_ascii_digit();
        if found {
            self.at += 1 + signed;
            self.digits(|c| c.is_ascii_digit());
        }
        found
    }

    fn whole(&mut self, start: usize, digits: String, hex: bool) -> Result<TokenKind, Issue> {
        if !matches!(self.peek(0), 'u' | 'U') {
            return Ok(TokenKind::Int { digits, hex });
        }
        self.at += 1;
        let value = u64::from_str_radix(&digits, if hex { 16 } else { 10 });
        value.map(|value| TokenKind::Literal(Literal::Uint(value))).map_err(|_| issue(start, "invalid uint literal"))
    }

    /// Looks for the start of a string: quotes, with `r` and `b` before it in any order.
    fn string_prefix(&self) -> Option<Prefix> {
        let mut prefix = Prefix { length: 0, raw: false, bytes: false };
        loop {
            match self.peek(prefix.length) {
                'r' | 'R' if !prefix.raw => prefix.raw = true,
                'b' | 'B' if !prefix.bytes => prefix.bytes = true,
                '"' | '\'' => return Some(prefix),
                _ => return None,
            }
            prefix.length += 1;
        }
    }

    fn string(&mut self, prefix: Prefix) -> Result<TokenKind, Issue> {
        let start = self.at;
        self.at += prefix.length;
        let quote = self.peek(0);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        let width = if triple { 3 } else { 1 };
        self.at += width;
        let mut out = Vec::new();
        loop {
            let c = self.peek(0);
            if self.at >= self.chars.len() || (!triple && matches!(c, '\n' | '\r')) {
                let text: String = self.chars[start..self.at].iter().collect();
                return Err(issue(start, format!("Syntax error: token recognition error at: '{text}'")));
            }
            if (0..width).all(|index| self.peek(index) == quote) {
                self.at += width;
                break;
            }
            if c == '\\' && !prefix.raw {
                self.escape(&mut out, prefix.bytes)?;
            } else {
                if c == '\\' {
                    push(&mut out, c);
                    self.at += 1;
                }
                if let Some(c) = self.chars.get(self.at) {
                    push(&mut out, *c);
                    self.at += 1;
                }
            }
        }
        finish(out, prefix.bytes, start)
    }

    fn escape(&mut self, out: &mut Vec<u8>, bytes: bool) -> Result<(), Issue> {
        let start = self.at;
        let c = self.peek(1);
        self.at += 2;
        let simple = match c {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Some(c),
            _ => None,
        };
        if let Some(c) = simple {
            push(out, c);
            return Ok(());
        }
        let invalid = || issue(start, "unable to unescape string");
        let (digits, radix) = match c {
            'x' | 'X' => (2, 16),
            'u' if !bytes => (4, 16),
            'U' if !bytes => (8, 16),
            '0'..='3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => return Err(invalid()),
        };
        let text: String = (0..digits).map(|index| self.peek(index)).collect();
        self.at += digits;
        let code = u32::from_str_radix(&text, radix).map_err(|_| invalid())?;
        match u8::try_from(code) {
            Ok(byte) if bytes => out.push(byte),
            _ => push(out, char::from_u32(code).ok_or_else(invalid)?),
        }
        Ok(())
    }
}

struct Prefix {
    length: usize,
    raw: bool,
    bytes: bool,
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn finish(out: Vec<u8>, bytes: bool, start: usize) -> Result<TokenKind, Issue> {
    if bytes {
        return Ok(TokenKind::Literal(Literal::Bytes(out.into())));
    }
    let text = String::from_utf8(out).map_err(|_| issue(start, "invalid string literal"))?;
    Ok(TokenKind::Literal(Literal::String(Arc::from(text))))
}
