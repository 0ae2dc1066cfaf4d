//! Netlink's framing: messages, and attributes (type, length, value) that nest.

const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// A buffer of netlink messages under construction. Lengths are filled in when a message or a nest is closed.
#[derive(Default, Debug, Clone)]
pub struct Encoder {
    bytes: Vec<u8>,
    message: usize,
}

/// An open nest of attributes, to be given to [`Encoder::close`].
#[must_use]
pub struct Nest(usize);

impl Encoder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn begin(&mut self, kind: u16, flags: u16, sequence: u32, header: &[u8]) {
        self.message = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        self.pad();
    }

    pub fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.message).expect("a message is far below 4 GiB");
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).expect("callers keep attributes below 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }

    /// A number in network byte order, as nfnetlink wants it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// A string with the terminating NUL that the kernel expects.
    pub fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    pub fn open(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        Nest(at)
    }

    pub fn close(&mut self, nest: Nest) {
        let length = u16::try_from(self.bytes.len() - nest.0).expect("callers keep nests below 64 KiB");
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// How many bytes the open nest holds so far.
    pub fn nest_len(&self, nest: &Nest) -> usize {
        self.bytes.len() - nest.0
    }

    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let nest = self.open(kind);
        fill(self);
        self.close(nest);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// One message as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub port: u32,
    pub payload: &'a [u8],
}

/// The messages in a received datagram; a truncated tail is left out.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(read_u32(bytes, 0)?).ok()?;
        let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER_LEN)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some(Message {
            kind: read_u16(whole, 4)?,
            flags: read_u16(whole, 6)?,
            sequence: read_u32(whole, 8)?,
            port: read_u32(whole, 12)?,
            payload: &whole[HEADER_LEN..],
        })
    })
}

/// The attributes in `bytes` as (type, value); a truncated tail is left out.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(bytes, 0)?);
        let kind = read_u16(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_LEN..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this type.
pub fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A string attribute without its NUL.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

pub fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

pub fn be16(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        let mut encoder = Encoder::new();
        encoder.begin(7, 5, 42, &[1, 2, 3, 4]);
        encoder.string(1, "eth0");
        encoder.nested(2, |nest| nest.be32(3, 9));
        encoder.end();
        let message = messages(encoder.as_bytes()).next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (7, 5, 42));
        let attributes_part = &message.payload[4..];
        assert_eq!(text(find(attributes_part, 1).unwrap()), "eth0");
        assert_eq!(be32(find(find(attributes_part, 2).unwrap(), 3).unwrap()), Some(9));
    }

    #[test]
    fn a_cut_off_message_ends_the_iteration() {
        let mut encoder = Encoder::new();
        encoder.begin(7, 0, 1, &[]);
        encoder.string(1, "a long enough name");
        encoder.end();
        let cut = &encoder.as_bytes()[..encoder.as_bytes().len() - 4];
        assert_eq!(messages(cut).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
