//! Cluster IPs: which of all ready ServiceCIDRs' addresses is free.
//!
//! An address is taken while there is an IPAddress of its name, or while a Service that gets it is on its way into the store.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use rand::Rng;
use serde_json::Value;
use store::{Key, Snapshot};

use super::pool::pick;
use crate::config::Ipv4Cidr;

/// Why no address is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("provided IP is already allocated")]
    Taken,
    /// No ready range has it.
    #[error("the provided network does not match the current range")]
    Mismatched,
    /// A dry run looks at one range only.
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    OutOfRange(Ipv4Addr, Ipv4Cidr),
    #[error("allocator not ready")]
    NotReady,
    #[error("range is full")]
    Full,
}

/// A range, and whether one of the ServiceCIDRs that have it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub cidr: Ipv4Cidr,
    pub ready: bool,
}

impl Range {
    /// Neither the network's address nor that of the broadcast.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let last = u32::try_from(self.cidr.size() - 1).unwrap_or(u32::MAX);
        self.cidr.contains(address) && address != self.cidr.at(0) && address != self.cidr.at(last)
    }

    /// A free address: of the upper part first, as the lower one is kept for addresses that are asked for.
    fn pick(&self, free: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let last = u32::try_from(self.cidr.size().saturating_sub(2)).unwrap_or(u32::MAX);
        let kept = band(self.cidr.size());
        let is_free = |offset: u32| free(self.cidr.at(offset));
        let parts: [RangeInclusive<u32>; 2] = [1 + kept..=last, 1..=kept];
        let offset = parts.into_iter().find_map(|part| pick(part, is_free))?;
        Some(self.cidr.at(offset))
    }
}

/// How many addresses the lower part has: min(max(16, size/16), 256), and none in small ranges.
fn band(size: u64) -> u32 {
    if size <= 16 {
        return 0;
    }
    u32::try_from((size / 16).clamp(16, 256)).unwrap_or(256)
}

/// The IPv4 ranges of all ServiceCIDRs.
pub fn ranges(snapshot: &Snapshot) -> Vec<Range> {
    let prefix = Key::prefix("networking.k8s.io", "servicecidrs", None);
    let mut all: Vec<Range> = Vec::new();
    for (_, object) in snapshot.range(&prefix, None) {
        let service_cidr = object.value();
        let ready = is_ready(&service_cidr);
        for cidr in cidrs(&service_cidr) {
            match all.iter_mut().find(|range| range.cidr == cidr) {
                Some(range) => range.ready |= ready,
                None => all.push(Range { cidr, ready }),
            }
        }
    }
    all
}

fn cidrs(service_cidr: &Value) -> impl Iterator<Item = Ipv4Cidr> {
    let list = service_cidr.pointer("/spec/cidrs").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|cidr| cidr.as_str()?.parse().ok())
}

/// One without a condition is ready: the controller may not have come to it.
fn is_ready(service_cidr: &Value) -> bool {
    let conditions = service_cidr.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    ready.is_none_or(|condition| condition["status"] == "True")
        && apimachinery::object::deletion_timestamp(service_cidr).is_none()
}

/// What one write finds.
pub struct Addresses<'a> {
    pub ranges: Vec<Range>,
    /// Whether there is an IPAddress.
    pub is_stored: &'a dyn Fn(Ipv4Addr) -> bool,
    pub on_the_way: &'a mut HashSet<Ipv4Addr>,
    /// Nothing is taken, and nothing that is taken matters.
    pub dry_run: bool,
}

