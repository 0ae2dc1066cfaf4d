//! The static estimate of the cost, from the sizes that declarations and literals give.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{ACCUMULATOR, Expr, Fold, Kind, Literal};
use crate::check::Checked;
use crate::cost::{AUTHORIZATION_CHECK, LIST_CREATE, MAP_CREATE, REGEX_LENGTH, STRING_TRAVERSAL, STRUCT_CREATE};
use crate::decl::DeclType;
use crate::environment::Environment;
use crate::functions::Overload;
use crate::types::Type;

mod calls;
mod range;

pub use range::Range as CostEstimate;
use range::Range;

/// Sizes and costs are ranges alike.
type Size = Range;

/// What is known of a node besides its cost.
#[derive(Clone, Default)]
struct Known {
    /// The declaration of the place that the node names, if it names one.
    place: Option<Arc<DeclType>>,
    size: Option<Size>,
    /// The sizes of what it holds: of keys and of values.
    entries: Option<(Size, Size)>,
}

pub fn estimate(checked: &Checked, environment: &Environment) -> Range {
    let mut estimator = Estimator { checked, environment, scopes: Vec::new(), known: HashMap::new() };
    estimator.cost(&checked.root)
}

struct Estimator<'c> {
    checked: &'c Checked,
    environment: &'c Environment,
    scopes: Vec<(&'c str, Known)>,
    known: HashMap<usize, Known>,
}

