//! Runs a template over an object.

use serde_json::Value as Json;

use super::functions::{self, Function};
use super::parse::Templates;
use super::tree::{Branch, Command, List, Node, Number, Pipe, Place, Term, TermKind};
use super::value::{Data, Value};
use super::{NAME, go_quoted};

/// Go's own limit; nobody gets so deep but by going round in circles.
const DEPTH_MAX: usize = 100_000;

/// What a command gets from the one before it, if there is one.
type Final<'d> = Option<Value<'d>>;

pub type Evaluated<T> = Result<T, String>;

enum Flow {
    On,
    Break,
    Continue,
}

pub struct Execution<'t, 'd> {
    text: &'t str,
    templates: &'t Templates,
    missing_keys_fail: bool,
    pub written: Vec<u8>,
    /// The template that is executed.
    name: &'t str,
    place: Option<Place<'t>>,
    variables: Vec<(&'t str, Value<'d>)>,
    depth: usize,
}

impl<'t, 'd> Execution<'t, 'd> {
    pub fn new(text: &'t str, templates: &'t Templates, missing_keys_fail: bool) -> Self {
        Self {
            text,
            templates,
            missing_keys_fail,
            written: Vec::new(),
            name: NAME,
            place: None,
            variables: Vec::new(),
            depth: 0,
        }
    }

    pub fn run(&mut self, object: &'d Json) -> Evaluated<()> {
        let dot = Value::of_json(object).unboxed();
        self.variables = vec![("$", dot.clone())];
        let Some(list) = self.templates.get(NAME) else {
            return Err(format!("template: {NAME}: {} is an incomplete or empty template", go_quoted(NAME)));
        };
        self.list(&dot, list).map(|_| ())
    }

    fn error<T>(&self, why: impl std::fmt::Display) -> Evaluated<T> {
        let Some(place) = self.place else { return Err(format!("template: {}: {why}", self.name)) };
        let before = &self.text[..place.position().min(self.text.len())];
        let line = 1 + before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let name = go_quoted(self.name);
        Err(format!("template: {NAME}:{line}:{column}: executing {name} at <{place}>: {why}"))
    }

