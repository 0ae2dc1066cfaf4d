//! A parsed template, and how its parts are written in complaints.

use std::fmt::{Display, Formatter, Result};

use super::go_quoted;

#[derive(Clone, Debug)]
pub enum Node {
    Text { position: usize, text: String },
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { position: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

pub type List = Vec<Node>;

#[derive(Clone, Debug)]
pub struct Branch {
    pub pipe: Pipe,
    pub list: List,
    pub otherwise: Option<List>,
}

#[derive(Clone, Debug)]
pub struct Pipe {
    pub position: usize,
    pub variables: Vec<String>,
    /// `=`, not `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

#[derive(Clone, Debug)]
pub struct Command {
    pub position: usize,
    pub words: Vec<Term>,
}

#[derive(Clone, Debug)]
pub struct Term {
    pub position: usize,
    pub kind: TermKind,
}

#[derive(Clone, Debug)]
pub enum TermKind {
    Bool(bool),
    Dot,
    Nil,
    Number {
        text: String,
        number: Number,
    },
    Text {
        quoted: String,
        text: Vec<u8>,
    },
    Identifier(String),
    Field(Vec<String>),
    /// The name with its `$`, then fields.
    Variable(Vec<String>),
    Chain {
        of: Box<Term>,
        fields: Vec<String>,
    },
    Pipe(Pipe),
}

/// What a number is where nothing asks for a type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
    /// Too large for a signed integer.
    TooLarge,
}

impl TermKind {
    /// What no command can be made of, but a first one.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Dot | Self::Nil | Self::Number { .. } | Self::Text { .. })
    }
}

/// What is being done, for complaints.
#[derive(Clone, Copy)]
pub enum Place<'t> {
    Node(&'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Term(&'t Term),
}

impl Place<'_> {
    pub fn position(&self) -> usize {
        match self {
            Self::Node(Node::Text { position, .. } | Node::Template { position, .. }) => *position,
            Self::Node(Node::Action(pipe)) => pipe.position,
            Self::Pipe(pipe) => pipe.position,
            Self::Node(Node::If(branch) | Node::With(branch) | Node::Range(branch)) => branch.pipe.position,
            Self::Node(Node::Break | Node::Continue) => 0,
            Self::Command(command) => command.position,
            Self::Term(term) => term.position,
        }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Pipe(pipe) => pipe.fmt(f),
            Self::Command(command) => command.fmt(f),
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text { text, .. } => f.write_str(text),
            Self::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            Self::If(branch) => branch.write("if", f),
            Self::With(branch) => branch.write("with", f),
            Self::Range(branch) => branch.write("range", f),
            Self::Template { name, pipe: None, .. } => write!(f, "{{{{template {}}}}}", go_quoted(name)),
            Self::Template { name, pipe: Some(pipe), .. } => {
                write!(f, "{{{{template {} {pipe}}}}}", go_quoted(name))
            }
            Self::Break => f.write_str("{{break}}"),
            Self::Continue => f.write_str("{{continue}}"),
        }
    }
}

impl Branch {
    fn write(&self, keyword: &str, f: &mut Formatter<'_>) -> Result {
        write!(f, "{{{{{keyword} {}}}}}", self.pipe)?;
        self.list.iter().try_for_each(|node| node.fmt(f))?;
        if let Some(otherwise) = &self.otherwise {
            f.write_str("{{else}}")?;
            otherwise.iter().try_for_each(|node| node.fmt(f))?;
        }
        f.write_str("{{end}}")
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        joined(&self.commands, " | ", f)
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        joined(&self.words, " ", f)
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            TermKind::Bool(value) => value.fmt(f),
            TermKind::Dot => f.write_str("."),
            TermKind::Nil => f.write_str("nil"),
            TermKind::Number { text, .. } => f.write_str(text),
            TermKind::Text { quoted, .. } => f.write_str(quoted),
            TermKind::Identifier(name) => f.write_str(name),
            TermKind::Field(fields) => fields.iter().try_for_each(|field| write!(f, ".{field}")),
            TermKind::Variable(names) => f.write_str(&names.join(".")),
            TermKind::Chain { of, fields } => {
                of.fmt(f)?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            TermKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}

fn joined<T: Display>(parts: &[T], separator: &str, f: &mut Formatter<'_>) -> Result {
    parts.iter().enumerate().try_for_each(|(at, part)| {
        if at > 0 {
            f.write_str(separator)?;
        }
        part.fmt(f)
    })
}
