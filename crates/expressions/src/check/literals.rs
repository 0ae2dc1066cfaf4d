//! What is wrong with a literal although it has a type: mixed items, regular expressions, timestamps, durations.

use crate::ast::{Expr, Kind, Literal};
use crate::library;
use crate::types::Type;

use super::Checker;

impl Checker<'_> {
    /// Looks through the tree. Literals inside `format(...)` may mix types.
    pub(super) fn literals(&mut self, expr: &Expr, mixes: bool) {
        let mut mixes = mixes;
        match &expr.kind {
            Kind::Call { function, target, args } => {
                self.call_literals(function, target.is_some(), args);
                mixes |= function == "format";
            }
            Kind::List(items) if !mixes => self.same_types(items.iter().map(|item| (&item.value, item.optional))),
            Kind::Map(entries) if !mixes => {
                self.same_types(entries.iter().map(|entry| (&entry.key, false)));
                self.same_types(entries.iter().map(|entry| (&entry.value, entry.optional)));
            }
            _ => {}
        }
        crate::parse::visit_children(&expr.kind, &mut |child| self.literals(child, mixes));
    }

    fn same_types<'x>(&mut self, values: impl Iterator<Item = (&'x Expr, bool)>) {
        let mut first: Option<Type> = None;
        for (value, optional) in values {
            let ty = match self.unifier.substitute(&self.types[value.id], true) {
                Type::Optional(inner) if optional => inner.as_ref().clone(),
                ty => ty,
            };
            match &first {
                None => first = Some(ty),
                Some(known) if *known == ty => {}
                Some(known) => {
                    let message = format!("expected type '{known}' but found '{ty}'");
                    return self.report(value.at, message);
                }
            }
        }
    }

    fn call_literals(&mut self, function: &str, member: bool, args: &[Expr]) {
        let argument = match (function, member) {
            ("matches", false) => args.get(1),
            _ => args.first(),
        };
        let Some(Expr { at, kind: Kind::Literal(Literal::String(text)), .. }) = argument else { return };
        match function {
            "matches" => match library::regex(text) {
                Ok(regex) => drop(self.regexes.insert(text.to_string(), regex)),
                Err(_) => self.report(*at, "invalid matches argument".into()),
            },
            // Upstream finds these at run time only.
            "find" | "findAll" => {
                if let Ok(regex) = library::regex(text) {
                    self.regexes.insert(text.to_string(), regex);
                }
            }
            "timestamp" if library::time::parse_timestamp(text).is_none() => {
                self.report(*at, "invalid timestamp argument".into())
            }
            "duration" if library::time::parse_duration(text).is_none() => {
                self.report(*at, "invalid duration argument".into())
            }
            _ => {}
        }
    }
}
