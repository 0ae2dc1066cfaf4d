use std::path::Path;

use netlink::Notifications;
use netlink::socket::NETLINK_NETFILTER;
use netlink::wire::{self, Message, be32, find, messages};

use crate::Error;
use crate::encode::{
    DEL_CHAIN, DEL_RULE, DEL_SET, DEL_SET_ELEMENT, DEL_TABLE, NEW_CHAIN, NEW_GENERATION, NEW_RULE, NEW_SET,
    NEW_SET_ELEMENT, NEW_TABLE, SUBSYSTEM, TABLE,
};

const GROUP_NFTABLES: u32 = 7;
/// A transaction of thousands of elements is remembered by its first changes only.
const CHANGES_MAX: usize = 256;

/// Who made a change: the thread's number (a program of one thread has its process's) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    pub name: String,
}

/// One change within a transaction, in words: `deleted`, `chain services`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub table: String,
    pub deleted: bool,
    pub object: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A transaction was committed. `port` tells whose socket it came from (see [`crate::Kernel::port`]).
    Committed { port: u32, by: Process, changes: Vec<Change> },
    /// Notifications were lost: look at the tables themselves.
    Lost,
}

/// Notifications of every change to the tables of one network namespace.
pub struct Monitor {
    notifications: Notifications,
    pending: Vec<Change>,
    ready: std::collections::VecDeque<Notice>,
}

impl Monitor {
    /// Listens in the namespace of the calling thread. Must be called inside a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        Ok(Self::new(Notifications::open(NETLINK_NETFILTER, &[GROUP_NFTABLES])?))
    }

    /// Listens in the namespace mounted at `netns`. Must be called inside a tokio runtime.
    pub fn open_in(netns: &Path) -> Result<Self, Error> {
        Ok(Self::new(Notifications::open_in(NETLINK_NETFILTER, &[GROUP_NFTABLES], netns)?))
    }

    fn new(notifications: Notifications) -> Self {
        Self { notifications, pending: Vec::new(), ready: std::collections::VecDeque::new() }
    }

    /// Waits for the next transaction of anybody. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Notice, Error> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Ok(notice);
            }
            match self.notifications.receive().await? {
                None => {
                    self.pending.clear();
                    return Ok(Notice::Lost);
                }
                Some(bytes) => messages(&bytes).for_each(|message| self.take(message)),
            }
        }
    }

    fn take(&mut self, message: Message<'_>) {
        let fields = message.payload.get(4..).unwrap_or_default();
        match message.kind {
            kind if kind >> 8 != SUBSYSTEM => {}
            kind if kind & 0xff == NEW_GENERATION => self.commit(message.port, fields),
            kind if self.pending.len() < CHANGES_MAX => self.pending.extend(read_change(kind & 0xff, fields)),
            _ => {}
        }
    }

    fn commit(&mut self, port: u32, fields: &[u8]) {
        let by = Process {
            id: find(fields, 2).and_then(be32).unwrap_or_default(),
            name: find(fields, 3).map(wire::text).unwrap_or_default(),
        };
        let changes = std::mem::take(&mut self.pending);
        self.ready.push_back(Notice::Committed { port, by, changes });
    }
}

fn read_change(kind: u16, fields: &[u8]) -> Option<Change> {
    let named = |noun: &str, attribute| Some(format!("{noun} {}", wire::text(find(fields, attribute)?)));
    let object = match kind {
        NEW_TABLE | DEL_TABLE => Some("table".to_owned()),
        NEW_CHAIN | DEL_CHAIN => named("chain", 3),
        NEW_RULE | DEL_RULE => named("rule in chain", 2),
        NEW_SET | DEL_SET => named("set", 2),
        NEW_SET_ELEMENT | DEL_SET_ELEMENT => named("element of", 2),
        _ => None,
    };
    let deleted = matches!(kind, DEL_TABLE | DEL_CHAIN | DEL_RULE | DEL_SET | DEL_SET_ELEMENT);
    Some(Change { table: wire::text(find(fields, TABLE)?), deleted, object: object? })
}
