//! nftables transactions: a real one and a fake.
//!
//! A [`Transaction`] is a plain value: what to add to and remove from one table. It prints itself in nft's own syntax, is
//! encoded to netlink here (no program is run), and the kernel takes it as a whole or not at all.
//! [`Kernel`] applies it, [`Fake`] checks it against the tables that it holds in memory; both answer [`Nft::list`] alike.
//!
//! Does not know: services, pods, or why a rule exists. Start at [`Transaction`] and [`Statement`].

pub mod conntrack;
mod display;
mod encode;
mod error;
mod fake;
mod kernel;
mod list;
mod monitor;
mod rule;
mod set;
mod transaction;

pub use error::Error;
pub use fake::Fake;
pub use kernel::Kernel;
pub use list::{ListedChain, Listing};
pub use monitor::{Change, Monitor, Notice, Process};
pub use rule::{Bits, Operand, Operator, Rejection, Remember, Rule, Statement, Value, Verdict};
pub use set::{Data, DataKind, DataType, Datum, Element, Set};
pub use transaction::{Chain, ChainKind, Family, Hook, HookPoint, Op, Table, Transaction};

/// Where transactions go.
pub trait Nft: Send + Sync {
    /// Applies all of the transaction, or nothing of it.
    fn apply(&self, transaction: &Transaction) -> Result<(), Error>;

    /// What the table holds, or `None` when there is no such table.
    fn list(&self, table: &Table) -> Result<Option<Listing>, Error>;
}
