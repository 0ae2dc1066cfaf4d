//! The tree of an expression after macros are expanded. Every node has a number, under which the check notes its type.

use std::sync::Arc;

/// A node. The tree is as deep as [`crate::limits::MAX_DEPTH`] at most, so it may be walked by recursion.
#[derive(Clone, Debug)]
pub struct Expr {
    pub id: usize,
    /// In characters from the start of the expression.
    pub at: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Literal(Literal),
    Ident(String),
    Select { operand: Box<Expr>, field: String, test: bool },
    Call { function: String, target: Option<Box<Expr>>, args: Vec<Expr> },
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct { name: String, fields: Vec<FieldInit> },
    Fold(Box<Fold>),
}

#[derive(Clone, Debug)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub struct Item {
    pub value: Expr,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct FieldInit {
    pub at: usize,
    pub name: String,
    pub value: Expr,
    pub optional: bool,
}

/// What every comprehension macro becomes: a loop with an accumulator.
#[derive(Clone, Debug)]
pub struct Fold {
    pub variable: String,
    pub second: Option<String>,
    pub range: Expr,
    pub accumulator: String,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// The accumulator's name, which no source text can spell.
pub const ACCUMULATOR: &str = "@result";

impl Fold {
    /// Whether this is `cel.bind` or an optional's map: no loop, only a name for a value.
    pub fn is_bind(&self) -> bool {
        matches!(&self.range.kind, Kind::List(items) if items.is_empty())
            && matches!(self.condition.kind, Kind::Literal(Literal::Bool(false)))
            && self.accumulator != ACCUMULATOR
    }
}

impl Expr {
    /// `a.b.c` as a name, if it is one.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }

    /// Whether the field of a variable is read anywhere: `name.field`, or `name.?field`.
    pub fn selects(&self, name: &str, field: &str) -> bool {
        let is_name = |expr: &Expr| matches!(&expr.kind, Kind::Ident(known) if known == name);
        let is_field = |expr: &Expr| matches!(&expr.kind, Kind::Literal(Literal::String(known)) if **known == *field);
        let here = match &self.kind {
            Kind::Select { operand, field: known, .. } => known == field && is_name(operand),
            Kind::Call { target: None, args, .. } => {
                matches!(args.as_slice(), [operand, known] if is_name(operand) && is_field(known))
            }
            _ => false,
        };
        here || self.children().into_iter().any(|child| child.selects(name, field))
    }

    fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => target.iter().map(AsRef::as_ref).chain(args).collect(),
            Kind::List(items) => items.iter().map(|item| &item.value).collect(),
            Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Kind::Struct { fields, .. } => fields.iter().map(|field| &field.value).collect(),
            Kind::Fold(fold) => vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result],
        }
    }
}