impl<'c> Estimator<'c> {
    fn cost(&mut self, expr: &'c Expr) -> Range {
        let (cost, known) = match &expr.kind {
            Kind::Literal(literal) => (Range::ZERO, sized(literal_size(literal))),
            Kind::Ident(name) => (Range::fixed(1), self.ident(name)),
            Kind::Select { operand, field, test } => self.select(operand, field, *test),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(items) => {
                let cost = items.iter().fold(Range::fixed(LIST_CREATE), |sum, item| sum.plus(self.cost(&item.value)));
                let values =
                    items.iter().map(|item| self.size(&item.value)).reduce(Range::union).unwrap_or(Range::ZERO);
                let size = Some(Range::fixed(items.len() as u64));
                (cost, Known { size, entries: Some((Range::fixed(1), values)), place: None })
            }
            Kind::Map(entries) => {
                let mut cost = Range::fixed(MAP_CREATE);
                let mut held: Option<(Size, Size)> = None;
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    let sizes = (self.size(&entry.key), self.size(&entry.value));
                    held = Some(held.map_or(sizes, |(key, value)| (key.union(sizes.0), value.union(sizes.1))));
                }
                let size = Some(Range::fixed(entries.len() as u64));
                (cost, Known { size, entries: held.or(Some((Range::ZERO, Range::ZERO))), place: None })
            }
            Kind::Struct { fields, .. } => {
                let cost =
                    fields.iter().fold(Range::fixed(STRUCT_CREATE), |sum, field| sum.plus(self.cost(&field.value)));
                (cost, Known::default())
            }
            Kind::Fold(fold) if fold.is_bind() => self.bind(fold),
            Kind::Fold(fold) => self.fold(fold),
        };
        self.known.insert(expr.id, known);
        cost
    }

    fn ty(&self, expr: &Expr) -> &'c Type {
        &self.checked.types[expr.id]
    }

    fn known(&self, expr: &Expr) -> Known {
        self.known.get(&expr.id).cloned().unwrap_or_default()
    }

    fn known_size(&self, expr: &Expr) -> Option<Size> {
        let known = self.known(expr);
        let declared = || known.place.as_ref().map(|decl| Size { min: 0, max: decl.max_elements });
        known.size.or_else(declared).or_else(|| self.ty(expr).is_scalar().then(|| Range::fixed(1)))
    }

    fn size(&self, expr: &Expr) -> Size {
        self.known_size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn ident(&self, name: &str) -> Known {
        if let Some((_, known)) = self.scopes.iter().rev().find(|(known, _)| *known == name) {
            return known.clone();
        }
        let declared = self.environment.variable_type(name).filter(|decl| has_sizes(decl));
        Known { place: declared.cloned(), ..Known::default() }
    }

    fn select(&mut self, operand: &'c Expr, field: &str, test: bool) -> (Range, Known) {
        let cost = self.cost(operand);
        if test {
            return (cost, Known::default());
        }
        let own = u64::from(matches!(self.ty(operand), Type::Map(..) | Type::Object(_) | Type::Param(_)));
        let known = Known { place: child(&self.known(operand), field), ..Known::default() };
        (cost.plus(Range::fixed(own)), known)
    }

    fn bind(&mut self, fold: &'c Fold) -> (Range, Known) {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        let known = Known { size: self.known_size(&fold.init), ..self.known(&fold.init) };
        self.scopes.push((&fold.accumulator, known));
        let cost = cost.plus(self.cost(&fold.result));
        self.scopes.pop();
        (cost, Known { size: self.known_size(&fold.result), ..self.known(&fold.result) })
    }

    fn fold(&mut self, fold: &'c Fold) -> (Range, Known) {
        let mut cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        let depth = self.scopes.len();
        let accumulated = Known { place: None, size: self.accumulator_size(fold), ..self.known(&fold.init) };
        self.scopes.push((&fold.accumulator, accumulated));
        let (key, value) = self.loop_variables(fold);
        match &fold.second {
            Some(second) => self.scopes.extend([(fold.variable.as_str(), key), (second.as_str(), value)]),
            None if matches!(self.ty(&fold.range), Type::Map(..)) => self.scopes.push((&fold.variable, key)),
            None => self.scopes.push((&fold.variable, value)),
        }
        let turn = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.scopes.truncate(depth + 1);
        cost = cost.plus(self.cost(&fold.result));
        self.scopes.truncate(depth);
        let turns = self.size(&fold.range);
        cost = cost.plus(turns.multiply(turn));
        let known = match fold.init.kind {
            Kind::List(_) | Kind::Map(_) => {
                Known { size: Some(turns), entries: self.known(&fold.step).entries, place: None }
            }
            _ => sized(self.known_size(&fold.init)),
        };
        (cost, known)
    }

    /// What the accumulator is before the loop; a list that grows has no size yet.
    fn accumulator_size(&self, fold: &Fold) -> Option<Size> {
        if fold.accumulator == ACCUMULATOR { None } else { self.known_size(&fold.init) }
    }

    fn loop_variables(&self, fold: &Fold) -> (Known, Known) {
        let range = self.known(&fold.range);
        let place = range.place.as_ref().and_then(|decl| decl.element.clone());
        let (key, value) = range.entries.unzip();
        let is_map = matches!(self.ty(&fold.range), Type::Map(..));
        let key_place = || range.place.as_ref().filter(|_| is_map).map(|_| Arc::new(DeclType::simple(Type::String)));
        (Known { size: key, place: key_place(), entries: None }, Known { size: value, place, entries: None })
    }
}

fn sized(size: Option<Size>) -> Known {
    Known { size, ..Known::default() }
}

/// A variable of any type has no schema, so nothing is known of its sizes.
fn has_sizes(decl: &DeclType) -> bool {
    decl.ty != Type::Dyn || decl.max_elements > 0
}

/// The declaration below a place.
fn child(known: &Known, field: &str) -> Option<Arc<DeclType>> {
    let place = known.place.as_ref()?;
    let inner = if matches!(place.ty, Type::Optional(_)) { place.element.as_ref()? } else { place };
    inner.field(field).filter(|decl| has_sizes(decl)).cloned()
}

fn literal_size(literal: &Literal) -> Option<Size> {
    Some(Range::fixed(match literal {
        Literal::String(text) => text.chars().count() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }))
}
