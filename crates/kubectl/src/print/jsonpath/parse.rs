//! From text to nodes.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::print::code_point;

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Steps that are taken one after the other.
    List(Vec<Node>),
    /// Stands for itself.
    Literal(Value),
    Field(String),
    Wildcard,
    Recursive,
    Slice(Slice),
    Union(Vec<Vec<Node>>),
    Filter {
        left: Vec<Node>,
        operator: String,
        right: Vec<Node>,
    },
    /// For each of what the steps find, the body.
    Range {
        steps: Vec<Node>,
        body: Vec<Node>,
    },
    /// An `end` that ends nothing.
    StrayEnd,
    Identifier(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Only `from` was given.
    pub one: bool,
    pub step: Option<i64>,
}

/// A whole template: text, and actions in braces.
pub fn template(text: &str) -> Result<Vec<Node>, String> {
    let mut flat = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            flat.push(Node::Literal(rest[..open].into()));
        }
        let mut parser = Parser { rest: &rest[open + 1..] };
        flat.push(Node::List(parser.steps(true)?));
        rest = parser.rest;
    }
    if !rest.is_empty() {
        flat.push(Node::Literal(rest.into()));
    }
    Ok(nest(&mut flat.into_iter(), false).0)
}

/// Puts what stands between `range` and `end` into the range. Whether the end came.
fn nest(nodes: &mut impl Iterator<Item = Node>, inside: bool) -> (Vec<Node>, bool) {
    let mut block = Vec::new();
    while let Some(node) = nodes.next() {
        match node {
            Node::List(mut steps) if is(&steps, "range") => {
                steps.remove(0);
                let (body, ended) = nest(nodes, true);
                // Behind a range that does not end, what stands in it is there once more, up to a range that does.
                let first = body.iter().rposition(|node| matches!(node, Node::Range { .. })).map_or(0, |at| at + 1);
                let again = if ended { Vec::new() } else { body[first..].to_vec() };
                block.push(Node::Range { steps, body });
                block.extend(again);
            }
            Node::List(steps) if is(&steps, "end") && inside => return (block, true),
            Node::List(steps) if is(&steps, "end") => block.push(Node::StrayEnd),
            node => block.push(node),
        }
    }
    (block, false)
}

fn is(steps: &[Node], word: &str) -> bool {
    matches!(steps.first(), Some(Node::Identifier(name)) if name == word)
}

struct Parser<'a> {
    rest: &'a str,
}

/// Steps that are not in braces of their own.
fn expression(text: &str) -> Result<Vec<Node>, String> {
    Parser { rest: text }.steps(false)
}

