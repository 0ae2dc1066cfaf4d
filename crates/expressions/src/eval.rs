//! The evaluation: walks the tree, charges every step, absorbs errors where CEL does.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{ACCUMULATOR, Entry, Expr, FieldInit, Fold, Item, Kind, Literal};
use crate::bindings::{Binding, Bindings};
use crate::cost;
use crate::decl::DeclType;
use crate::environment::VARIABLES;
use crate::errors::EvalError;
use crate::functions;
use crate::library::{self, Regexes};
use crate::program::{Budget, Program};
use crate::value::{self, Key, List, Map, Struct, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub fn evaluate<'a>(program: &Program, bindings: &Bindings<'a>, budget: &mut Budget) -> Outcome<'a> {
    let mut machine =
        Machine { program, bindings, budget, scopes: Vec::new(), spent: 0, regexes: Regexes::new(&program.regexes) };
    let result = machine.expr(&program.root);
    let spent = machine.spent;
    budget.spend(spent);
    result
}

struct Machine<'p, 'a> {
    program: &'p Program,
    bindings: &'p Bindings<'a>,
    budget: &'p mut Budget,
    /// The variables of loops, innermost last. An accumulator may be an error that a later step absorbs.
    scopes: Vec<(&'p str, Outcome<'a>)>,
    spent: u64,
    regexes: Regexes<'p>,
}

