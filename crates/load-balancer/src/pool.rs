use std::net::Ipv4Addr;
use std::str::FromStr;

use netlink::Ipv4Cidr;

/// The addresses that may be given to services: ranges (`a-b`), networks (`a/24`) and single addresses, with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is neither a range of IPv4 addresses (a-b) nor a network (a/24) nor an address")]
pub struct PoolError(String);

impl Pool {
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&address))
    }

    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.ranges.iter().flat_map(|(first, last)| (u32::from(*first)..=u32::from(*last)).map(Ipv4Addr::from))
    }
}

impl FromStr for Pool {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let ranges: Result<_, _> = parts.map(|part| range(part).ok_or_else(|| PoolError(part.to_owned()))).collect();
        Ok(Self { ranges: ranges? })
    }
}

fn range(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        return (first <= last).then_some((first, last));
    }
    match text.parse::<Ipv4Cidr>() {
        Ok(cidr) if cidr.prefix() < 31 => Some((cidr.nth(1)?, Ipv4Addr::from(u32::from(cidr.broadcast()) - 1))),
        Ok(cidr) => Some((cidr.network(), cidr.broadcast())),
        Err(_) => text.parse().ok().map(|single| (single, single)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_networks_and_single_addresses_make_a_pool() {
        let pool: Pool = "172.28.128.200-172.28.128.201, 10.0.0.0/30,192.0.2.7".parse().unwrap();
        let all: Vec<_> = pool.addresses().map(|address| address.to_string()).collect();
        assert_eq!(all, ["172.28.128.200", "172.28.128.201", "10.0.0.1", "10.0.0.2", "192.0.2.7"]);
        assert!(pool.contains(Ipv4Addr::new(10, 0, 0, 2)) && !pool.contains(Ipv4Addr::new(10, 0, 0, 3)));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["10.0.0.5-10.0.0.1", "x", "10.0.0.0/40"] {
            assert_eq!(text.parse::<Pool>(), Err(PoolError(text.to_owned())));
        }
    }
}
