//! Sets of free and taken numbers.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use rand::Rng;

use crate::config::Ipv4Cidr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    Taken,
    OutOfRange,
    Full,
}

/// Cluster IPs. The lower part of the range is kept for addresses that are asked for.
pub struct AddressPool {
    cidr: Ipv4Cidr,
    taken: HashSet<Ipv4Addr>,
}

impl AddressPool {
    pub fn new(cidr: Ipv4Cidr) -> AddressPool {
        AddressPool { cidr, taken: HashSet::new() }
    }

    pub fn cidr(&self) -> Ipv4Cidr {
        self.cidr
    }

    /// Offsets that can be given: neither the network's nor the broadcast address.
    fn offsets(&self) -> RangeInclusive<u32> {
        let last = u32::try_from(self.cidr.size().saturating_sub(2)).unwrap_or(u32::MAX);
        1..=last
    }

    pub fn take(&mut self, address: Ipv4Addr) -> Result<(), PoolError> {
        let edges = [self.cidr.at(0), self.cidr.at(u32::try_from(self.cidr.size() - 1).unwrap_or(u32::MAX))];
        if !self.cidr.contains(address) || edges.contains(&address) {
            return Err(PoolError::OutOfRange);
        }
        if self.taken.insert(address) { Ok(()) } else { Err(PoolError::Taken) }
    }

    pub fn take_any(&mut self) -> Result<Ipv4Addr, PoolError> {
        let offsets = self.offsets();
        let reserved = band(self.cidr.size());
        let upper = (offsets.start() + reserved).min(*offsets.end())..=*offsets.end();
        let (cidr, taken) = (self.cidr, &self.taken);
        let free = |offset: u32| !taken.contains(&cidr.at(offset));
        let found = pick(upper, free).or_else(|| pick(offsets, free)).ok_or(PoolError::Full)?;
        let address = self.cidr.at(found);
        self.taken.insert(address);
        Ok(address)
    }

    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }

    pub fn taken(&self) -> Vec<Ipv4Addr> {
        self.taken.iter().copied().collect()
    }
}

/// Upstream's size of the lower band: min(max(16, size/16), 256).
fn band(size: u64) -> u32 {
    u32::try_from((size / 16).clamp(16, 256)).unwrap_or(256)
}

/// Node ports. A lower part is kept for ports that are asked for.
pub struct PortPool {
    range: RangeInclusive<u16>,
    taken: HashSet<u16>,
}

impl PortPool {
    pub fn new(range: RangeInclusive<u16>) -> PortPool {
        PortPool { range, taken: HashSet::new() }
    }

    pub fn range(&self) -> &RangeInclusive<u16> {
        &self.range
    }

    pub fn take(&mut self, port: u16) -> Result<(), PoolError> {
        if !self.range.contains(&port) {
            return Err(PoolError::OutOfRange);
        }
        if self.taken.insert(port) { Ok(()) } else { Err(PoolError::Taken) }
    }

    pub fn take_any(&mut self) -> Result<u16, PoolError> {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let size = last - first + 1;
        let reserved = if size < 16 { 0 } else { (size / 32).clamp(16, 128) };
        let taken = &self.taken;
        let free = |port: u32| u16::try_from(port).is_ok_and(|port| !taken.contains(&port));
        let found = pick(first + reserved..=last, free).or_else(|| pick(first..=last, free)).ok_or(PoolError::Full)?;
        let port = u16::try_from(found).map_err(|_| PoolError::Full)?;
        self.taken.insert(port);
        Ok(port)
    }

    pub fn release(&mut self, port: u16) {
        self.taken.remove(&port);
    }

    pub fn taken(&self) -> Vec<u16> {
        self.taken.iter().copied().collect()
    }
}

/// A free number: from a random place on, once around.
fn pick(range: RangeInclusive<u32>, free: impl Fn(u32) -> bool) -> Option<u32> {
    if range.is_empty() {
        return None;
    }
    let from = rand::rng().random_range(range.clone());
    (from..=*range.end()).chain(*range.start()..from).find(|number| free(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_range_is_given_whole_and_then_full() {
        let mut pool = AddressPool::new("10.0.0.0/29".parse().unwrap());
        let mut all: Vec<Ipv4Addr> = (0..6).map(|_| pool.take_any().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), pool.take_any()), (6, Err(PoolError::Full)));
        assert_eq!(pool.take(all[0]), Err(PoolError::Taken));
        assert_eq!(pool.take("10.0.0.7".parse().unwrap()), Err(PoolError::OutOfRange));
        assert_eq!(pool.take("10.0.0.8".parse().unwrap()), Err(PoolError::OutOfRange));
        pool.release(all[0]);
        assert_eq!(pool.take_any(), Ok(all[0]));
    }

    #[test]
    fn dynamic_ports_leave_the_lower_band_alone() {
        let mut pool = PortPool::new(30000..=32767);
        assert!((0..200).all(|_| pool.take_any().unwrap() >= 30086));
        assert_eq!(pool.take(29999), Err(PoolError::OutOfRange));
    }
}