impl<'a> Parser<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// `braced`: up to the closing brace, which must come.
    fn steps(&mut self, braced: bool) -> Result<Vec<Node>, String> {
        let mut steps = Vec::new();
        loop {
            let Some(next) = self.rest.chars().next() else {
                return if braced { Err("unclosed action".into()) } else { Ok(steps) };
            };
            match next {
                '}' if braced => {
                    self.take(1);
                    return Ok(steps);
                }
                ' ' | '@' | '$' => drop(self.take(1)),
                '\n' | '\r' => return Err("unclosed action".into()),
                '[' if self.rest.starts_with("[?(") => steps.push(self.filter()?),
                '[' => self.array(&mut steps)?,
                '"' | '\'' => steps.push(self.quote(next)?),
                '.' => self.field(&mut steps)?,
                '0'..='9' | '+' | '-' => steps.push(self.number()?),
                _ if next.is_alphanumeric() || next == '_' => steps.push(self.identifier()),
                _ => return Err(format!("unrecognized character in action: {}", code_point(next))),
            }
        }
    }

    fn field(&mut self, steps: &mut Vec<Node>) -> Result<(), String> {
        self.take(1);
        if self.rest.starts_with('.') {
            self.take(1);
            if steps.last() == Some(&Node::Recursive) {
                return Err("invalid multiple recursive descent".into());
            }
            steps.push(Node::Recursive);
            if !self.rest.starts_with(|next: char| next.is_alphanumeric() || next == '_') {
                return Ok(());
            }
        }
        let name = self.word();
        steps.push(if name == "*" { Node::Wildcard } else { Node::Field(name.replace('\\', "")) });
        Ok(())
    }

    /// Up to the next character that ends a name and is not escaped.
    fn word(&mut self) -> &'a str {
        let mut escaped = false;
        let end = self.rest.char_indices().find(|(_, next)| {
            let ends = !escaped && is_terminator(*next);
            escaped = !escaped && *next == '\\';
            ends
        });
        self.take(end.map_or(self.rest.len(), |(at, _)| at))
    }

    fn identifier(&mut self) -> Node {
        let end = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        match self.take(end) {
            "true" => Node::Literal(true.into()),
            "false" => Node::Literal(false.into()),
            name => Node::Identifier(name.to_owned()),
        }
    }

    fn number(&mut self) -> Result<Node, String> {
        let end = self
            .rest
            .char_indices()
            .find(|(at, next)| !(next.is_ascii_digit() || *next == '.' || (*at == 0 && matches!(next, '+' | '-'))));
        let text = self.take(end.map_or(self.rest.len(), |(at, _)| at));
        let plain = text.trim_start_matches('+');
        let whole = plain.parse::<i64>().map(Value::from);
        let number = whole.or_else(|_| plain.parse::<f64>().map(Value::from));
        number.map(Node::Literal).map_err(|_| format!("cannot parse number {text}"))
    }

    fn quote(&mut self, quote: char) -> Result<Node, String> {
        let end = closing(&self.rest[1..], quote).ok_or("unterminated quoted string")?;
        let quoted = self.take(end + 2);
        match unescape(&quoted[1..=end]) {
            Ok(text) => Ok(Node::Literal(text.into())),
            Err(why) => Err(format!("unquote string {quoted} error {why}")),
        }
    }

    fn array(&mut self, steps: &mut Vec<Node>) -> Result<(), String> {
        let end = self.rest.find([']', '\n']).filter(|at| self.rest[*at..].starts_with(']'));
        let end = end.ok_or("unterminated array")?;
        let text = &self.take(end + 1)[1..end];
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > 1 {
            let member = |part: &&str| expression(&format!("[{}]", part.trim_matches(' ')));
            steps.push(Node::Union(parts.iter().map(member).collect::<Result<_, _>>()?));
        } else if let Some(key) = text.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')) {
            steps.extend(expression(&format!(".{key}"))?);
        } else {
            steps.push(Node::Slice(slice(if text == "*" { ":" } else { text })?));
        }
        Ok(())
    }

    fn filter(&mut self) -> Result<Node, String> {
        static COMPARISON: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^([^!<>=]+)([!<>=]+)(.+?)$").expect("a fixed expression"));
        self.take("[?(".len());
        let end = filter_end(self.rest).ok_or("unterminated filter")?;
        let text = self.take(end);
        self.take(1);
        if !self.rest.starts_with(']') {
            return Err("unclosed array expect ]".into());
        }
        self.take(1);
        match COMPARISON.captures(text) {
            Some(parts) => Ok(Node::Filter {
                left: expression(&parts[1])?,
                operator: parts[2].to_owned(),
                right: expression(&parts[3])?,
            }),
            None => Ok(Node::Filter { left: expression(text)?, operator: "exists".into(), right: Vec::new() }),
        }
    }
}

/// Where the parenthesis closes; quotes appear once at most, and hide it.
fn filter_end(text: &str) -> Option<usize> {
    let (mut pair, mut closed, mut previous) = (None, false, '\0');
    for (at, next) in text.char_indices() {
        match next {
            '\n' => return None,
            '"' | '\'' if pair.is_none() => pair = Some(next),
            '"' | '\'' if previous != '\\' && pair == Some(next) => closed = true,
            ')' if pair.is_some() == closed => return Some(at),
            _ => {}
        }
        previous = next;
    }
    None
}

/// What cannot stand in a name.
fn is_terminator(character: char) -> bool {
    " \t\r\n.,[]$@{}".contains(character)
}

/// Where a quote ends.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, next)| {
        let ends = next == quote && !escaped;
        escaped = next == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(next) = characters.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        plain.push(match characters.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('v') => '\u{b}',
            Some(same @ ('\\' | '"' | '\'')) => same,
            Some('x') => code(&mut characters, 2)?,
            Some('u') => code(&mut characters, 4)?,
            _ => return Err("invalid syntax".into()),
        });
    }
    Ok(plain)
}

fn code(characters: &mut std::str::Chars<'_>, digits: usize) -> Result<char, String> {
    let text: String = characters.by_ref().take(digits).collect();
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).ok_or_else(|| "invalid syntax".into())
}

fn slice(text: &str) -> Result<Slice, String> {
    static SLICE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(-?\d*)(:-?\d*)?(:-?\d*)?$").expect("a fixed expression"));
    let parts = SLICE.captures(text).ok_or_else(|| format!("invalid array index {text}"))?;
    let number = |index: usize| -> Result<Option<i64>, String> {
        let part = parts.get(index).map_or("", |part| part.as_str()).trim_start_matches(':');
        if part.is_empty() {
            return Ok(None);
        }
        part.parse().map(Some).map_err(|_| format!("array index {part} is not a number"))
    };
    let (from, one) = (number(1)?, parts.get(2).is_none());
    let to = if one { Some(from.unwrap_or(0) + 1) } else { number(2)? };
    Ok(Slice { from, to, one, step: number(3)? })
}
