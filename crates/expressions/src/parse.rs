//! From tokens to the tree: precedence climbing, with the depth of the tree and its number of nodes limited.

use crate::ast::{Entry, Expr, FieldInit, Item, Kind, Literal};
use crate::errors::Issue;
use crate::lex::{self, Token, TokenKind};
use crate::limits::{MAX_DEPTH, MAX_EXPRESSION_CHARS};
use crate::words::is_kept;

mod macros;

/// A tree, and how many numbers its nodes use.
pub struct Parsed {
    pub root: Expr,
    pub nodes: usize,
}

/// Macros may copy parts of the tree; this many nodes are enough for every honest expression.
const MAX_NODES: usize = 200_000;

pub fn parse(source: &str, bind: bool) -> Result<Parsed, Vec<Issue>> {
    if source.chars().count() > MAX_EXPRESSION_CHARS {
        let message = format!(
            "expression code point size exceeds limit: size: {}, limit {MAX_EXPRESSION_CHARS}",
            source.chars().count()
        );
        return Err(vec![Issue { at: 0, message }]);
    }
    let tokens = lex::tokens(source).map_err(|issue| vec![issue])?;
    let mut parser = Parser { tokens, next: 0, nesting: 0, heights: Vec::new(), copied: 0, bind };
    let root = parser.whole().map_err(|issue| vec![issue])?;
    Ok(Parsed { root, nodes: parser.heights.len() })
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    nesting: usize,
    /// The height of every node, by number.
    heights: Vec<usize>,
    copied: usize,
    bind: bool,
}

type Parse<T = Expr> = Result<T, Issue>;

const PRIMARY: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

fn fail<T>(at: usize, message: impl Into<String>) -> Parse<T> {
    Err(Issue { at, message: message.into() })
}

/// The levels below this one are those of `||` and `&&`.
const LOGICAL: usize = 2;

