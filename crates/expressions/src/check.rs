//! The type check: every node gets a type, every call its possible overloads.

use std::collections::{BTreeSet, HashMap};

use regex::Regex;

use crate::ast::{Entry, Expr, FieldInit, Fold, Item, Kind, Literal};
use crate::environment::Environment;
use crate::errors::Issue;
use crate::functions::{self, Overload};
use crate::limits::MAX_ISSUES;
use crate::parse::Parsed;
use crate::types::Type;

mod literals;
mod unify;

use unify::Unifier;

/// A checked tree. The types and overloads are by the numbers of the nodes.
pub struct Checked {
    pub root: Expr,
    pub types: Vec<Type>,
    pub overloads: Vec<Vec<&'static Overload>>,
    /// The variables that are mentioned.
    pub references: BTreeSet<String>,
    /// The regular expressions that are written as literals, compiled.
    pub regexes: HashMap<String, Regex>,
}

pub fn check(parsed: Parsed, environment: &Environment) -> Result<Checked, Vec<Issue>> {
    let Parsed { mut root, nodes } = parsed;
    let mut checker = Checker {
        environment,
        scopes: Vec::new(),
        types: vec![Type::Error; nodes],
        overloads: (0..nodes).map(|_| Vec::new()).collect(),
        references: BTreeSet::new(),
        unifier: Unifier::default(),
        issues: Vec::new(),
        regexes: HashMap::new(),
    };
    checker.expr(&mut root);
    if checker.issues.is_empty() {
        checker.literals(&root, false);
    }
    let Checker { types, overloads, references, unifier, mut issues, regexes, .. } = checker;
    if !issues.is_empty() {
        issues.sort_by_key(|issue| issue.at);
        issues.dedup();
        return Err(issues);
    }
    let types = types.iter().map(|ty| unifier.substitute(ty, true)).collect();
    Ok(Checked { root, types, overloads, references, regexes })
}

struct Checker<'e> {
    environment: &'e Environment,
    /// The variables of loops, innermost last.
    scopes: Vec<(String, Type)>,
    types: Vec<Type>,
    overloads: Vec<Vec<&'static Overload>>,
    references: BTreeSet<String>,
    unifier: Unifier,
    issues: Vec<Issue>,
    regexes: HashMap<String, Regex>,
}

