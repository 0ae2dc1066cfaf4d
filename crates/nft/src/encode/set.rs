use std::net::Ipv4Addr;

use netlink::wire::Encoder;

use super::{DATA_VALUE, LIST_ELEMENT, comment_data, write_verdict};
use crate::{Data, DataKind, DataType, Datum, Element, Set};

const FLAG_INTERVAL: u32 = 0x04;
const FLAG_MAP: u32 = 0x08;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_DYNAMIC: u32 = 0x20;
const FLAG_CONCATENATION: u32 = 0x80;
const TYPE_VERDICT: u32 = 0xffff_ff00;
const VERDICT_LEN: u32 = 16;
const REGISTER_LEN: usize = 4;
/// Room left below 64 KiB for the element that crosses this mark.
const ELEMENTS_LEN_MAX: usize = 60 * 1024;

pub(super) fn write_set(out: &mut Encoder, set: &Set) {
    out.string(2, &set.name);
    out.be32(3, flags(set));
    out.be32(4, type_number(&set.key));
    out.be32(5, length(&set.key));
    match &set.data {
        None => {}
        Some(DataKind::Verdict) => {
            out.be32(6, TYPE_VERDICT);
            out.be32(7, VERDICT_LEN);
        }
        Some(DataKind::Values(types)) => {
            out.be32(6, type_number(types));
            out.be32(7, length(types));
        }
    }
    out.nested(9, |out| write_description(out, set));
    out.be32(10, 1); // an identifier within the batch; sets are referred to by name
}

fn write_description(out: &mut Encoder, set: &Set) {
    if let Some(capacity) = set.dynamic {
        out.be32(1, capacity);
    }
    if set.interval && set.key.len() > 1 {
        out.nested(2, |out| {
            for part in &set.key {
                out.nested(LIST_ELEMENT, |out| out.be32(1, u32::from(part_len(*part))));
            }
        });
    }
}

fn flags(set: &Set) -> u32 {
    let mut flags = 0;
    if set.data.is_some() {
        flags |= FLAG_MAP;
    }
    if set.interval {
        flags |= FLAG_INTERVAL;
    }
    if set.interval && set.key.len() > 1 {
        flags |= FLAG_CONCATENATION;
    }
    if set.dynamic.is_some() {
        flags |= FLAG_DYNAMIC | FLAG_TIMEOUT;
    }
    flags
}

/// nft's number of a type; those of a concatenation are packed, six bits each.
fn type_number(types: &[DataType]) -> u32 {
    types.iter().fold(0, |packed, part| packed << 6 | part_number(*part))
}

fn part_number(part: DataType) -> u32 {
    match part {
        DataType::Ipv4Addr => 7,
        DataType::InetProto => 12,
        DataType::InetService => 13,
        DataType::Mark => 19,
    }
}

fn part_len(part: DataType) -> u8 {
    match part {
        DataType::Ipv4Addr | DataType::Mark => 4,
        DataType::InetProto => 1,
        DataType::InetService => 2,
    }
}

/// A single part has its own length; in a concatenation each fills whole registers.
fn length(types: &[DataType]) -> u32 {
    match types {
        [single] => u32::from(part_len(*single)),
        several => u32::try_from(several.len() * REGISTER_LEN).expect("a key has a handful of parts"),
    }
}

/// Writes as many of the elements as fit, at least one, and says how many.
pub(super) fn write_elements(out: &mut Encoder, elements: &[Element]) -> usize {
    let nest = out.open(3);
    let mut written = 0;
    for element in elements {
        if written > 0 && out.nest_len(&nest) > ELEMENTS_LEN_MAX {
            break;
        }
        out.nested(LIST_ELEMENT, |out| write_element(out, element));
        written += 1;
    }
    out.close(nest);
    written
}

fn write_element(out: &mut Encoder, element: &Element) {
    out.nested(1, |out| out.attribute(DATA_VALUE, &bytes(&element.key, first_address)));
    if element.key.iter().any(|part| matches!(part, Datum::Prefix(_))) {
        out.nested(10, |out| out.attribute(DATA_VALUE, &bytes(&element.key, last_address)));
    }
    match &element.data {
        None => {}
        Some(Data::Verdict(verdict)) => out.nested(2, |out| write_verdict(out, verdict)),
        Some(Data::Values(values)) => {
            out.nested(2, |out| out.attribute(DATA_VALUE, &bytes(values, first_address)));
        }
    }
    if let Some(timeout) = element.timeout {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        out.attribute(4, &milliseconds.to_be_bytes());
    }
    if let Some(comment) = &element.comment {
        out.attribute(6, &comment_data(comment));
    }
}

fn first_address(part: &Datum) -> Option<Ipv4Addr> {
    match part {
        Datum::Prefix(prefix) => Some(prefix.network()),
        _ => None,
    }
}

fn last_address(part: &Datum) -> Option<Ipv4Addr> {
    match part {
        Datum::Prefix(prefix) => Some(prefix.broadcast()),
        _ => None,
    }
}

fn bytes(parts: &[Datum], of_prefix: fn(&Datum) -> Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.len() * REGISTER_LEN);
    for part in parts {
        match (part, of_prefix(part)) {
            (_, Some(address)) => bytes.extend(address.octets()),
            (part, None) => bytes.extend(datum_bytes(part)),
        }
        if parts.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(REGISTER_LEN), 0);
        }
    }
    bytes
}

fn datum_bytes(part: &Datum) -> Vec<u8> {
    match part {
        Datum::Addr(address) => address.octets().to_vec(),
        Datum::Prefix(prefix) => prefix.network().octets().to_vec(),
        Datum::Proto(number) => vec![*number],
        Datum::Port(port) => port.to_be_bytes().to_vec(),
        Datum::Mark(mark) => mark.to_ne_bytes().to_vec(),
    }
}
