//! Node ports: free and taken numbers.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rand::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    Taken,
    OutOfRange,
    Full,
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
pub fn pick(range: RangeInclusive<u32>, free: impl Fn(u32) -> bool) -> Option<u32> {
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
    fn dynamic_ports_leave_the_lower_band_alone() {
        let mut pool = PortPool::new(30000..=32767);
        assert!((0..200).all(|_| pool.take_any().unwrap() >= 30086));
        assert_eq!(pool.take(29999), Err(PoolError::OutOfRange));
    }
}
