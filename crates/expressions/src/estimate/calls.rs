//! What calls cost by the sizes of their arguments, and what size their results have.

use super::{
    AUTHORIZATION_CHECK, Estimator, Expr, Kind, Known, LIST_CREATE, Literal, Overload, Place, REGEX_LENGTH, Range,
    STRING_TRAVERSAL, STRUCT_CREATE, Size, Type, sized,
};

/// The longest regular expression behind a format.
const MAX_FORMAT_REGEX: f64 = 128.0;

impl<'c> Estimator<'c> {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        function: &str,
        target: Option<&'c Expr>,
        args: &'c [Expr],
    ) -> (Range, Known) {
        let costs: Vec<Range> = target.into_iter().chain(args).map(|arg| self.cost(arg)).collect();
        let operands: Vec<&Expr> = target.into_iter().chain(args).collect();
        match (function, costs.as_slice(), operands.as_slice()) {
            ("_&&_" | "_||_", [left, right], _) => {
                (Range { min: left.min, max: left.plus(*right).max }, sized(Some(Range::fixed(1))))
            }
            ("_?_:_", [condition, yes, no], [_, a, b]) => (condition.plus(yes.union(*no)), self.either(a, b)),
            ("dyn", [cost], [arg]) => (cost.plus(Range::fixed(1)), self.sizes(arg)),
            _ => {
                let sum = costs.into_iter().fold(Range::ZERO, Range::plus);
                let (own, known) = self.function(expr, function, &operands);
                (sum.plus(own), known)
            }
        }
    }

    fn either(&self, a: &Expr, b: &Expr) -> Known {
        let entries = self.known(a).entries.zip(self.known(b).entries).map(|(a, b)| (a.0.union(b.0), a.1.union(b.1)));
        Known { size: Some(self.size(a).union(self.size(b))), entries, place: Place::Nowhere }
    }

    /// The cost over all overloads that the check left open.
    fn function(&self, expr: &Expr, function: &str, operands: &[&Expr]) -> (Range, Known) {
        let overloads = &self.checked.overloads[expr.id];
        let mut total: Option<Range> = None;
        let mut size: Option<Size> = None;
        for overload in overloads {
            let (cost, result) = self.overload(function, overload, operands);
            total = Some(total.map_or(cost, |known| known.union(cost)));
            size = match (size, result) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
        }
        let known = match (function, operands) {
            ("_[_]", [container, ..]) => self.held(container),
            ("_+_", [a, b]) => Known { entries: self.either(a, b).entries, ..sized(size) },
            _ => sized(size),
        };
        (total.unwrap_or(Range::fixed(1)), known)
    }

    /// What a container holds.
    fn held(&self, container: &Expr) -> Known {
        let known = self.known(container);
        let place = self.below(&known.place, |decl| decl.element.clone());
        Known { place, size: known.entries.map(|(_, value)| value), entries: None }
    }

    fn overload(&self, function: &str, overload: &Overload, operands: &[&Expr]) -> (Range, Option<Size>) {
        let size = |index: usize| operands.get(index).map_or(Range::ZERO, |operand| self.size(operand));
        let (first, second) = (size(0), size(1));
        let is_text = matches!(overload.args.first(), Some(Type::String | Type::Bytes));
        let list_argument = matches!(overload.args.first(), Some(Type::List(_)));
        let fixed = |cost: u64| (Range::fixed(cost), None);
        match function {
            "check" => fixed(AUTHORIZATION_CHECK),
            "fieldSelector" | "labelSelector" => (selector(second), None),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" if list_argument => {
                (self.traversal(operands[0]), None)
            }
            "indexOf" | "lastIndexOf" => (text(first), None),
            "url" | "jsonpatch.escapeKey" | "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                (text(first), Some(first))
            }
            "replace" => (first.scale(2.0 * STRING_TRAVERSAL), Some(replaced(first, second, size(2)))),
            "split" => (first.scale(2.0 * STRING_TRAVERSAL), Some(Range { min: 0, max: split_max(first, operands) })),
            "join" => {
                let joined = self.joined(operands[0], operands.get(1).map(|_| second));
                (text(joined), Some(joined))
            }
            "find" | "findAll" => (regex(first, second), Some(Range { min: 0, max: first.max })),
            "matches" => (regex(first, second), None),
            "contains" => (text(first).multiply(text(second)), None),
            "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => (text(first), None),
            "ip" if is_text => (text(first), None),
            "ip.isCanonical" => (first.scale(2.0 * STRING_TRAVERSAL), None),
            "containsIP" | "containsCIDR" => (contains(function, overload, second), None),
            "validate" => (text(second).scale(MAX_FORMAT_REGEX * REGEX_LENGTH), None),
            "format" | "startsWith" if is_text && overload.args.len() == 2 => {
                (text(if function == "format" { first } else { second }), None)
            }
            "endsWith" => (text(second), None),
            "bytes" if is_text => (text(first), Some(Range { min: first.min, max: first.max.saturating_mul(4) })),
            "string" if matches!(overload.args.first(), Some(Type::Bytes)) => {
                (text(first), Some(Range { min: first.min / 4, max: first.max }))
            }
            "strings.quote" => {
                (text(first), Some(Range { min: first.min + 2, max: first.max.saturating_mul(2).saturating_add(2) }))
            }
            "@in" if matches!(overload.args.get(1), Some(Type::List(_))) => (second, None),
            "_==_" if self.compares_at_once(operands) => fixed(1),
            "_==_" | "_!=_" => (comparison(first, second), None),
            "_<_" | "_<=_" | "_>_" | "_>=_" if is_text => (comparison(first, second), None),
            "_+_" if is_text => (text(first.plus(second)), Some(first.plus(second))),
            "_+_" if list_argument => (Range::fixed(1), Some(first.plus(second))),
            _ => self.list_function(function, operands, overload),
        }
    }

    fn compares_at_once(&self, operands: &[&Expr]) -> bool {
        let [a, b] = operands else { return false };
        matches!(self.ty(a), Type::Opaque(_)) && self.ty(a) == self.ty(b)
    }

    fn list_function(&self, function: &str, operands: &[&Expr], overload: &Overload) -> (Range, Option<Size>) {
        let size = |index: usize| operands.get(index).map_or(Range::ZERO, |operand| self.size(operand));
        let (first, second) = (size(0), size(1));
        let allocating = |factor: f64, size: Size| (size.scale(factor).plus(Range::fixed(1 + LIST_CREATE)), Some(size));
        let texts = |index: usize| match overload.args.get(index) {
            Some(Type::List(element)) if matches!(**element, Type::String | Type::Bytes) => 2.0 + STRING_TRAVERSAL,
            _ => 2.0,
        };
        let number = |index: usize| operands.get(index).and_then(|operand| number(operand));
        match function {
            "sets.contains" | "sets.intersects" => (first.multiply(second).plus(Range::fixed(1)), None),
            "sets.equivalent" => (first.multiply(second).scale(2.0).plus(Range::fixed(1)), None),
            "slice" => {
                let length = number(2).unwrap_or(first.max).saturating_sub(number(1).unwrap_or(0));
                allocating(1.0, Range::fixed(length))
            }
            "lists.range" => allocating(1.0, Range::fixed(number(0).unwrap_or(u64::MAX))),
            "reverse" => allocating(1.0, first),
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            "flatten" => {
                allocating(if operands.len() == 1 { 1.0 } else { number(1).unwrap_or(u64::MAX) as f64 }, first)
            }
            "distinct" => allocating(2.0, first.multiply(first)),
            "sort" => allocating(texts(0), first.multiply(first)),
            "@sortByAssociatedKeys" => allocating(texts(1), second.multiply(second)),
            _ => (Range::fixed(1), None),
        }
    }

    /// One per item, and the length of each item that is a text.
    fn traversal(&self, list: &Expr) -> Range {
        let is_text = matches!(self.ty(list), Type::List(element) if matches!(**element, Type::String | Type::Bytes));
        let item = if is_text { text(self.item_size(list)) } else { Range::ZERO };
        self.size(list).multiply(item.plus(Range::fixed(1)))
    }

    fn item_size(&self, list: &Expr) -> Size {
        let declared = self.known(list).place.declared().and_then(|decl| decl.element.clone());
        declared.map_or(Range::UNKNOWN, |decl| Range { min: 0, max: decl.max_elements })
    }

    fn joined(&self, list: &Expr, separator: Option<Size>) -> Size {
        let count = self.size(list);
        let items = count.multiply(self.item_size(list));
        let gaps = Range { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
        separator.map_or(items, |separator| items.plus(separator.multiply(gaps)))
    }
}

