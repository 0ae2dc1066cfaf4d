//! Lists of messages that are there already, to be written piece by piece.

use api::proto::{self, Type};
use serde_json::Value;

use crate::EncodeError;
use crate::envelope;
use crate::wire::Writer;

/// What stands around the items of a list and between them.
pub struct List {
    items: u32,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl List {
    /// The envelope says how long all of it is, so the lengths of the items come first.
    pub fn new(
        api_version: &str,
        kind: &str,
        metadata: &Value,
        lengths: impl Iterator<Item = usize>,
    ) -> Result<List, EncodeError> {
        let no_list = || EncodeError::NoMessage { kind: kind.to_owned() };
        let message = crate::message(api_version, kind).ok_or_else(no_list)?;
        let fields = message.field_named("metadata").zip(message.field_named("items"));
        let (first, items) = fields.ok_or_else(no_list)?;
        let Type::Message(inner) = first.ty else { return Err(no_list()) };
        let mut around = Writer::default();
        around.bytes(first.number.into(), &crate::raw(proto::by_index(inner), metadata)?);
        let (around, items_number) = (around.finish(), items.number.into());
        let length = around.len() + lengths.map(|length| Writer::bytes_len(items_number, length)).sum::<usize>();
        let (mut head, mut tail) = (envelope::before(api_version, kind, length), Vec::new());
        // Fields stand in the order of their numbers.
        if first.number < items.number { &mut head } else { &mut tail }.extend(around);
        tail.extend_from_slice(envelope::AFTER);
        Ok(List { items: items_number, head, tail })
    }

    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// An item, by its own message.
    pub fn item(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut writer = Writer::on(std::mem::take(out));
        writer.bytes(self.items, raw);
        *out = writer.finish();
    }

    pub fn tail(&self) -> &[u8] {
        &self.tail
    }
}