impl<'p, 'a> Machine<'p, 'a> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.budget.remaining() {
            return Err(EvalError::OutOfBudget);
        }
        if self.spent > self.budget.per_call() { Err(EvalError::CallCost) } else { Ok(()) }
    }

    fn expr(&mut self, expr: &'p Expr) -> Outcome<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => self.ident(name),
            Kind::Select { operand, field, test } => self.select(operand, field, *test),
            Kind::Call { function, target, args } => self.call(function, target.as_deref(), args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.object(name, fields),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn ident(&mut self, name: &str) -> Outcome<'a> {
        self.charge(cost::SELECT_OR_IDENT)?;
        if let Some((_, value)) = self.scopes.iter().rev().find(|(known, _)| *known == name) {
            return value.clone();
        }
        let Some(decl) = self.program.environment.variable_type(name) else {
            return functions::named_type(name).map(Value::Type).ok_or_else(|| EvalError::NoSuchAttribute(name.into()));
        };
        if let Some(binding) = self.bindings.lookup(name) {
            return bound(binding, decl);
        }
        if name == VARIABLES && self.bindings.has_composed() {
            return Ok(Value::Map(Map::Composed));
        }
        Err(EvalError::NoSuchAttribute(name.into()))
    }

    #[inline(never)]
    fn select(&mut self, operand: &'p Expr, field: &str, test: bool) -> Outcome<'a> {
        let operand = self.expr(operand)?;
        if test {
            return self.present(&operand, field).map(Value::Bool);
        }
        self.charge(cost::SELECT_OR_IDENT)?;
        match &operand {
            Value::Optional(None) => Ok(Value::none()),
            Value::Optional(Some(inner)) => self.optional_field(inner, field),
            other => self.field(other, field)?.ok_or_else(|| EvalError::NoSuchKey(field.into())),
        }
    }

    fn present(&mut self, operand: &Value<'a>, field: &str) -> Result<bool, EvalError> {
        match operand {
            Value::Map(Map::Composed) => Ok(self.bindings.is_composed(field)),
            Value::Map(map) => Ok(map.field(field).is_some()),
            Value::Optional(None) => Ok(false),
            Value::Optional(Some(inner)) => self.present(inner, field),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn field(&mut self, operand: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
        match operand {
            Value::Map(Map::Composed) => self.bindings.composed(field, self.budget).map(Some),
            Value::Map(map) => map.field(field).transpose(),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn optional_field(&mut self, operand: &Value<'a>, field: &str) -> Outcome<'a> {
        Ok(self.field(operand, field)?.map_or_else(Value::none, Value::some))
    }

    #[inline(never)]
    fn call(&mut self, function: &'p str, target: Option<&'p Expr>, args: &'p [Expr]) -> Outcome<'a> {
        match (function, args) {
            ("_&&_", [left, right]) => self.logical(left, right, false),
            ("_||_", [left, right]) => self.logical(left, right, true),
            ("_?_:_", [condition, yes, no]) => match self.expr(condition)? {
                Value::Bool(true) => self.expr(yes),
                Value::Bool(false) => self.expr(no),
                _ => Err(EvalError::NoSuchOverload),
            },
            ("@not_strictly_false", [operand]) => self.not_strictly_false(operand),
            ("_?._", [operand, name]) => self.optional_select(operand, name),
            ("or" | "orValue", [other]) => match target {
                Some(target) => self.alternative(target, other, function == "or"),
                None => Err(EvalError::NoSuchOverload),
            },
            _ => self.strict(function, target, args),
        }
    }

    /// `&&` and `||`: the deciding value of either side wins over an error of the other.
    fn logical(&mut self, left: &'p Expr, right: &'p Expr, decides: bool) -> Outcome<'a> {
        let left = self.expr(left);
        match &left {
            Ok(Value::Bool(value)) if *value == decides => return left,
            Err(error) if error.is_limit() => return left,
            _ => {}
        }
        let right = self.expr(right);
        match (left, right) {
            (_, Err(error)) if error.is_limit() => Err(error),
            (_, Ok(Value::Bool(value))) if value == decides => Ok(Value::Bool(decides)),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decides)),
            (Err(error), _) => Err(error),
            (Ok(Value::Bool(_)), Err(error)) => Err(error),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn not_strictly_false(&mut self, operand: &'p Expr) -> Outcome<'a> {
        let value = self.expr(operand);
        self.charge(1)?;
        match value {
            Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
            Err(error) if error.is_limit() => Err(error),
            _ => Ok(Value::Bool(true)),
        }
    }

    fn optional_select(&mut self, operand: &'p Expr, name: &'p Expr) -> Outcome<'a> {
        let operand = self.expr(operand)?;
        self.charge(cost::SELECT_OR_IDENT)?;
        let Kind::Literal(Literal::String(name)) = &name.kind else { return Err(EvalError::NoSuchOverload) };
        match &operand {
            Value::Optional(None) => Ok(Value::none()),
            Value::Optional(Some(inner)) => self.optional_field(inner, name),
            other => self.optional_field(other, name),
        }
    }

    /// `or` and `orValue` look at their argument only when it is needed.
    fn alternative(&mut self, target: &'p Expr, other: &'p Expr, keep: bool) -> Outcome<'a> {
        match self.expr(target)? {
            Value::Optional(None) => self.expr(other),
            present @ Value::Optional(Some(_)) if keep => Ok(present),
            Value::Optional(Some(inner)) => Ok((*inner).clone()),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn strict(&mut self, function: &str, target: Option<&'p Expr>, args: &'p [Expr]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len() + 1);
        let takes = matches!(function, "_+_" | "cel.@mapInsert");
        for (index, arg) in target.into_iter().chain(args).enumerate() {
            values.push(if takes && index == 0 { self.taken(arg)? } else { self.expr(arg)? });
        }
        let before = cost::before(function, &values);
        self.charge(before)?;
        let sizes = cost::Sizes::of(function, &values);
        let result = if function == "check" {
            library::check_authorization(&values, self.bindings.authorizer)
        } else {
            library::call(function, values, &mut self.regexes)
        };
        let total = cost::of_call(function, &sizes, result.as_ref().ok());
        self.charge(total.saturating_sub(before))?;
        result
    }

    /// The accumulator is moved out while a step extends it, so that it is not copied; the step's result replaces it.
    fn taken(&mut self, arg: &'p Expr) -> Outcome<'a> {
        if !matches!(&arg.kind, Kind::Ident(name) if name == ACCUMULATOR) {
            return self.expr(arg);
        }
        self.charge(cost::SELECT_OR_IDENT)?;
        let slot = self.scopes.iter_mut().rev().find(|(name, _)| *name == ACCUMULATOR);
        slot.map_or(Err(EvalError::NoSuchAttribute(ACCUMULATOR.into())), |(_, value)| {
            std::mem::replace(value, Ok(Value::Null))
        })
    }

    #[inline(never)]
    fn list(&mut self, items: &'p [Item]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(items.len());
        for Item { value, optional } in items {
            match self.expr(value)? {
                Value::Optional(inner) if *optional => values.extend(inner.map(|inner| (*inner).clone())),
                _ if *optional => return Err(EvalError::NoSuchOverload),
                value => values.push(value),
            }
        }
        let is_constant = !items.is_empty() && items.iter().all(|item| matches!(item.value.kind, Kind::Literal(_)));
        self.charge(if is_constant { 0 } else { cost::LIST_CREATE })?;
        Ok(Value::list(values))
    }

    #[inline(never)]
    fn map(&mut self, entries: &'p [Entry]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for Entry { key, value, optional } in entries {
            let key = self.expr(key)?;
            let typed = Key::of(&key).ok_or_else(|| value::unsupported_key(&key))?;
            let value = match self.expr(value)? {
                Value::Optional(None) if *optional => continue,
                Value::Optional(Some(inner)) if *optional => (*inner).clone(),
                _ if *optional => return Err(EvalError::NoSuchOverload),
                value => value,
            };
            if map.insert(typed, value).is_some() {
                return Err(EvalError::message(format!("Failed with repeated key {}", value::display(&key))));
            }
        }
        self.charge(cost::MAP_CREATE)?;
        Ok(Value::Map(Map::owned(map)))
    }

    #[inline(never)]
    fn object(&mut self, name: &'p str, fields: &'p [FieldInit]) -> Outcome<'a> {
        let Some(ty) = self.program.environment.constructible_type(name) else {
            return Err(EvalError::NoSuchAttribute(name.into()));
        };
        let mut values = BTreeMap::new();
        for FieldInit { name: field, value, optional, .. } in fields {
            let value = match self.expr(value)? {
                Value::Optional(None) if *optional => continue,
                Value::Optional(Some(inner)) if *optional => (*inner).clone(),
                value => value,
            };
            check_nested_type(name, field, &value)?;
            values.insert(field.clone(), value);
        }
        self.charge(cost::STRUCT_CREATE)?;
        Ok(Value::Map(Map::Struct(Arc::new(Struct { ty, fields: values }))))
    }

    #[inline(never)]
    fn fold(&mut self, fold: &'p Fold) -> Outcome<'a> {
        let depth = self.scopes.len();
        let range = if fold.is_bind() { Value::list(Vec::new()) } else { self.expr(&fold.range)? };
        let init = self.expr(&fold.init);
        if let Err(error) = &init
            && error.is_limit()
        {
            return init;
        }
        self.scopes.push((&fold.accumulator, init));
        let result = self.turns(fold, &range).and_then(|()| self.expr(&fold.result));
        self.scopes.truncate(depth);
        result
    }

    fn turns(&mut self, fold: &'p Fold, range: &Value<'a>) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let item = list.get(index).unwrap_or(Err(EvalError::NoSuchOverload));
                    let position = i64::try_from(index).unwrap_or(i64::MAX);
                    let (first, second) =
                        if fold.second.is_some() { (Ok(Value::Int(position)), Some(item)) } else { (item, None) };
                    if !self.turn(fold, first, second)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = fold.second.as_ref().and_then(|_| map.get(&key));
                    if !self.turn(fold, Ok(key), value)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::NoSuchOverload),
        }
        Ok(())
    }

    /// One turn of a loop. `false` ends the loop.
    fn turn(&mut self, fold: &'p Fold, first: Outcome<'a>, second: Option<Outcome<'a>>) -> Result<bool, EvalError> {
        let depth = self.scopes.len();
        self.scopes.push((&fold.variable, first));
        if let (Some(name), Some(value)) = (&fold.second, second) {
            self.scopes.push((name, value));
        }
        let goes_on = !matches!(self.expr(&fold.condition)?, Value::Bool(false));
        if goes_on {
            let next = self.expr(&fold.step);
            if let Err(error) = &next
                && error.is_limit()
            {
                return Err(error.clone());
            }
            self.scopes[depth - 1].1 = next;
        }
        self.scopes.truncate(depth);
        Ok(goes_on)
    }
}

fn constant<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::text(text.clone()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

fn bound<'a>(binding: &Binding<'a>, decl: &Arc<DeclType>) -> Outcome<'a> {
    match binding {
        Binding::Value(value) => Ok(value.clone()),
        Binding::Json(json) => value::read(json, decl),
        Binding::OptionalJson(None) => Ok(Value::none()),
        Binding::OptionalJson(Some(json)) => match value::read(json, decl)? {
            optional @ Value::Optional(_) => Ok(optional),
            plain => Ok(Value::some(plain)),
        },
    }
}

/// A field of `Object.spec` that holds a constructed object must hold an `Object.spec.field`.
fn check_nested_type(owner: &str, field: &str, value: &Value<'_>) -> Result<(), EvalError> {
    let nested = match value {
        Value::Map(Map::Struct(object)) => &object.ty.name,
        Value::List(List::Owned(items)) => match items.iter().find_map(|item| match item {
            Value::Map(Map::Struct(object)) => Some(&object.ty.name),
            _ => None,
        }) {
            Some(name) => name,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let expected = format!("{owner}.{field}");
    if *nested == expected || !owner.starts_with(crate::environment::OBJECT) {
        return Ok(());
    }
    let message = format!(
        "unexpected type name {nested:?}, expected {expected:?}, which matches field name path from root Object type"
    );
    Err(EvalError::message(message))
}