fn text(size: Size) -> Range {
    size.scale(STRING_TRAVERSAL)
}

/// One is added, so that an empty string does not make an expensive expression free.
fn regex(subject: Size, pattern: Size) -> Range {
    text(subject.plus(Range::fixed(1))).multiply(pattern.scale(REGEX_LENGTH))
}

fn comparison(a: Size, b: Size) -> Range {
    let max = a.max.min(b.max);
    text(Range { min: u64::from(max > 0), max })
}

fn selector(length: Size) -> Range {
    let requirement = Range::fixed(LIST_CREATE + STRUCT_CREATE);
    Range::fixed(LIST_CREATE).plus(text(length)).plus(length.scale(0.5).multiply(requirement))
}

fn contains(function: &str, overload: &Overload, other: Size) -> Range {
    let address = Range { min: 4, max: 16 };
    let mut cost = text(address.plus(address));
    if function == "containsCIDR" {
        cost = cost.plus(text(address)).plus(Range::fixed(1));
    }
    if overload.args.get(1) == Some(&Type::String) { cost.plus(text(other)) } else { cost }
}

fn number(expr: &Expr) -> Option<u64> {
    match expr.kind {
        Kind::Literal(Literal::Int(value)) => u64::try_from(value).ok(),
        Kind::Literal(Literal::Uint(value)) => Some(value),
        _ => None,
    }
}

fn split_max(subject: Size, operands: &[&Expr]) -> u64 {
    match operands.get(2).map(|limit| &limit.kind) {
        Some(Kind::Literal(Literal::Int(limit))) => u64::try_from(*limit).unwrap_or(u64::MAX),
        _ => subject.max,
    }
}

/// The size of a text with replacements: as many and as large, or as few and as small, as possible.
fn replaced(subject: Size, from: Size, to: Size) -> Size {
    let (max_count, max_rest) = if from.min == 0 {
        (subject.max.saturating_add(1), subject.max)
    } else if to.max <= from.min {
        (0, subject.max)
    } else {
        (subject.max.div_ceil(from.min), 0)
    };
    let (min_count, min_rest) = if from.max == 0 {
        (subject.min.saturating_add(1), subject.min)
    } else if from.max <= to.min {
        (0, subject.min)
    } else {
        (subject.min.div_ceil(from.max), 0)
    };
    let count = Range { min: min_count, max: max_count };
    count.multiply(to).plus(Range { min: min_rest, max: max_rest })
}
