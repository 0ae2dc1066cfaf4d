//! From tokens to a tree.

mod pipeline;

use std::collections::BTreeMap;

use super::lex::{Keyword, Kind, Lexer, Token};
use super::tree::{Branch, List, Node};
use super::{NAME, constant, go_quoted};

/// Deeper templates than anybody writes.
const DEPTH_MAX: usize = 5_000;

/// Templates by name; the one that is executed is called as kubectl calls it.
pub type Templates = BTreeMap<String, List>;

type Parsed<T> = Result<T, String>;

/// What ended a list.
enum Ending {
    End,
    Else,
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The newest token, and those that were taken back, in front of it.
    tokens: [Token; 3],
    peeked: usize,
    variables: Vec<String>,
    templates: Templates,
    range_depth: usize,
    depth: usize,
    /// Where the action began, while one is parsed.
    action_line: Option<usize>,
}

pub fn parse(text: &str) -> Parsed<Templates> {
    let none = Token { kind: Kind::End, position: 0, line: 0, text: String::new() };
    let mut parser = Parser {
        lexer: Lexer::new(text),
        tokens: [none.clone(), none.clone(), none],
        peeked: 0,
        variables: vec!["$".into()],
        templates: Templates::new(),
        range_depth: 0,
        depth: 0,
        action_line: None,
    };
    let list = parser.top()?;
    parser.add(NAME.to_owned(), list)?;
    Ok(parser.templates)
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        match self.peeked.checked_sub(1) {
            Some(left) => self.peeked = left,
            None => self.tokens[0] = self.lexer.token(),
        }
        self.tokens[self.peeked].clone()
    }

    fn backup(&mut self) {
        self.peeked += 1;
    }

    fn backup_two(&mut self, first: Token) {
        self.tokens[1] = first;
        self.peeked = 2;
    }

    fn backup_three(&mut self, first: Token, second: Token) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.peeked = 3;
    }

    fn peek(&mut self) -> Token {
        let token = self.next();
        self.backup();
        token
    }

    fn next_word(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_word(&mut self) -> Token {
        let token = self.next_word();
        self.backup();
        token
    }

    fn error<T>(&self, why: impl std::fmt::Display) -> Parsed<T> {
        Err(format!("template: {NAME}:{}: {why}", self.tokens[0].line))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != Kind::Error {
            return self.error(format_args!("unexpected {token} in {context}"));
        }
        let begun = match self.action_line.filter(|line| *line != token.line) {
            Some(line) if token.text.ends_with(" action") => format!(" started at {NAME}:{line}"),
            Some(line) => format!(" in action started at {NAME}:{line}"),
            None => String::new(),
        };
        self.error(format_args!("{token}{begun}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    /// One level down, unless that is too deep.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return self.error("too many nested actions");
        }
        self.depth += 1;
        let parsed = stacker::maybe_grow(64 << 10, 1 << 20, || parse(self));
        self.depth -= 1;
        parsed
    }

    fn top(&mut self) -> Parsed<List> {
        let mut list = List::new();
        loop {
            let token = self.peek();
            match token.kind {
                Kind::End => return Ok(list),
                Kind::LeftDelimiter => {
                    let delimiter = self.next();
                    if self.next_word().kind == Kind::Keyword(Keyword::Define) {
                        self.definition()?;
                        continue;
                    }
                    self.backup_two(delimiter);
                }
                _ => {}
            }
            match self.text_or_action()? {
                Ok(node) => list.push(node),
                Err(ending) => return self.error(format_args!("unexpected {}", ending.text())),
            }
        }
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelimiter, CONTEXT)?;
        let list = self.own_list(CONTEXT)?;
        self.add(name, list)
    }

    /// The list of a template, which knows no variables but its own.
    fn own_list(&mut self, context: &str) -> Parsed<List> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (list, ending) = self.list()?;
        if let Ending::Else = ending {
            return self.error(format_args!("unexpected {} in {context}", ending.text()));
        }
        (self.variables, self.range_depth) = (variables, range_depth);
        Ok(list)
    }

    /// A template that says nothing makes way for another, and not the other way about.
    fn add(&mut self, name: String, list: List) -> Parsed<()> {
        match self.templates.get(&name) {
            Some(known) if !is_empty(known) => {
                if is_empty(&list) {
                    return Ok(());
                }
                self.error(format_args!("template: multiple definition of template {}", go_quoted(&name)))
            }
            _ => {
                self.templates.insert(name, list);
                Ok(())
            }
        }
    }

    fn list(&mut self) -> Parsed<(List, Ending)> {
        let mut list = List::new();
        while self.peek_word().kind != Kind::End {
            match self.text_or_action()? {
                Ok(node) => list.push(node),
                Err(ending) => return Ok((list, ending)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Result<Node, Ending>> {
        let token = self.next_word();
        match token.kind {
            Kind::Text => Ok(Ok(Node::Text { position: token.position, text: token.text })),
            Kind::LeftDelimiter => {
                self.action_line = Some(token.line);
                let action = self.deeper(Self::action);
                if action.is_ok() {
                    self.action_line = None;
                }
                action
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Result<Node, Ending>> {
        let token = self.next_word();
        let Kind::Keyword(keyword) = token.kind else { return self.plain_action() };
        Ok(Ok(match keyword {
            Keyword::Block => self.block()?,
            Keyword::Break => self.leave_range(Node::Break)?,
            Keyword::Continue => self.leave_range(Node::Continue)?,
            Keyword::Else => return self.otherwise().map(Err),
            Keyword::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Err(Ending::End));
            }
            Keyword::If => Node::If(self.control("if")?),
            Keyword::Range => Node::Range(self.control("range")?),
            Keyword::With => Node::With(self.control("with")?),
            Keyword::Template => self.template()?,
            Keyword::Dot | Keyword::Nil | Keyword::Define => return self.plain_action(),
        }))
    }

    fn plain_action(&mut self) -> Parsed<Result<Node, Ending>> {
        self.backup();
        Ok(Ok(Node::Action(self.pipeline("command", Kind::RightDelimiter)?)))
    }

    fn leave_range(&mut self, node: Node) -> Parsed<Node> {
        let token = self.next_word();
        if token.kind != Kind::RightDelimiter {
            return self.unexpected(&token, &node.to_string());
        }
        if self.range_depth == 0 { self.error(format_args!("{node} outside {{{{range}}}}")) } else { Ok(node) }
    }

    /// An `if` or `with` behind it is left where it is.
    fn otherwise(&mut self) -> Parsed<Ending> {
        if !matches!(self.peek_word().kind, Kind::Keyword(Keyword::If | Keyword::With)) {
            self.expect(Kind::RightDelimiter, "else")?;
        }
        Ok(Ending::Else)
    }

    fn control(&mut self, context: &'static str) -> Parsed<Branch> {
        let variables = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let in_range = usize::from(context == "range");
        self.range_depth += in_range;
        let (list, ending) = self.list()?;
        self.range_depth -= in_range;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.otherwise_list(context)?),
        };
        self.variables.truncate(variables);
        Ok(Branch { pipe, list, otherwise })
    }

    /// `else if` and `else with` need no end of their own.
    fn otherwise_list(&mut self, context: &str) -> Parsed<List> {
        match (context, self.peek().kind) {
            ("if", Kind::Keyword(Keyword::If)) => {
                self.next();
                Ok(vec![Node::If(self.deeper(|parser| parser.control("if"))?)])
            }
            ("with", Kind::Keyword(Keyword::With)) => {
                self.next();
                Ok(vec![Node::With(self.deeper(|parser| parser.control("with"))?)])
            }
            _ => match self.list()? {
                (list, Ending::End) => Ok(list),
                (_, ending) => self.error(format_args!("expected end; found {}", ending.text())),
            },
        }
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        let list = self.own_list(CONTEXT)?;
        self.add(name.clone(), list)?;
        Ok(Node::Template { position: token.position, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_word().kind != Kind::RightDelimiter {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?);
        }
        Ok(Node::Template { position: token.position, name, pipe })
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        match token.kind {
            Kind::Quoted | Kind::RawText => match constant::unquote(&token.text) {
                Ok(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
                Err(why) => self.error(why),
            },
            _ => self.unexpected(token, context),
        }
    }
}

impl Ending {
    fn text(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

fn is_empty(list: &List) -> bool {
    list.iter().all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
}
