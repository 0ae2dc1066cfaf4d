//! The wire format: fields of a message, one after another.

use crate::DecodeError;

/// The highest number that a field can have.
const NUMBER_MAX: u32 = (1 << 29) - 1;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// Something that Kubernetes does not use: skipped.
    Group,
}

impl Payload<'_> {
    /// The complaint that a field of that name does not look like this.
    pub fn wrong(self, field: &str) -> DecodeError {
        let found = match self {
            Payload::Varint(_) => 0,
            Payload::Fixed64(_) => 1,
            Payload::Bytes(_) => 2,
            Payload::Group => 3,
            Payload::Fixed32(_) => 5,
        };
        DecodeError::WrongWireType { field: field.to_owned(), found }
    }
}

/// Reads fields until the message ends; ends after the first that is malformed.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { rest: message }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Eof)?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Overflow)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::Eof);
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.bytes(N)?.try_into().map_err(|_| DecodeError::Eof)
    }

    fn tag(&mut self) -> Result<(u32, u64), DecodeError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        Ok((number.ok_or(DecodeError::Tag(tag >> 3))?, tag & 7))
    }

    fn payload(&mut self, kind: u64) -> Result<Payload<'a>, DecodeError> {
        Ok(match kind {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Eof)?;
                Payload::Bytes(self.bytes(length)?)
            }
            3 => {
                self.skip_group()?;
                Payload::Group
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(DecodeError::WireType(other)),
        })
    }

    /// Up to the end of the group that has begun; without recursion, however deep it is.
    fn skip_group(&mut self) -> Result<(), DecodeError> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.tag()? {
                (_, 3) => depth += 1,
                (_, 4) => depth -= 1,
                (_, kind) => {
                    self.payload(kind)?;
                }
            }
        }
        Ok(())
    }

    fn field(&mut self) -> Result<(u32, Payload<'a>), DecodeError> {
        let (number, kind) = self.tag()?;
        Ok((number, self.payload(kind)?))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Payload<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes fields, one after another.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes) }
    }

    /// Goes on behind what is there.
    pub fn on(out: Vec<u8>) -> Writer {
        Writer { out }
    }

    /// Bytes that are no field.
    pub fn verbatim(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.bytes_head(number, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// What stands before so many bytes.
    pub fn bytes_head(&mut self, number: u32, length: usize) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(length as u64);
    }

    /// How many bytes a field of so many takes.
    pub fn bytes_len(number: u32, length: usize) -> usize {
        varint_len(u64::from(number) << 3 | 2) + varint_len(length as u64) + length
    }

    pub fn varint_field(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number) << 3);
        self.varint(value);
    }

    pub fn fixed64(&mut self, number: u32, bits: u64) {
        self.varint(u64::from(number) << 3 | 1);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    /// A message inside the message. Its length stands before it: room is made once it is known.
    pub fn message(&mut self, number: u32, fill: impl FnOnce(&mut Writer)) {
        self.varint(u64::from(number) << 3 | 2);
        let start = self.out.len();
        fill(self);
        let end = self.out.len();
        self.varint((end - start) as u64);
        let digits = self.out.len() - end;
        self.out[start..].rotate_right(digits);
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.out.push(value.to_le_bytes()[0]);
    }
}
