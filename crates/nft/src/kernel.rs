use std::io;
use std::path::Path;

use netlink::socket::{Acknowledgement, NETLINK_NETFILTER, Socket};

use crate::encode::Batch;
use crate::{Error, Listing, Nft, Table, Transaction, list};

/// The kernel's tables in one network namespace.
pub struct Kernel {
    socket: Socket,
}

impl Kernel {
    /// Speaks to the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// Speaks to the namespace that is mounted at `netns`.
    pub fn open_in(netns: &Path) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open_in(NETLINK_NETFILTER, netns)? })
    }

    /// Notifications of changes that were made through this value carry this number.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    fn first_refusal(transaction: &Transaction, batch: &Batch, acks: Vec<Acknowledgement>) -> Result<(), Error> {
        let Some(ack) = acks.into_iter().find(|ack| ack.errno != 0) else {
            return Ok(());
        };
        let culprit = batch.origin(ack.sequence).and_then(|index| transaction.ops.get(index));
        let operation = match culprit {
            Some(op) => shortened(op.in_table(&transaction.table).to_string()),
            None => format!("change table {}", transaction.table),
        };
        Err(Error::Refused { operation, detail: ack.detail, source: io::Error::from_raw_os_error(ack.errno) })
    }
}

impl Nft for Kernel {
    fn apply(&self, transaction: &Transaction) -> Result<(), Error> {
        if transaction.is_empty() {
            return Ok(());
        }
        let batch = Batch::encode(transaction);
        let operation = || format!("change table {}", transaction.table);
        let acks = self.socket.batch(&operation, batch.bytes.as_bytes())?;
        Self::first_refusal(transaction, &batch, acks)
    }

    fn list(&self, table: &Table) -> Result<Option<Listing>, Error> {
        list::read(&self.socket, table)
    }
}

/// An operation with thousands of elements is not a readable error.
fn shortened(operation: String) -> String {
    const LEN_MAX: usize = 300;
    match operation.char_indices().nth(LEN_MAX) {
        None => operation,
        Some((end, _)) => format!("{} …", &operation[..end]),
    }
}
