//! Macros: calls that become loops, or tests for presence.

use super::{Parse, Parser, count, fail};
use crate::ast::{ACCUMULATOR, Expr, Fold, Item, Kind, Literal};

/// A loop in the making: what its variables are called.
struct Loop {
    variable: String,
    second: Option<String>,
    range: Expr,
}

/// What a step does with what the body yields.
enum Yield {
    Item(Expr),
    MapValue(Expr),
    MapEntry(Expr),
}

const LOOPS: [&str; 9] =
    ["all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap", "transformMapEntry"];

/// What `sortBy` calls its list.
const SORTED: &str = "@sorted";

impl Parser {
    pub(super) fn global_call(&mut self, at: usize, function: String, mut args: Vec<Expr>) -> Parse {
        if function != "has" || args.len() != 1 {
            return self.node(at, Kind::Call { function, target: None, args });
        }
        match args.remove(0) {
            Expr { kind: Kind::Select { operand, field, test: false }, .. } => {
                self.node(at, Kind::Select { operand, field, test: true })
            }
            other => fail(other.at, "invalid argument to has() macro"),
        }
    }

    pub(super) fn member_call(&mut self, at: usize, target: Expr, function: String, args: Vec<Expr>) -> Parse {
        match (function.as_str(), args.len()) {
            ("optMap" | "optFlatMap", 2) => self.optional_map(at, target, &function, args),
            ("sortBy", 2) => self.sort_by(at, target, args),
            ("bind", 3) if self.bind && target.qualified_name().as_deref() == Some("cel") => self.bind(at, args),
            (name, count) if LOOPS.contains(&name) => match plan(name, count) {
                Some(two) => self.comprehension(at, target, name, two, args),
                None => self.plain(at, target, function, args),
            },
            _ => self.plain(at, target, function, args),
        }
    }

    fn plain(&mut self, at: usize, target: Expr, function: String, args: Vec<Expr>) -> Parse {
        self.node(at, Kind::Call { function, target: Some(Box::new(target)), args })
    }

    fn comprehension(&mut self, at: usize, range: Expr, name: &str, two: bool, args: Vec<Expr>) -> Parse {
        let mut args = args.into_iter();
        let mut argument = || args.next().expect("the plan counted the arguments");
        let variable = simple_name(&argument())?;
        let second = if two { Some(distinct_name(&argument(), &variable)?) } else { None };
        let body = argument();
        let last = args.next();
        let head = Loop { variable, second, range };
        match (name, last) {
            ("all", _) => self.all(at, head, body),
            ("exists", _) => self.exists(at, head, body),
            ("exists_one" | "existsOne", _) => self.exists_one(at, head, body),
            ("filter", _) => {
                let item = self.node(at, Kind::Ident(head.variable.clone()))?;
                self.collect(at, head, Some(body), Yield::Item(item))
            }
            ("map" | "transformList", None) => self.collect(at, head, None, Yield::Item(body)),
            ("map" | "transformList", Some(value)) => self.collect(at, head, Some(body), Yield::Item(value)),
            ("transformMap", None) => self.collect(at, head, None, Yield::MapValue(body)),
            ("transformMap", Some(value)) => self.collect(at, head, Some(body), Yield::MapValue(value)),
            (_, None) => self.collect(at, head, None, Yield::MapEntry(body)),
            (_, Some(value)) => self.collect(at, head, Some(body), Yield::MapEntry(value)),
        }
    }

    fn accumulated(&mut self, at: usize) -> Parse {
        self.node(at, Kind::Ident(ACCUMULATOR.into()))
    }

    fn literal(&mut self, at: usize, literal: Literal) -> Parse {
        self.node(at, Kind::Literal(literal))
    }

    fn fold(&mut self, at: usize, head: Loop, init: Expr, condition: Expr, step: Expr, result: Expr) -> Parse {
        let Loop { variable, second, range } = head;
        let accumulator = ACCUMULATOR.into();
        self.node(
            at,
            Kind::Fold(Box::new(Fold { variable, second, range, accumulator, init, condition, step, result })),
        )
    }

    fn all(&mut self, at: usize, head: Loop, body: Expr) -> Parse {
        let init = self.literal(at, Literal::Bool(true))?;
        let seen = self.accumulated(at)?;
        let condition = self.call(at, "@not_strictly_false", vec![seen])?;
        let seen = self.accumulated(at)?;
        let step = self.call(at, "_&&_", vec![seen, body])?;
        let result = self.accumulated(at)?;
        self.fold(at, head, init, condition, step, result)
    }

    fn exists(&mut self, at: usize, head: Loop, body: Expr) -> Parse {
        let init = self.literal(at, Literal::Bool(false))?;
        let seen = self.accumulated(at)?;
        let not_seen = self.call(at, "!_", vec![seen])?;
        let condition = self.call(at, "@not_strictly_false", vec![not_seen])?;
        let seen = self.accumulated(at)?;
        let step = self.call(at, "_||_", vec![seen, body])?;
        let result = self.accumulated(at)?;
        self.fold(at, head, init, condition, step, result)
    }

