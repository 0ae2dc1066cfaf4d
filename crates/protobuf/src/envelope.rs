//! What stands around an object: the envelope, and the frames of a watch.

use crate::DecodeError;
use crate::wire::{Payload, Reader, Writer};

/// Tells an envelope from anything else.
pub const MAGIC: &[u8] = b"k8s\0";

/// What stands behind the message: encoding and type of the content. They are protobuf, which is said by saying nothing.
pub const AFTER: &[u8] = &[3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// An object's message with its apiVersion and kind.
pub fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = before(api_version, kind, raw.len());
    out.reserve_exact(raw.len() + AFTER.len());
    out.extend_from_slice(raw);
    out.extend_from_slice(AFTER);
    out
}

/// What stands before a message of so many bytes.
pub fn before(api_version: &str, kind: &str, raw_len: usize) -> Vec<u8> {
    let mut out = Writer::default();
    out.verbatim(MAGIC);
    out.message(1, |meta| {
        meta.bytes(1, api_version.as_bytes());
        meta.bytes(2, kind.as_bytes());
    });
    out.bytes_head(2, raw_len);
    out.finish()
}

/// An event of a watch: the length in four bytes, then a bare `WatchEvent` around the object's envelope.
pub fn event_frame(kind: &str, envelope: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(envelope.len() + kind.len() + 24);
    out.verbatim(&[0; 4]);
    out.bytes(1, kind.as_bytes());
    out.message(2, |object| object.bytes(1, envelope));
    let mut frame = out.finish();
    let length = u32::try_from(frame.len() - 4).expect("an object is smaller than 4 GiB");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[derive(Default)]
pub struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    pub raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub fn open(body: &'a [u8]) -> Result<Envelope<'a>, DecodeError> {
        if body.is_empty() {
            return Err(DecodeError::EmptyData);
        }
        let message = body.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?;
        if message.is_empty() {
            return Err(DecodeError::EmptyBody);
        }
        let mut found = Envelope::default();
        for field in Reader::new(message) {
            match field? {
                (1, Payload::Bytes(meta)) => found.read_meta(meta)?,
                (2, Payload::Bytes(raw)) => found.raw = raw,
                (3 | 4, Payload::Bytes(_)) => {}
                (1, other) => return Err(other.wrong("TypeMeta")),
                (2, other) => return Err(other.wrong("Raw")),
                _ => {}
            }
        }
        Ok(found)
    }

    fn read_meta(&mut self, meta: &'a [u8]) -> Result<(), DecodeError> {
        for field in Reader::new(meta) {
            match field? {
                (1, Payload::Bytes(text)) => self.api_version = utf8(text)?,
                (2, Payload::Bytes(text)) => self.kind = utf8(text)?,
                (1, other) => return Err(other.wrong("APIVersion")),
                (2, other) => return Err(other.wrong("Kind")),
                _ => {}
            }
        }
        Ok(())
    }

    /// apiVersion and kind, each as expected where the envelope does not say.
    pub fn kind_or(&self, expected: (&'a str, &'a str)) -> (&'a str, &'a str) {
        let or = |given: &'a str, expected: &'a str| if given.is_empty() { expected } else { given };
        (or(self.api_version, expected.0), or(self.kind, expected.1))
    }
}

pub fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}