impl Addresses<'_> {
    /// Takes an address that is asked for.
    pub fn take(&mut self, address: Ipv4Addr) -> Result<(), AddressError> {
        if self.dry_run {
            let range = self.one()?;
            let valid = range.contains(address);
            return if valid { Ok(()) } else { Err(AddressError::OutOfRange(address, range.cidr)) };
        }
        if !self.ranges.iter().any(|range| range.ready && range.contains(address)) {
            return Err(AddressError::Mismatched);
        }
        if (self.is_stored)(address) || !self.on_the_way.insert(address) {
            return Err(AddressError::Taken);
        }
        Ok(())
    }

    /// Takes any address, of any ready range.
    pub fn take_any(&mut self) -> Result<Ipv4Addr, AddressError> {
        if self.dry_run {
            return self.one().map(|range| range.cidr.at(0));
        }
        let ready: Vec<&Range> = self.ranges.iter().filter(|range| range.ready).collect();
        if ready.is_empty() {
            return Err(AddressError::Full);
        }
        let first = rand::rng().random_range(0..ready.len());
        let free = |address: Ipv4Addr| !self.on_the_way.contains(&address) && !(self.is_stored)(address);
        let address = ready.iter().cycle().skip(first).take(ready.len()).find_map(|range| range.pick(free));
        let address = address.ok_or(AddressError::Full)?;
        self.on_the_way.insert(address);
        Ok(address)
    }

    /// The range that a dry run looks at.
    fn one(&self) -> Result<Range, AddressError> {
        self.ranges.iter().find(|range| range.ready).copied().ok_or(AddressError::NotReady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(cidr: &str, ready: bool) -> Range {
        Range { cidr: cidr.parse().unwrap(), ready }
    }

    fn at(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn small_ranges_are_given_whole_and_then_full() {
        let mut on_the_way = HashSet::new();
        let ranges = vec![range("10.0.0.0/29", true), range("10.1.0.0/30", true), range("10.2.0.0/24", false)];
        let is_stored = |address: Ipv4Addr| address == at("10.0.0.3");
        let mut addresses = Addresses { ranges, is_stored: &is_stored, on_the_way: &mut on_the_way, dry_run: false };
        let mut all: Vec<Ipv4Addr> = (0..7).map(|_| addresses.take_any().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), addresses.take_any()), (7, Err(AddressError::Full)));
        assert!(!all.contains(&at("10.0.0.3")));
        assert_eq!(addresses.take(at("10.0.0.3")), Err(AddressError::Taken));
        for edge in ["10.0.0.0", "10.0.0.7", "10.2.0.9", "10.9.0.1"] {
            assert_eq!(addresses.take(at(edge)), Err(AddressError::Mismatched), "{edge}");
        }
    }

    #[test]
    fn the_lower_part_is_left_to_those_who_ask() {
        for (cidr, first) in [("10.0.0.0/27", 17), ("10.0.0.0/24", 17), ("10.0.0.0/16", 257), ("10.0.0.0/28", 1)] {
            let range = range(cidr, true);
            let lowest = (0..500).filter_map(|_| range.pick(|_| true)).min().unwrap();
            assert!(lowest >= range.cidr.at(first), "{cidr}: {lowest}");
        }
        let upper_full = range("10.0.0.0/24", true).pick(|address| address < at("10.0.0.17"));
        assert!(upper_full.is_some_and(|address| address < at("10.0.0.17")));
    }

    #[test]
    fn a_dry_run_takes_nothing() {
        let mut on_the_way = HashSet::new();
        let ranges = vec![range("10.0.0.0/24", true)];
        let mut addresses = Addresses { ranges, is_stored: &|_| true, on_the_way: &mut on_the_way, dry_run: true };
        assert_eq!((addresses.take(at("10.0.0.1")), addresses.take_any()), (Ok(()), Ok(at("10.0.0.0"))));
        assert_eq!(
            addresses.take(at("10.1.0.0")).unwrap_err().to_string(),
            "the provided IP (10.1.0.0) is not in the valid range. The range of valid IPs is 10.0.0.0/24"
        );
        assert!(on_the_way.is_empty());
    }

    #[test]
    fn a_service_cidr_is_ready_unless_it_says_otherwise_or_ends() {
        let with = |status: &str| serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        assert!(is_ready(&serde_json::json!({})) && is_ready(&with("True")));
        assert!(!is_ready(&with("False")) && !is_ready(&with("Unknown")));
        let mut ending = with("True");
        ending["metadata"] = serde_json::json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!is_ready(&ending));
    }
}
