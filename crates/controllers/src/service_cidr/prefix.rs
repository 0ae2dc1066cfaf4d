//! Ranges of addresses of both families.

use std::net::IpAddr;

/// A range, as number of its first address and how many bits of an address lie beneath it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    v4: bool,
    first: u128,
    host_bits: u32,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Prefix {
    pub fn parse(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
        let host_bits = bits.checked_sub(length.parse().ok()?)?;
        let prefix = Prefix { v4: address.is_ipv4(), first: 0, host_bits };
        Some(Prefix { first: number(address) & !prefix.host_mask(), ..prefix })
    }

    fn host_mask(&self) -> u128 {
        1u128.checked_shl(self.host_bits).map_or(u128::MAX, |size| size - 1)
    }

    /// Whether all of `other` is in it.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.v4 == other.v4 && self.host_bits >= other.host_bits && other.first & !self.host_mask() == self.first
    }

    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether Services get this address of it: not the network's, nor the broadcast address of an IPv4 network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = number(address);
        let last = self.first | self.host_mask();
        self.v4 == address.is_ipv4()
            && number & !self.host_mask() == self.first
            && number != self.first
            && !(self.v4 && number == last)
    }

    pub fn is_of_family(&self, family: &str) -> bool {
        family == if self.v4 { "IPv4" } else { "IPv6" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_no_addresses_of_services() {
        for (prefix, address, expected) in [
            ("10.0.0.0/24", "10.0.0.1", true),
            ("10.0.0.0/24", "10.0.0.0", false),
            ("10.0.0.0/24", "10.0.0.255", false),
            ("10.0.0.0/24", "10.0.1.1", false),
            ("0.0.0.0/0", "10.0.1.1", true),
            ("fd00::/120", "fd00::ff", true),
            ("fd00::/120", "fd00::", false),
            ("fd00::/120", "10.0.0.1", false),
            ("::/0", "fd00::1", true),
        ] {
            let contains = Prefix::parse(prefix).unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{prefix} {address}");
        }
    }

    #[test]
    fn a_wider_range_covers_a_narrower_one() {
        for (wide, narrow, covers, overlaps) in [
            ("10.0.0.0/16", "10.0.3.0/24", true, true),
            ("10.0.3.0/24", "10.0.0.0/16", false, true),
            ("10.0.0.0/24", "10.0.0.0/24", true, true),
            ("10.0.0.0/24", "10.0.1.0/24", false, false),
            ("::/0", "10.0.1.0/24", false, false),
        ] {
            let (a, b) = (Prefix::parse(wide).unwrap(), Prefix::parse(narrow).unwrap());
            assert_eq!((a.covers(&b), a.overlaps(&b)), (covers, overlaps), "{wide} {narrow}");
        }
        assert!(Prefix::parse("10.0.0.0/33").is_none() && Prefix::parse("x").is_none());
    }
}
