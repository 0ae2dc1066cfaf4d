//! Transactions to netlink messages. Numbers are those of `linux/netfilter/nf_tables.h`.

mod rule;
mod set;

use netlink::wire::Encoder;

use crate::{Chain, ChainKind, Family, Hook, HookPoint, Op, Table, Transaction, Verdict};

pub(crate) const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

pub(crate) const NEW_TABLE: u16 = 0;
pub(crate) const GET_TABLE: u16 = 1;
pub(crate) const DEL_TABLE: u16 = 2;
pub(crate) const NEW_CHAIN: u16 = 3;
pub(crate) const GET_CHAIN: u16 = 4;
pub(crate) const DEL_CHAIN: u16 = 5;
pub(crate) const NEW_RULE: u16 = 6;
pub(crate) const GET_RULE: u16 = 7;
pub(crate) const DEL_RULE: u16 = 8;
pub(crate) const NEW_SET: u16 = 9;
pub(crate) const GET_SET: u16 = 10;
pub(crate) const DEL_SET: u16 = 11;
pub(crate) const NEW_SET_ELEMENT: u16 = 12;
pub(crate) const GET_SET_ELEMENT: u16 = 13;
pub(crate) const DEL_SET_ELEMENT: u16 = 14;
pub(crate) const NEW_GENERATION: u16 = 15;
pub(crate) const GET_GENERATION: u16 = 16;

const REQUEST: u16 = 0x001;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// All first attributes of nf_tables messages are the table's name.
pub(crate) const TABLE: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const LIST_ELEMENT: u16 = 1;
/// The comment's place in the type-length-value list that nft keeps in user data.
pub(crate) const UDATA_COMMENT: u8 = 0;
const COMMENT_LEN_MAX: usize = 127;

/// A whole batch, and for each of its messages which operation it stems from.
pub(crate) struct Batch {
    pub(crate) bytes: Encoder,
    origins: Vec<usize>,
}

impl Batch {
    pub(crate) fn encode(transaction: &Transaction) -> Self {
        let mut batch = Self { bytes: Encoder::new(), origins: Vec::new() };
        batch.bytes.begin(BATCH_BEGIN, REQUEST, 0, &generic_header(0, SUBSYSTEM));
        batch.bytes.end();
        for (index, op) in transaction.ops.iter().enumerate() {
            let mut writer = Writer { batch: &mut batch, table: &transaction.table, origin: index };
            writer.op(op);
        }
        batch.bytes.begin(BATCH_END, REQUEST, 0, &generic_header(0, SUBSYSTEM));
        batch.bytes.end();
        batch
    }

    /// The operation that a message of the batch stems from; sequence 0 is the batch as a whole.
    pub(crate) fn origin(&self, sequence: u32) -> Option<usize> {
        let index = usize::try_from(sequence).ok()?.checked_sub(1)?;
        self.origins.get(index).copied()
    }
}

pub(crate) fn message_kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

pub(crate) fn generic_header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
    }
}

/// Writes the messages of one operation.
struct Writer<'a> {
    batch: &'a mut Batch,
    table: &'a Table,
    origin: usize,
}

impl Writer<'_> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::AddTable => self.message(NEW_TABLE, CREATE, |_| {}),
            Op::DeleteTable => self.message(DEL_TABLE, 0, |_| {}),
            Op::AddChain(chain) => self.message(NEW_CHAIN, CREATE, |out| write_chain(out, chain)),
            Op::FlushChain(chain) => self.message(DEL_RULE, 0, |out| out.string(2, chain)),
            Op::DeleteChain(chain) => self.message(DEL_CHAIN, 0, |out| out.string(3, chain)),
            Op::AddRule { chain, rule } => self.message(NEW_RULE, CREATE | APPEND, |out| {
                out.string(2, chain);
                rule::write(out, rule);
            }),
            Op::AddSet(new) => self.message(NEW_SET, CREATE, |out| set::write_set(out, new)),
            Op::DeleteSet(name) => self.message(DEL_SET, 0, |out| out.string(2, name)),
            Op::FlushSet(name) => self.message(DEL_SET_ELEMENT, 0, |out| out.string(2, name)),
            Op::AddElements { set, elements } => self.elements(NEW_SET_ELEMENT, CREATE, set, elements),
            Op::DeleteElements { set, elements } => self.elements(DEL_SET_ELEMENT, 0, set, elements),
        }
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Encoder)) {
        self.batch.origins.push(self.origin);
        let sequence = u32::try_from(self.batch.origins.len()).expect("a batch has far fewer messages");
        let header = generic_header(family_number(self.table.family), 0);
        let out = &mut self.batch.bytes;
        out.begin(message_kind(kind), REQUEST | flags, sequence, &header);
        out.string(TABLE, &self.table.name);
        fill(out);
        out.end();
    }

    /// Elements go into as few messages as the 64 KiB of an attribute allow.
    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[crate::Element]) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut written = 0;
            self.message(kind, flags, |out| {
                out.string(2, set);
                written = set::write_elements(out, rest);
            });
            rest = &rest[written..];
        }
    }
}

fn write_chain(out: &mut Encoder, chain: &Chain) {
    out.string(3, &chain.name);
    if let Some(hook) = &chain.hook {
        out.nested(4, |out| write_hook(out, hook));
        out.string(7, chain_type(hook.kind));
        out.be32(5, 1); // policy accept
    }
}

fn write_hook(out: &mut Encoder, hook: &Hook) {
    out.be32(1, hook_number(hook.point));
    out.be32(2, hook.priority.cast_unsigned());
}

fn chain_type(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}

fn hook_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
    }
}

fn write_verdict(out: &mut Encoder, verdict: &Verdict) {
    let code: i32 = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Jump(_) => -3,
        Verdict::Goto(_) => -4,
        Verdict::Return => -5,
    };
    out.nested(DATA_VERDICT, |out| {
        out.be32(1, code.cast_unsigned());
        if let Some(chain) = verdict.chain() {
            out.string(2, chain);
        }
    });
}

/// A comment as nft stores and shows it; longer ones are cut.
fn comment_data(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().take(COMMENT_LEN_MAX).chain([0]).collect();
    let length = u8::try_from(text.len()).expect("cut to less than 256 bytes");
    [&[UDATA_COMMENT, length][..], &text].concat()
}
