use crate::{Element, Rule, Set};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Ip,
    Inet,
}

/// A table, by family and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    pub family: Family,
    pub name: String,
}

impl Table {
    pub fn ip(name: impl Into<String>) -> Self {
        Self { family: Family::Ip, name: name.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    Nat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// Where in the kernel's path a chain is called, and when among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: ChainKind,
    pub point: HookPoint,
    pub priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    /// None for a chain that only other chains call.
    pub hook: Option<Hook>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Kept as it is when it exists.
    AddTable,
    DeleteTable,
    AddChain(Chain),
    FlushChain(String),
    DeleteChain(String),
    /// Appended to the chain.
    AddRule {
        chain: String,
        rule: Rule,
    },
    AddSet(Set),
    DeleteSet(String),
    FlushSet(String),
    AddElements {
        set: String,
        elements: Vec<Element>,
    },
    DeleteElements {
        set: String,
        elements: Vec<Element>,
    },
}

/// A list of changes to one table, applied as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub table: Table,
    pub ops: Vec<Op>,
}

impl Transaction {
    pub fn new(table: Table) -> Self {
        Self { table, ops: Vec::new() }
    }

    /// Starts from an empty table, whether or not there is one now. Until the transaction is applied the old one stays.
    pub fn replacing(table: Table) -> Self {
        Self { table, ops: vec![Op::AddTable, Op::DeleteTable, Op::AddTable] }
    }

    /// Removes the table, if there is one.
    pub fn removing(table: Table) -> Self {
        Self { table, ops: vec![Op::AddTable, Op::DeleteTable] }
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub fn add_hook_chain(&mut self, name: impl Into<String>, hook: Hook) {
        self.ops.push(Op::AddChain(Chain { name: name.into(), hook: Some(hook) }));
    }

    pub fn add_chain(&mut self, name: impl Into<String>) {
        self.ops.push(Op::AddChain(Chain { name: name.into(), hook: None }));
    }

    pub fn flush_chain(&mut self, name: impl Into<String>) {
        self.ops.push(Op::FlushChain(name.into()));
    }

    pub fn delete_chain(&mut self, name: impl Into<String>) {
        self.ops.push(Op::DeleteChain(name.into()));
    }

    pub fn add_rule(&mut self, chain: impl Into<String>, rule: Rule) {
        self.ops.push(Op::AddRule { chain: chain.into(), rule });
    }

    pub fn add_set(&mut self, set: Set) {
        self.ops.push(Op::AddSet(set));
    }

    pub fn delete_set(&mut self, name: impl Into<String>) {
        self.ops.push(Op::DeleteSet(name.into()));
    }

    pub fn flush_set(&mut self, name: impl Into<String>) {
        self.ops.push(Op::FlushSet(name.into()));
    }

    pub fn add_elements(&mut self, set: impl Into<String>, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.ops.push(Op::AddElements { set: set.into(), elements });
        }
    }

    pub fn delete_elements(&mut self, set: impl Into<String>, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.ops.push(Op::DeleteElements { set: set.into(), elements });
        }
    }
}
