//! What stands in an action: variables that are set, commands, and the words of them.

use super::{Parsed, Parser};
use crate::print::template::lex::{Keyword, Kind};
use crate::print::template::tree::{Command, Pipe, Term, TermKind};
use crate::print::template::{constant, functions, go_quoted};

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let position = self.peek_word().position;
        let mut pipe = Pipe { position, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_word();
            match token.kind {
                kind if kind == end => {
                    self.check(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Keyword(Keyword::Dot | Keyword::Nil)
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawText
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParenthesis => {
                    self.backup();
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// `$x :=`, `$x =`, or in a range `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next();
            let after = self.peek();
            let next = self.peek_word();
            let is_comma = next.kind == Kind::Char && next.text == ",";
            if !matches!(next.kind, Kind::Assign | Kind::Declare) && !is_comma {
                if after.kind == Kind::Space {
                    self.backup_three(variable, after);
                } else {
                    self.backup_two(variable);
                }
                return Ok(());
            }
            pipe.assigns = next.kind == Kind::Assign;
            self.next_word();
            pipe.variables.push(variable.text.clone());
            self.variables.push(variable.text);
            if !is_comma {
                return Ok(());
            }
            if context != "range" || pipe.variables.len() == 2 {
                return self.error(format_args!("too many declarations in {context}"));
            }
            if !matches!(self.peek_word().kind, Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis) {
                return self.error("range can only initialize variables");
            }
        }
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format_args!("missing value for {context}"));
        }
        let constant = pipe.commands.iter().skip(1).position(|command| command.words[0].kind.is_constant());
        match constant {
            Some(at) => self.error(format_args!("non executable command in pipeline stage {}", at + 2)),
            None => Ok(()),
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let position = self.peek_word().position;
        let mut words = Vec::new();
        loop {
            self.peek_word();
            words.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelimiter | Kind::RightParenthesis => self.backup(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if words.is_empty() { self.error("empty command") } else { Ok(Command { position, words }) }
    }

    fn operand(&mut self) -> Parsed<Option<Term>> {
        let Some(mut term) = self.deeper(Self::term)? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        match &mut term.kind {
            TermKind::Field(names) | TermKind::Variable(names) => {
                names.extend(fields);
                term.position = first.position;
            }
            kind if kind.is_constant() => {
                let quoted = go_quoted(&term.to_string());
                return self.error(format_args!("unexpected . after term {quoted}"));
            }
            _ => term = Term { position: first.position, kind: TermKind::Chain { of: Box::new(term), fields } },
        }
        Ok(Some(term))
    }

    fn term(&mut self) -> Parsed<Option<Term>> {
        let token = self.next_word();
        let kind = match token.kind {
            Kind::Identifier if functions::is_known(&token.text) => TermKind::Identifier(token.text),
            Kind::Identifier => return self.error(format_args!("function {} not defined", go_quoted(&token.text))),
            Kind::Keyword(Keyword::Dot) => TermKind::Dot,
            Kind::Keyword(Keyword::Nil) => TermKind::Nil,
            Kind::Variable if self.variables.contains(&token.text) => TermKind::Variable(vec![token.text]),
            Kind::Variable => return self.error(format_args!("undefined variable {}", go_quoted(&token.text))),
            Kind::Field => TermKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => TermKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Number => match constant::number(&token.text) {
                Ok(number) => TermKind::Number { text: token.text, number },
                Err(why) => return self.error(why),
            },
            Kind::LeftParenthesis => TermKind::Pipe(self.pipeline("parenthesized pipeline", Kind::RightParenthesis)?),
            Kind::Quoted | Kind::RawText => match constant::unquote(&token.text) {
                Ok(text) => TermKind::Text { quoted: token.text, text },
                Err(why) => return self.error(why),
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Term { position: token.position, kind }))
    }
}