impl Checker<'_> {
    fn report(&mut self, at: usize, message: String) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue { at, message });
        }
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.report(at, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.types[expr.id].clone()
    }

    fn expr(&mut self, expr: &mut Expr) {
        let ty = match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => {
                let name = name.clone();
                self.ident(&name).unwrap_or_else(|| self.undeclared(expr.at, &name))
            }
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => {
                let name = name.clone();
                self.object(expr.at, &name, fields)
            }
            Kind::Fold(fold) => self.fold(fold),
        };
        self.types[expr.id] = ty;
    }

    /// The type of a name: a variable of a loop, of the environment, or a type's own name.
    fn ident(&mut self, name: &str) -> Option<Type> {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return Some(ty.clone());
        }
        if let Some(decl) = self.environment.variable_type(name) {
            self.references.insert(name.into());
            return Some(decl.ty.clone());
        }
        functions::named_type(name).map(|ty| Type::Type(ty.into()))
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        if let Some(name) = expr.qualified_name().filter(|name| !self.shadowed(name))
            && let Some(ty) = self.ident(&name)
        {
            expr.kind = Kind::Ident(name);
            return ty;
        }
        let Kind::Select { operand, field, test } = &mut expr.kind else { return Type::Error };
        self.expr(operand);
        let (operand_type, test) = (self.type_of(operand), *test);
        let field = field.clone();
        let ty = self.field(expr.at, &operand_type, &field, false);
        if test { Type::Bool } else { self.unifier.substitute(&ty, false) }
    }

    /// Whether a loop's variable hides the qualified name.
    fn shadowed(&self, qualified: &str) -> bool {
        let first = qualified.split('.').next().unwrap_or_default();
        self.scopes.iter().any(|(name, _)| name == first)
    }

    fn field(&mut self, at: usize, operand: &Type, field: &str, optional: bool) -> Type {
        let operand = self.unifier.substitute(operand, false);
        let (target, was_optional) = match &operand {
            Type::Optional(inner) => (inner.as_ref().clone(), true),
            _ => (operand, false),
        };
        let ty = match &target {
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.decl.ty.clone(),
                None if object.constructible && object.fields.is_empty() => Type::Dyn,
                None => {
                    self.report(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.unifier.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other if other.is_dyn_or_error() => Type::Dyn,
            other => {
                self.report(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(ty) } else { ty }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id, expr.at);
        let Kind::Call { function, target, args } = &mut expr.kind else { return Type::Error };
        if function == "_?._" {
            return self.optional_select(at, args);
        }
        for arg in args.iter_mut() {
            self.expr(arg);
        }
        let qualified = target.as_deref().and_then(Expr::qualified_name).map(|prefix| format!("{prefix}.{function}"));
        if let Some(name) = qualified.filter(|name| functions::overloads(name).is_some()) {
            *function = name;
            *target = None;
        }
        if let Some(target) = target.as_deref_mut() {
            self.expr(target);
        }
        let Some(overloads) = functions::overloads(function) else {
            let name = function.clone();
            return self.undeclared(at, &name);
        };
        let member = target.is_some();
        let types = target.as_deref().into_iter().chain(args.iter()).map(|arg| self.type_of(arg)).collect::<Vec<_>>();
        if matches!(function.as_str(), "_&&_" | "_||_") {
            let places: Vec<usize> = args.iter().map(|arg| arg.at).collect();
            return self.logical(id, overloads, &types, &places);
        }
        let function = function.clone();
        self.resolve(id, at, &function, overloads, member, types)
    }

    fn logical(&mut self, id: usize, overloads: &'static [Overload], types: &[Type], places: &[usize]) -> Type {
        let mut result = Type::Bool;
        for (ty, at) in types.iter().zip(places) {
            if !self.unifier.assignable(ty, &Type::Bool) {
                let found = self.unifier.substitute(ty, false);
                self.report(*at, format!("expected type 'bool' but found '{found}'"));
                result = Type::Error;
            }
        }
        self.overloads[id] = overloads.iter().collect();
        result
    }

    /// Finds the overloads that fit; several may, where arguments are dynamic.
    fn resolve(
        &mut self,
        id: usize,
        at: usize,
        function: &str,
        overloads: &'static [Overload],
        member: bool,
        types: Vec<Type>,
    ) -> Type {
        let mut result: Option<Type> = None;
        for overload in
            overloads.iter().filter(|overload| overload.member == member && overload.args.len() == types.len())
        {
            let (args, returned) = self.unifier.instantiate(overload);
            if !self.unifier.all_assignable(&types, &args) {
                continue;
            }
            self.overloads[id].push(overload);
            let returned = self.unifier.substitute(&returned, false);
            result = Some(match result {
                None => returned,
                Some(known) if known == Type::Dyn || known == returned => known,
                Some(_) => Type::Dyn,
            });
        }
        result.unwrap_or_else(|| {
            let shown: Vec<_> = types.iter().map(|ty| self.unifier.substitute(ty, true).to_string()).collect();
            let signature = match shown.split_first() {
                Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.report(at, format!("found no matching overload for '{function}' applied to '{signature}'"));
            Type::Error
        })
    }

    fn optional_select(&mut self, at: usize, args: &mut [Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        self.expr(operand);
        self.types[field.id] = Type::String;
        let Kind::Literal(Literal::String(name)) = &field.kind else { return Type::Error };
        let operand_type = self.type_of(operand);
        let ty = self.field(at, &operand_type, name, true);
        self.unifier.substitute(&ty, false)
    }

    /// The type of a value that is optional in a literal, without its optional.
    fn unwrapped(&mut self, value: &Expr, optional: bool) -> Type {
        let ty = self.type_of(value);
        match ty {
            Type::Optional(inner) if optional => inner.as_ref().clone(),
            ty if optional && !ty.is_dyn_or_error() => {
                self.report(value.at, format!("expected type 'optional_type({ty})' but found '{ty}'"));
                ty
            }
            ty => ty,
        }
    }

    /// The type of items of both types. Where they differ it is any; [`literals`] reports that, unless it is wanted.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        match previous {
            None => current,
            Some(previous) if self.unifier.assignable(&previous, &current) => unify::most_general(&previous, &current),
            Some(_) => Type::Dyn,
        }
    }

    fn list(&mut self, items: &mut [Item]) -> Type {
        let mut element = None;
        for Item { value, optional } in items {
            self.expr(value);
            let ty = self.unwrapped(value, *optional);
            element = Some(self.join(element, ty));
        }
        Type::list(element.unwrap_or_else(|| self.unifier.fresh()))
    }

    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut key_type, mut value_type) = (None, None);
        for Entry { key, value, optional } in entries {
            self.expr(key);
            let ty = self.type_of(key);
            key_type = Some(self.join(key_type, ty));
            self.expr(value);
            let ty = self.unwrapped(value, *optional);
            value_type = Some(self.join(value_type, ty));
        }
        let key_type = key_type.unwrap_or_else(|| self.unifier.fresh());
        Type::map(key_type, value_type.unwrap_or_else(|| self.unifier.fresh()))
    }

    fn object(&mut self, at: usize, name: &str, fields: &mut [FieldInit]) -> Type {
        let Some(object) = self.environment.constructible_type(name) else { return self.undeclared(at, name) };
        for FieldInit { at, name, value, optional } in fields {
            self.expr(value);
            let found = self.unwrapped(value, *optional);
            let expected = match object.fields.get(name) {
                Some(field) => field.decl.ty.clone(),
                None if object.fields.is_empty() => Type::Dyn,
                None => {
                    self.report(*at, format!("undefined field '{name}'"));
                    Type::Error
                }
            };
            if !self.unifier.assignable(&expected, &found) {
                self.report(
                    *at,
                    format!("expected type of field '{name}' is '{expected}' but provided type is '{found}'"),
                );
            }
        }
        Type::Object(object)
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        self.expr(&mut fold.range);
        self.expr(&mut fold.init);
        let range = self.unifier.substitute(&self.type_of(&fold.range), false);
        let accumulated = self.type_of(&fold.init);
        let (first, second) = self.loop_types(fold, &range);
        let depth = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulated.clone()));
        self.scopes.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.scopes.push((name.clone(), second));
        }
        self.expr(&mut fold.condition);
        self.assert(&fold.condition, &Type::Bool);
        self.expr(&mut fold.step);
        self.assert(&fold.step, &accumulated);
        self.scopes.truncate(depth + 1);
        self.expr(&mut fold.result);
        self.scopes.truncate(depth);
        self.unifier.substitute(&self.type_of(&fold.result), false)
    }

    /// The types of the loop's variables. With one variable it is the item of a list or the key of a map.
    fn loop_types(&mut self, fold: &Fold, range: &Type) -> (Type, Type) {
        let two = fold.second.is_some();
        match range {
            Type::List(element) if two => (Type::Int, element.as_ref().clone()),
            Type::List(element) => (element.as_ref().clone(), Type::Dyn),
            Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.unifier.assignable(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(fold.range.at, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn assert(&mut self, expr: &Expr, expected: &Type) {
        let found = self.type_of(expr);
        if !self.unifier.assignable(expected, &found) {
            let (expected, found) = (self.unifier.substitute(expected, false), self.unifier.substitute(&found, false));
            self.report(expr.at, format!("expected type '{expected}' but found '{found}'"));
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