    fn exists_one(&mut self, at: usize, head: Loop, body: Expr) -> Parse {
        let init = self.literal(at, Literal::Int(0))?;
        let condition = self.literal(at, Literal::Bool(true))?;
        let (seen, one) = (self.accumulated(at)?, self.literal(at, Literal::Int(1))?);
        let more = self.call(at, "_+_", vec![seen, one])?;
        let seen = self.accumulated(at)?;
        let step = self.call(at, "_?_:_", vec![body, more, seen])?;
        let (seen, one) = (self.accumulated(at)?, self.literal(at, Literal::Int(1))?);
        let result = self.call(at, "_==_", vec![seen, one])?;
        self.fold(at, head, init, condition, step, result)
    }

    fn collect(&mut self, at: usize, head: Loop, filter: Option<Expr>, yields: Yield) -> Parse {
        let is_list = matches!(yields, Yield::Item(_));
        let init = self.node(at, if is_list { Kind::List(Vec::new()) } else { Kind::Map(Vec::new()) })?;
        let condition = self.literal(at, Literal::Bool(true))?;
        let seen = self.accumulated(at)?;
        let mut step = match yields {
            Yield::Item(value) => {
                let item = self.node(at, Kind::List(vec![Item { value, optional: false }]))?;
                self.call(at, "_+_", vec![seen, item])?
            }
            Yield::MapValue(value) => {
                let key = self.node(at, Kind::Ident(head.variable.clone()))?;
                self.call(at, "cel.@mapInsert", vec![seen, key, value])?
            }
            Yield::MapEntry(entry) => self.call(at, "cel.@mapInsert", vec![seen, entry])?,
        };
        if let Some(filter) = filter {
            let seen = self.accumulated(at)?;
            step = self.call(at, "_?_:_", vec![filter, step, seen])?;
        }
        let result = self.accumulated(at)?;
        self.fold(at, head, init, condition, step, result)
    }

    /// `target.optMap(x, f)` is `target.hasValue() ? optional.of(f with x bound) : optional.none()`.
    fn optional_map(&mut self, at: usize, target: Expr, function: &str, mut args: Vec<Expr>) -> Parse {
        let variable = simple_name(&args[0])?;
        let body = args.remove(1);
        self.copied += count(&target);
        let present = self.plain(at, target.clone(), "hasValue".into(), Vec::new())?;
        let value = self.plain(at, target, "value".into(), Vec::new())?;
        let bound = self.bound(at, variable, value, body)?;
        let some = if function == "optMap" { self.call(at, "optional.of", vec![bound])? } else { bound };
        let none = self.call(at, "optional.none", Vec::new())?;
        self.call(at, "_?_:_", vec![present, some, none])
    }

    fn bind(&mut self, at: usize, mut args: Vec<Expr>) -> Parse {
        let variable = simple_name(&args[0])?;
        let body = args.remove(2);
        let value = args.remove(1);
        self.bound(at, variable, value, body)
    }

    /// `list.sortBy(x, key)` is `bind(l, list, l.@sortByAssociatedKeys(l.map(x, key)))`.
    fn sort_by(&mut self, at: usize, target: Expr, mut args: Vec<Expr>) -> Parse {
        let variable = simple_name(&args[0])?;
        let body = args.remove(1);
        let range = self.node(at, Kind::Ident(SORTED.into()))?;
        let keys = self.collect(at, Loop { variable, second: None, range }, None, Yield::Item(body))?;
        let list = self.node(at, Kind::Ident(SORTED.into()))?;
        let sorted = self.plain(at, list, "@sortByAssociatedKeys".into(), vec![keys])?;
        self.bound(at, SORTED.into(), target, sorted)
    }

    /// A name for a value: a fold over nothing, whose accumulator is the name.
    fn bound(&mut self, at: usize, name: String, init: Expr, result: Expr) -> Parse {
        let range = self.node(at, Kind::List(Vec::new()))?;
        let condition = self.literal(at, Literal::Bool(false))?;
        let step = self.node(at, Kind::Ident(name.clone()))?;
        let fold =
            Fold { variable: "#unused".into(), second: None, range, accumulator: name, init, condition, step, result };
        self.node(at, Kind::Fold(Box::new(fold)))
    }
}

/// Whether the macro with this many arguments has two variables; `None` if it is no macro.
fn plan(name: &str, count: usize) -> Option<bool> {
    match (name, count) {
        ("all" | "exists" | "exists_one" | "filter" | "map", 2) | ("map", 3) => Some(false),
        ("all" | "exists" | "exists_one" | "existsOne", 3) => Some(true),
        ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => Some(true),
        _ => None,
    }
}

fn simple_name(expr: &Expr) -> Parse<String> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => fail(expr.at, "argument must be a simple name"),
    }
}

fn distinct_name(expr: &Expr, first: &str) -> Parse<String> {
    let name = simple_name(expr)?;
    if name == first { fail(expr.at, format!("duplicate variable name: {name}")) } else { Ok(name) }
}
