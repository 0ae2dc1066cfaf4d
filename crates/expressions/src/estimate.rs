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

/// The variable that stands for what has the schema.
const ROOT: &str = "self";

/// Sizes and costs are ranges alike.
type Size = Range;

/// Where in the schema a node stands, by the path of fields and elements that it is written as.
#[derive(Clone, Default)]
enum Place {
    /// It is the result of a call or a literal.
    #[default]
    Nowhere,
    /// The path leads to what the schema does not tell.
    Outside,
    At(Arc<DeclType>),
}

impl Place {
    fn declared(&self) -> Option<&Arc<DeclType>> {
        match self {
            Place::At(decl) => Some(decl),
            Place::Nowhere | Place::Outside => None,
        }
    }

    fn of(decl: Option<Arc<DeclType>>) -> Self {
        decl.filter(|decl| has_sizes(decl)).map_or(Place::Outside, Place::At)
    }
}

/// What is known of a node besides its cost.
#[derive(Clone, Default)]
struct Known {
    place: Place,
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
                (cost, Known { size, entries: Some((Range::fixed(1), values)), place: Place::Nowhere })
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
                (cost, Known { size, entries: held.or(Some((Range::ZERO, Range::ZERO))), place: Place::Nowhere })
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
        let declared = || known.place.declared().map(|decl| Size { min: 0, max: decl.max_elements });
        known.size.or_else(declared).or_else(|| self.ty(expr).is_scalar().then(|| Range::fixed(1)))
    }

    fn size(&self, expr: &Expr) -> Size {
        self.known_size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn ident(&self, name: &str) -> Known {
        if let Some((_, known)) = self.scopes.iter().rev().find(|(known, _)| *known == name) {
            return known.clone();
        }
        Known { place: Place::of(self.environment.variable_type(name).cloned()), ..Known::default() }
    }

    /// The place one step below another. A path drops its first element, which should be the variable: one that begins
    /// behind a call loses its first step instead, and so stands for the schema's root, as it does for upstream.
    fn below(&self, place: &Place, step: impl FnOnce(&DeclType) -> Option<Arc<DeclType>>) -> Place {
        match place {
            Place::Nowhere => Place::of(self.environment.variable_type(ROOT).cloned()),
            Place::Outside => Place::Outside,
            Place::At(decl) => Place::of(step(decl)),
        }
    }

    fn select(&mut self, operand: &'c Expr, field: &str, test: bool) -> (Range, Known) {
        let cost = self.cost(operand);
        if test {
            return (cost, Known::default());
        }
        let own = u64::from(matches!(self.ty(operand), Type::Map(..) | Type::Object(_) | Type::Param(_)));
        let place = self.below(&self.known(operand).place, |decl| decl.field(field).cloned());
        (cost.plus(Range::fixed(own)), Known { place, ..Known::default() })
    }

    fn bind(&mut self, fold: &'c Fold) -> (Range, Known) {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        let known = Known { size: self.known_size(&fold.init), ..self.known(&fold.init) };
        self.scopes.push((&fold.accumulator, known));
        let cost = cost.plus(self.cost(&fold.result));
        self.scopes.pop();
        (cost, self.sizes(&fold.result))
    }

    /// The sizes alone.
    fn sizes(&self, expr: &Expr) -> Known {
        Known { place: Place::Nowhere, size: self.known_size(expr), entries: self.known(expr).entries }
    }

    fn fold(&mut self, fold: &'c Fold) -> (Range, Known) {
        let mut cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        let depth = self.scopes.len();
        let accumulated = Known { place: Place::Nowhere, size: self.accumulator_size(fold), ..self.known(&fold.init) };
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
                Known { size: Some(turns), entries: self.known(&fold.step).entries, place: Place::Nowhere }
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
        let is_map = matches!(self.ty(&fold.range), Type::Map(..));
        let (key_size, value_size) = range.entries.unzip();
        let key = self.below(&range.place, |_| is_map.then(|| Arc::new(DeclType::simple(Type::String))));
        let value = self.below(&range.place, |decl| decl.element.clone());
        (variable(key, key_size), variable(value, value_size))
    }
}

/// A place tells more of a variable than what it was taken from.
fn variable(place: Place, size: Option<Size>) -> Known {
    let size = size.filter(|_| place.declared().is_none());
    Known { place, size, entries: None }
}

fn sized(size: Option<Size>) -> Known {
    Known { size, ..Known::default() }
}

/// A variable of any type has no schema, so nothing is known of its sizes.
fn has_sizes(decl: &DeclType) -> bool {
    decl.ty != Type::Dyn || decl.max_elements > 0
}

fn literal_size(literal: &Literal) -> Option<Size> {
    Some(Range::fixed(match literal {
        Literal::String(text) => text.chars().count() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }))
}