    fn list(&mut self, dot: &Value<'d>, list: &'t List) -> Evaluated<Flow> {
        for node in list {
            match self.node(dot, node)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, dot: &Value<'d>, node: &'t Node) -> Evaluated<Flow> {
        self.place = Some(Place::Node(node));
        match node {
            Node::Text { text, .. } => self.written.extend_from_slice(text.as_bytes()),
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.written.extend(value.written());
                }
            }
            Node::If(branch) => return self.either(dot, branch, false),
            Node::With(branch) => return self.either(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { name, pipe, .. } => self.template(dot, name, pipe.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// The list of a branch; a step deeper.
    fn inner(&mut self, dot: &Value<'d>, list: &'t List) -> Evaluated<Flow> {
        stacker::maybe_grow(128 << 10, 4 << 20, || self.list(dot, list))
    }

    fn either(&mut self, dot: &Value<'d>, branch: &'t Branch, moves: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = match &branch.otherwise {
            _ if value.is_true() => self.inner(if moves { &value } else { dot }, &branch.list),
            Some(otherwise) => self.inner(dot, otherwise),
            None => Ok(Flow::On),
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, dot: &Value<'d>, branch: &'t Branch) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let ran = self.iterations(&value, branch)?;
        let flow = match &branch.otherwise {
            Some(otherwise) if !ran => self.inner(dot, otherwise)?,
            _ => Flow::On,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    /// Whether there were any.
    fn iterations(&mut self, value: &Value<'d>, branch: &'t Branch) -> Evaluated<bool> {
        match &value.data {
            Data::Nil => Ok(false),
            Data::List(items) => {
                let elements = (0i64..).map(|at| Value::new(Data::Int(at))).zip(items.iter().map(Value::of_json));
                self.each(branch, elements, !items.is_empty())
            }
            Data::Map(map) => {
                let keys = map.keys().map(|key| Value::new(Data::Text(key.as_bytes().into())));
                self.each(branch, keys.zip(map.values().map(Value::of_json)), !map.is_empty())
            }
            Data::Int(number) | Data::Int64(number) if branch.pipe.variables.len() < 2 => {
                let same = |at: i64| match value.data {
                    Data::Int(_) => Value::new(Data::Int(at)),
                    _ => Value::new(Data::Int64(at)),
                };
                self.each(branch, (0..*number).map(|at| (same(at), same(at))), *number > 0)
            }
            Data::Int(_) | Data::Int64(_) => {
                let shown = self.shown(value);
                self.error(format_args!("can't use {shown} to iterate over more than one variable"))
            }
            _ => {
                let shown = self.shown(value);
                self.error(format_args!("range can't iterate over {shown}"))
            }
        }
    }

    fn shown(&self, value: &Value<'d>) -> String {
        String::from_utf8_lossy(&value.written()).into_owned()
    }

    fn each(
        &mut self,
        branch: &'t Branch,
        elements: impl Iterator<Item = (Value<'d>, Value<'d>)>,
        any: bool,
    ) -> Evaluated<bool> {
        let mark = self.variables.len();
        for (index, element) in elements {
            self.set_loop_variables(&branch.pipe, mark, index, element.clone())?;
            let flow = self.inner(&element, &branch.list)?;
            self.variables.truncate(mark);
            if let Flow::Break = flow {
                break;
            }
        }
        Ok(any)
    }

    fn set_loop_variables(
        &mut self,
        pipe: &'t Pipe,
        mark: usize,
        index: Value<'d>,
        element: Value<'d>,
    ) -> Evaluated<()> {
        match (pipe.assigns, pipe.variables.as_slice()) {
            (_, []) => {}
            (true, [only]) => self.assign(only, element)?,
            (true, [first, second, ..]) => {
                self.assign(first, index)?;
                self.assign(second, element)?;
            }
            (false, [_]) => self.variables[mark - 1].1 = element,
            (false, _) => {
                self.variables[mark - 1].1 = element;
                self.variables[mark - 2].1 = index;
            }
        }
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value<'d>) -> Evaluated<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, place)) => *place = value,
            None => return self.error(format_args!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn template(&mut self, dot: &Value<'d>, name: &'t str, pipe: Option<&'t Pipe>) -> Evaluated<()> {
        let Some((name, list)) = self.templates.get_key_value(name) else {
            return self.error(format_args!("template {} not defined", go_quoted(name)));
        };
        if self.depth == DEPTH_MAX {
            return self.error(format_args!("exceeded maximum template depth ({DEPTH_MAX})"));
        }
        let dot = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::NIL,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let caller = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        self.inner(&dot, list)?;
        self.depth -= 1;
        self.name = caller;
        self.variables = variables;
        Ok(())
    }

    fn pipe(&mut self, dot: &Value<'d>, pipe: &'t Pipe) -> Evaluated<Value<'d>> {
        self.place = Some(Place::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        let value = value.unwrap_or(Value::NIL);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Value<'d>, command: &'t Command, last: Final<'d>) -> Evaluated<Value<'d>> {
        let (first, arguments) = command.words.split_first().expect("a command has a word");
        let has_arguments = !arguments.is_empty() || last.is_some();
        match &first.kind {
            TermKind::Identifier(name) => {
                self.place = Some(Place::Term(first));
                return self.function(dot, name, Place::Command(command), arguments, last);
            }
            TermKind::Field(_) | TermKind::Chain { .. } | TermKind::Variable(_) => {
                return self.fields(dot, first, has_arguments);
            }
            TermKind::Pipe(_) => {}
            _ => self.place = Some(Place::Term(first)),
        }
        if has_arguments {
            return match &first.kind {
                TermKind::Pipe(pipe) => self.error(format_args!("can't give argument to non-function {pipe}")),
                _ => self.error(format_args!("can't give argument to non-function {first}")),
            };
        }
        match &first.kind {
            TermKind::Pipe(pipe) => stacker::maybe_grow(128 << 10, 4 << 20, || self.pipe(dot, pipe)),
            TermKind::Nil => self.error("nil is not a command"),
            _ => self.constant(dot, first),
        }
    }

    fn constant(&mut self, dot: &Value<'d>, term: &'t Term) -> Evaluated<Value<'d>> {
        Ok(match &term.kind {
            TermKind::Bool(value) => Value::new(Data::Bool(*value)),
            TermKind::Dot => dot.clone(),
            TermKind::Number { text, number } => {
                self.place = Some(Place::Term(term));
                match number {
                    Number::Int(number) => Value::new(Data::Int(*number)),
                    Number::Float(number) => Value::new(Data::Float(*number)),
                    Number::TooLarge => return self.error(format_args!("{text} overflows int")),
                }
            }
            TermKind::Text { text, .. } => Value::text(text.clone()),
            _ => return self.error(format_args!("can't evaluate command {}", go_quoted(&term.to_string()))),
        })
    }

    /// A chain of fields, of dot, a variable, or something in parentheses.
    fn fields(&mut self, dot: &Value<'d>, term: &'t Term, has_arguments: bool) -> Evaluated<Value<'d>> {
        self.place = Some(Place::Term(term));
        let (mut value, fields) = match &term.kind {
            TermKind::Field(fields) => (dot.clone(), fields.as_slice()),
            TermKind::Variable(names) => {
                let known = self.variables.iter().rev().find(|(name, _)| *name == names[0]);
                let Some((_, value)) = known else {
                    return self.error(format_args!("undefined variable: {}", names[0]));
                };
                (value.clone(), &names[1..])
            }
            TermKind::Chain { of, fields } => {
                if let TermKind::Nil = of.kind {
                    return self.error(format_args!("indirection through explicit nil in {term}"));
                }
                (self.argument(dot, of)?, fields.as_slice())
            }
            _ => unreachable!("only these have fields"),
        };
        let Some((last, before)) = fields.split_last() else {
            return if has_arguments {
                self.error(format_args!("can't give argument to non-function {term}"))
            } else {
                Ok(value)
            };
        };
        for field in before {
            value = self.field(&value, field, false)?;
        }
        self.field(&value, last, has_arguments)
    }

    fn field(&self, of: &Value<'d>, name: &str, has_arguments: bool) -> Evaluated<Value<'d>> {
        if of.is_invalid() {
            return if self.missing_keys_fail {
                self.error(format_args!("nil data; no entry for key {}", go_quoted(name)))
            } else {
                Ok(Value::NIL)
            };
        }
        match &of.data {
            Data::Nil => self.error(format_args!("nil pointer evaluating {}.{name}", of.type_name())),
            Data::Map(_) if has_arguments => self.error(format_args!("{name} is not a method but has arguments")),
            Data::Map(map) => match map.get(name) {
                Some(value) => Ok(Value::of_json(value)),
                None if self.missing_keys_fail => {
                    self.error(format_args!("map has no entry for key {}", go_quoted(name)))
                }
                None => Ok(Value::NIL),
            },
            _ => self.error(format_args!("can't evaluate field {name} in type {}", of.type_name())),
        }
    }

    /// A word as an argument that may be anything.
    fn argument(&mut self, dot: &Value<'d>, term: &'t Term) -> Evaluated<Value<'d>> {
        self.place = Some(Place::Term(term));
        match &term.kind {
            TermKind::Nil => Ok(Value::NIL),
            TermKind::Field(_) | TermKind::Variable(_) | TermKind::Chain { .. } => self.fields(dot, term, false),
            TermKind::Pipe(pipe) => stacker::maybe_grow(128 << 10, 4 << 20, || self.pipe(dot, pipe)),
            TermKind::Identifier(name) => self.function(dot, name, Place::Term(term), &[], None),
            _ => self.constant(dot, term),
        }
    }

    /// An argument that must be a string.
    fn text_argument(&mut self, dot: &Value<'d>, term: &'t Term) -> Evaluated<Value<'d>> {
        self.place = Some(Place::Term(term));
        match &term.kind {
            TermKind::Nil => self.error("cannot assign nil to string"),
            TermKind::Text { text, .. } => Ok(Value::text(text.clone())),
            TermKind::Bool(_) | TermKind::Number { .. } => self.error(format_args!("expected string; found {term}")),
            _ => {
                let value = self.argument(dot, term)?;
                self.checked_text(value)
            }
        }
    }

    fn checked_text(&self, value: Value<'d>) -> Evaluated<Value<'d>> {
        match &value.data {
            Data::Text(_) => Ok(value.unboxed()),
            _ if value.is_invalid() => self.error("invalid value; expected string"),
            Data::Nil => self.error("wrong type for value; expected string; got interface {}"),
            data => self.error(format_args!("wrong type for value; expected string; got {}", data.type_name())),
        }
    }

    fn function(
        &mut self,
        dot: &Value<'d>,
        name: &str,
        place: Place<'t>,
        arguments: &'t [Term],
        last: Final<'d>,
    ) -> Evaluated<Value<'d>> {
        let function = functions::find(name).expect("the parser knows all");
        self.count(name, function, arguments.len(), last.is_some())?;
        if let Function::ShortCircuit { until } = function.run {
            return self.first_that_is(dot, until, arguments, last);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for (at, term) in arguments.iter().enumerate() {
            let is_text = at < function.texts;
            values.push(if is_text { self.text_argument(dot, term)? } else { self.argument(dot, term)? });
        }
        if let Some(last) = last {
            let is_text = values.len() < function.texts;
            values.push(if is_text { self.checked_text(last)? } else { last });
        }
        let called = match (&function.run, arguments.first()) {
            (Function::Call, Some(first)) => Err(functions::not_a_function(&first.to_string(), &values[0])),
            (Function::Call, None) => Err(functions::not_a_function(&self.shown(&values[0]), &values[0])),
            _ => function.call(&values),
        };
        called.or_else(|why| {
            self.place = Some(place);
            self.error(format_args!("error calling {name}: {why}"))
        })
    }

    fn count(&self, name: &str, function: &functions::Entry, given: usize, piped: bool) -> Evaluated<()> {
        let all = given + usize::from(piped);
        if function.variadic && all < function.arguments {
            return self.error(format_args!(
                "wrong number of args for {name}: want at least {} got {given}",
                function.arguments
            ));
        }
        if !function.variadic && all != function.arguments {
            return self.error(format_args!("wrong number of args for {name}: want {} got {all}", function.arguments));
        }
        Ok(())
    }

    /// `and` and `or` look no further than they must.
    fn first_that_is(
        &mut self,
        dot: &Value<'d>,
        until: bool,
        arguments: &'t [Term],
        last: Final<'d>,
    ) -> Evaluated<Value<'d>> {
        let mut value = Value::NIL;
        for term in arguments {
            value = self.argument(dot, term)?;
            if value.is_true() == until {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}
