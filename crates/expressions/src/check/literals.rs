//! What is wrong with a literal although its type is right: regular expressions, timestamps, durations.

use crate::ast::{Expr, Kind, Literal};
use crate::library;

use super::Checker;

impl Checker<'_> {
    pub(super) fn literals(&mut self, expr: &Expr) {
        if let Kind::Call { function, target, args } = &expr.kind {
            self.call_literals(function, target.is_some(), args);
        }
        crate::parse::visit_children(&expr.kind, &mut |child| self.literals(child));
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
            "timestamp" if library::time::parse_timestamp(text).is_none() => self.report(*at, "invalid timestamp argument".into()),
            "duration" if library::time::parse_duration(text).is_none() => self.report(*at, "invalid duration argument".into()),
            _ => {}
        }
    }
}
