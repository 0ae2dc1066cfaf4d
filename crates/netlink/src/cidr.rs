use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 address with a prefix length, as in `10.244.1.0/24`. The host bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an IPv4 CIDR such as 10.244.1.0/24")]
pub struct CidrError(String);

impl Ipv4Cidr {
    /// `None` when the prefix is longer than 32 bits.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        match prefix <= 32 {
            true => Some(Self { address, prefix }),
            false => None,
        }
    }

    /// The single address as a /32.
    pub const fn host(address: Ipv4Addr) -> Self {
        Self { address, prefix: 32 }
    }

    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The first address of the network.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    /// The last address of the network.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !self.mask())
    }

    /// The same network without host bits.
    pub fn truncated(self) -> Self {
        Self { address: self.network(), prefix: self.prefix }
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.network())
    }

    /// The address `offset` after the network's first, if it lies inside.
    pub fn nth(self, offset: u32) -> Option<Ipv4Addr> {
        let address = u32::from(self.network()).checked_add(offset).map(Ipv4Addr::from)?;
        self.contains(address).then_some(address)
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_its_first_last_and_nth_address() {
        let cidr: Ipv4Cidr = "10.244.1.7/24".parse().unwrap();
        assert_eq!(cidr.network().to_string(), "10.244.1.0");
        assert_eq!(cidr.broadcast().to_string(), "10.244.1.255");
        assert_eq!(cidr.nth(1).unwrap().to_string(), "10.244.1.1");
        assert_eq!(cidr.nth(256), None);
        assert!(cidr.contains(Ipv4Addr::new(10, 244, 1, 200)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 244, 2, 1)));
    }

    #[test]
    fn the_whole_internet_is_a_network_too() {
        let all: Ipv4Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.244.1.0", "10.244.1.0/33", "x/24", "", "10.0.0.0/-1"] {
            assert!(text.parse::<Ipv4Cidr>().is_err(), "{text}");
        }
    }
}