/// Operators by how tightly they bind.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn whole(&mut self) -> Parse {
        let root = self.expression()?;
        match self.peek().kind {
            TokenKind::End => Ok(root),
            _ => {
                let token = self.peek();
                fail(token.at, format!("Syntax error: mismatched input '{}' expecting <EOF>", token.text))
            }
        }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn peek_symbol(&self, ahead: usize) -> Option<&'static str> {
        match self.tokens.get(self.next + ahead)?.kind {
            TokenKind::Symbol(symbol) => Some(symbol),
            _ => None,
        }
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    /// Takes the symbol if it is next, and says where it was.
    fn take(&mut self, symbol: &str) -> Option<usize> {
        (self.peek_symbol(0) == Some(symbol)).then(|| self.advance().at)
    }

    fn expect(&mut self, symbol: &str) -> Parse<usize> {
        match self.take(symbol) {
            Some(at) => Ok(at),
            None => {
                let token = self.peek();
                fail(token.at, format!("Syntax error: mismatched input '{}' expecting '{symbol}'", token.text))
            }
        }
    }

    fn expect_ident(&mut self) -> Parse<Token> {
        match self.peek().kind {
            TokenKind::Ident => Ok(self.advance()),
            _ => {
                let token = self.peek();
                fail(token.at, format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", token.text))
            }
        }
    }

    /// Makes a node; fails if it makes the tree too high.
    fn node(&mut self, at: usize, kind: Kind) -> Parse {
        let mut height = 0;
        visit_children(&kind, &mut |child| height = height.max(self.heights[child.id] + 1));
        if height > MAX_DEPTH {
            return fail(at, format!("expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        if self.heights.len() + self.copied > MAX_NODES {
            return fail(at, "expression is too large");
        }
        let id = self.heights.len();
        self.heights.push(height);
        Ok(Expr { id, at, kind })
    }

    fn call(&mut self, at: usize, function: &str, args: Vec<Expr>) -> Parse {
        self.node(at, Kind::Call { function: function.into(), target: None, args })
    }

    fn expression(&mut self) -> Parse {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return fail(self.peek().at, format!("expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        let condition = self.operators(0)?;
        let result = match self.take("?") {
            None => condition,
            Some(at) => {
                let yes = self.operators(0)?;
                self.expect(":")?;
                let no = self.expression()?;
                self.call(at, "_?_:_", vec![condition, yes, no])?
            }
        };
        self.nesting -= 1;
        Ok(result)
    }

    /// Operators that bind at least as tightly as the level. A chain of `||` or of `&&` becomes a balanced tree.
    fn operators(&mut self, lowest: usize) -> Parse {
        let mut left = self.unary()?;
        while let Some((symbol, level)) = self.operator().filter(|(_, level)| *level >= lowest) {
            left = if level < LOGICAL { self.chain(left, symbol, level)? } else { self.binary(left, symbol, level)? };
        }
        Ok(left)
    }

    /// The operator that is next, and how tightly it binds.
    fn operator(&self) -> Option<(&'static str, usize)> {
        let symbol = self.peek_symbol(0)?;
        LEVELS.iter().position(|operators| operators.contains(&symbol)).map(|level| (symbol, level))
    }

    #[inline(never)]
    fn binary(&mut self, left: Expr, symbol: &str, level: usize) -> Parse {
        let at = self.advance().at;
        let right = self.operators(level + 1)?;
        let function = if symbol == "in" { "@in".to_owned() } else { format!("_{symbol}_") };
        self.call(at, &function, vec![left, right])
    }

    #[inline(never)]
    fn chain(&mut self, first: Expr, symbol: &str, level: usize) -> Parse {
        let mut terms = vec![first];
        let mut places = Vec::new();
        while let Some(at) = self.take(symbol) {
            places.push(at);
            terms.push(self.operators(level + 1)?);
        }
        self.balance(&format!("_{symbol}_"), terms, &places)
    }

    fn balance(&mut self, function: &str, mut terms: Vec<Expr>, places: &[usize]) -> Parse {
        if terms.len() == 1 {
            return Ok(terms.remove(0));
        }
        let middle = terms.len().div_ceil(2);
        let right = terms.split_off(middle);
        let left = self.balance(function, terms, &places[..middle - 1])?;
        let right = self.balance(function, right, &places[middle..])?;
        self.call(places[middle - 1], function, vec![left, right])
    }

    fn unary(&mut self) -> Parse {
        let at = self.peek().at;
        let (function, count) = self.signs();
        let operand = self.member()?;
        if count % 2 == 0 { Ok(operand) } else { self.call(at, function, vec![operand]) }
    }

    /// Takes a run of `!` or of `-`, but not the sign of a number.
    #[inline(never)]
    fn signs(&mut self) -> (&'static str, usize) {
        let (symbol, function) = if self.peek_symbol(0) == Some("!") { ("!", "!_") } else { ("-", "-_") };
        let mut count = 0;
        while self.peek_symbol(0) == Some(symbol) && !(symbol == "-" && self.is_number(1)) {
            self.next += 1;
            count += 1;
        }
        (function, count)
    }

    fn is_number(&self, ahead: usize) -> bool {
        let token = self.tokens.get(self.next + ahead);
        token.is_some_and(|token| matches!(token.kind, TokenKind::Int { .. } | TokenKind::Literal(Literal::Double(_))))
    }

    fn member(&mut self) -> Parse {
        let mut operand = self.primary()?;
        loop {
            operand = match self.peek_symbol(0) {
                Some(".") => self.select(operand)?,
                Some("[") => self.index(operand)?,
                _ => return Ok(operand),
            };
        }
    }

    fn select(&mut self, operand: Expr) -> Parse {
        let at = self.advance().at;
        let optional = self.take("?").is_some();
        let field = self.expect_ident()?;
        if optional {
            let name = self.node(field.at, Kind::Literal(Literal::String(field.text.into())))?;
            return self.call(at, "_?._", vec![operand, name]);
        }
        match self.take("(") {
            Some(open) => {
                let args = self.arguments(")")?;
                self.member_call(open, operand, field.text, args)
            }
            None => self.node(at, Kind::Select { operand: Box::new(operand), field: field.text, test: false }),
        }
    }

    fn index(&mut self, operand: Expr) -> Parse {
        let at = self.advance().at;
        let function = if self.take("?").is_some() { "_[?_]" } else { "_[_]" };
        let index = self.expression()?;
        self.expect("]")?;
        self.call(at, function, vec![operand, index])
    }

    fn arguments(&mut self, close: &str) -> Parse<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(close).is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.take(",").is_none() {
                self.expect(close)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parse {
        match self.peek_symbol(0) {
            Some("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some("[") => self.list(),
            Some("{") => self.map(),
            _ => self.leaf(),
        }
    }

    #[inline(never)]
    fn leaf(&mut self) -> Parse {
        let negative = self.peek_symbol(0) == Some("-");
        if negative {
            self.next += 1;
        }
        let token = self.advance();
        match token.kind {
            TokenKind::Int { digits, hex } => {
                let literal = int(&digits, hex, negative)
                    .ok_or_else(|| Issue { at: token.at, message: "invalid int literal".into() })?;
                self.node(token.at - usize::from(negative), Kind::Literal(literal))
            }
            TokenKind::Literal(Literal::Double(value)) => {
                let value = if negative { -value } else { value };
                self.node(token.at, Kind::Literal(Literal::Double(value)))
            }
            TokenKind::Literal(literal) => self.node(token.at, Kind::Literal(literal)),
            TokenKind::Ident => self.name(token),
            TokenKind::Symbol(".") => {
                let name = self.expect_ident()?;
                self.name(name)
            }
            TokenKind::End => fail(token.at, format!("Syntax error: mismatched input '<EOF>' expecting {PRIMARY}")),
            TokenKind::Symbol(_) => {
                fail(token.at, format!("Syntax error: extraneous input '{}' expecting {PRIMARY}", token.text))
            }
        }
    }

    /// An identifier, a call, or the construction of an object.
    fn name(&mut self, token: Token) -> Parse {
        if self.is_struct() {
            return self.object(token);
        }
        if is_kept(&token.text) {
            return fail(token.at, format!("reserved identifier: {}", token.text));
        }
        match self.take("(") {
            Some(open) => {
                let args = self.arguments(")")?;
                self.global_call(open, token.text, args)
            }
            None => self.node(token.at, Kind::Ident(token.text)),
        }
    }

    /// Whether what follows the name is `.a.b{`.
    fn is_struct(&self) -> bool {
        let mut ahead = 0;
        loop {
            match self.peek_symbol(ahead) {
                Some("{") => return true,
                Some(".")
                    if matches!(self.tokens.get(self.next + ahead + 1), Some(Token { kind: TokenKind::Ident, .. })) =>
                {
                    ahead += 2
                }
                _ => return false,
            }
        }
    }

    fn object(&mut self, first: Token) -> Parse {
        let mut name = first.text;
        while self.take(".").is_some() {
            name.push('.');
            name.push_str(&self.expect_ident()?.text);
        }
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let field = self.expect_ident()?;
            let at = self.expect(":")?;
            fields.push(FieldInit { at, name: field.text, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, Kind::Struct { name, fields })
    }

    #[inline(never)]
    fn list(&mut self) -> Parse {
        let at = self.advance().at;
        let mut items = Vec::new();
        while self.take("]").is_none() {
            let optional = self.take("?").is_some();
            items.push(Item { value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        self.node(at, Kind::List(items))
    }

    #[inline(never)]
    fn map(&mut self) -> Parse {
        let at = self.advance().at;
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expression()?;
            self.expect(":")?;
            entries.push(Entry { key, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, Kind::Map(entries))
    }
}

fn int(digits: &str, hex: bool, negative: bool) -> Option<Literal> {
    let value = i128::from_str_radix(digits, if hex { 16 } else { 10 }).ok()?;
    i64::try_from(if negative { -value } else { value }).ok().map(Literal::Int)
}

pub fn visit_children(kind: &Kind, visit: &mut dyn FnMut(&Expr)) {
    match kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => visit(operand),
        Kind::Call { target, args, .. } => target.as_deref().into_iter().chain(args).for_each(visit),
        Kind::List(items) => items.iter().for_each(|item| visit(&item.value)),
        Kind::Map(entries) => entries.iter().for_each(|entry| {
            visit(&entry.key);
            visit(&entry.value);
        }),
        Kind::Struct { fields, .. } => fields.iter().for_each(|field| visit(&field.value)),
        Kind::Fold(fold) => {
            [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(visit);
        }
    }
}

/// How many nodes a tree has.
fn count(expr: &Expr) -> usize {
    let mut total = 1;
    visit_children(&expr.kind, &mut |child| total += count(child));
    total
}
