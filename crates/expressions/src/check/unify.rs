//! Unification: what the unknown types of an expression turn out to be.

use std::collections::HashMap;
use std::sync::Arc;

use crate::functions::Overload;
use crate::types::Type;

#[derive(Default)]
pub struct Unifier {
    known: HashMap<u32, Type>,
    next: u32,
    /// What was learnt since the last question, to be forgotten if its answer is no.
    trail: Vec<(u32, Option<Type>)>,
}

impl Unifier {
    pub fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next - 1)
    }

    /// The overload's types with unknowns of their own for its parameters.
    pub fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        let base = self.next;
        self.next += 2;
        let args = overload.args.iter().map(|ty| shift(ty, base)).collect();
        (args, shift(&overload.result, base))
    }

    /// The type with what is known of its unknowns; the rest becomes dynamic if asked.
    pub fn substitute(&self, ty: &Type, to_dyn: bool) -> Type {
        let again = |ty: &Arc<Type>| Arc::new(self.substitute(ty, to_dyn));
        match ty {
            Type::Param(number) => match self.known.get(number) {
                Some(known) => self.substitute(known, to_dyn),
                None if to_dyn => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(element) => Type::List(again(element)),
            Type::Map(key, value) => Type::Map(again(key), again(value)),
            Type::Optional(inner) => Type::Optional(again(inner)),
            Type::Type(inner) => Type::Type(again(inner)),
            other => other.clone(),
        }
    }

    /// Whether the types agree; if so, what was learnt of unknowns is kept.
    pub fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    pub fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        self.trail.clear();
        let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.unify(a, b));
        if !fits {
            self.forget();
        }
        fits
    }

    fn forget(&mut self) {
        while let Some((number, before)) = self.trail.pop() {
            match before {
                Some(before) => self.known.insert(number, before),
                None => self.known.remove(&number),
            };
        }
    }

    fn learn(&mut self, number: u32, ty: Type) {
        let before = self.known.insert(number, ty);
        self.trail.push((number, before));
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(number) = b {
            match self.bind(a, *number) {
                Bound::Fits => return true,
                Bound::Contradicts => return false,
                Bound::Recursive => {}
            }
        }
        if let Type::Param(number) = a {
            return matches!(self.bind(b, *number), Bound::Fits);
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.unify(ak, bk) && self.unify(av, bv),
            _ => a == b,
        }
    }

    /// Learns that the unknown is the type, if that does not contradict what is known.
    fn bind(&mut self, ty: &Type, number: u32) -> Bound {
        if *ty == Type::Param(number) {
            return Bound::Fits;
        }
        if let Some(known) = self.known.get(&number).cloned() {
            if *ty == known {
                return Bound::Fits;
            }
            if !self.unify(ty, &known) {
                return Bound::Contradicts;
            }
            let general = most_general(ty, &known);
            if !self.mentions(&general, number) {
                self.learn(number, general);
            }
            return Bound::Fits;
        }
        if self.mentions(ty, number) {
            return Bound::Recursive;
        }
        self.learn(number, ty.clone());
        Bound::Fits
    }

    fn mentions(&self, ty: &Type, number: u32) -> bool {
        match ty {
            Type::Param(other) => {
                *other == number || self.known.get(other).is_some_and(|known| self.mentions(known, number))
            }
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => self.mentions(inner, number),
            Type::Map(key, value) => self.mentions(key, number) || self.mentions(value, number),
            _ => false,
        }
    }
}

enum Bound {
    Fits,
    Contradicts,
    Recursive,
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp)
}

fn shift(ty: &Type, base: u32) -> Type {
    let again = |ty: &Arc<Type>| Arc::new(shift(ty, base));
    match ty {
        Type::Param(number) => Type::Param(base + number),
        Type::List(element) => Type::List(again(element)),
        Type::Map(key, value) => Type::Map(again(key), again(value)),
        Type::Optional(inner) => Type::Optional(again(inner)),
        Type::Type(inner) => Type::Type(again(inner)),
        other => other.clone(),
    }
}

/// The more general of two types that agree.
pub fn most_general(a: &Type, b: &Type) -> Type {
    if equal_or_less_specific(a, b) { a.clone() } else { b.clone() }
}

fn equal_or_less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => equal_or_less_specific(a, b),
        (Type::Map(ak, av), Type::Map(bk, bv)) => equal_or_less_specific(ak, bk) && equal_or_less_specific(av, bv),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
