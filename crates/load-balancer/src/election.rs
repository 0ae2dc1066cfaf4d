//! Who announces an address. Pure.
//!
//! A Lease per address names the holder, who renews it every second. A node that is cut off cannot renew; three
//! seconds after the last renewal that the others saw, the first of them takes the lease over, at the very moment
//! when it expires. When the holder's Node is gone or not ready, they do not even wait for that.
//! A holder that cannot reach the API server goes on announcing until it sees another's name: nobody else can have taken
//! the lease while the API server is away, and an outage of it must not take the addresses down.

use std::time::Duration;

use tokio::time::Instant;

pub const LEASE_DURATION: Duration = Duration::from_secs(3);
pub const RENEW_PERIOD: Duration = Duration::from_secs(1);
/// Candidates step forward one after the other, so that they do not all write at once.
const STEP: Duration = Duration::from_millis(50);

/// A lease as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLease {
    /// Empty when it was given up.
    pub holder: String,
    /// When this node saw the last renewal, by its own clock.
    pub seen_at: Instant,
    pub duration: Duration,
}

/// What this node knows about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    pub node: String,
    /// May hold the address: the node is ready and, where the policy says so, has endpoints.
    pub candidate: bool,
    /// The place of this node among the candidates; the first steps forward first.
    pub rank: u32,
    pub lease: Option<SeenLease>,
    /// The holder's Node exists and is ready.
    pub holder_alive: bool,
    /// Since when this node knows that nobody (alive) holds the lease.
    pub free_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write our name into the lease (and create it where there is none).
    Acquire,
    Renew,
    /// Give the lease up: we hold it and must not.
    Release,
    /// Look again then, or when something changes.
    WaitUntil(Instant),
    /// Nothing to do until something changes.
    Wait,
}

/// Whether the address is announced by this node while the step is taken.
pub fn announces(situation: &Situation) -> bool {
    situation.candidate && situation.lease.as_ref().is_some_and(|lease| lease.holder == situation.node)
}

/// When the lease can be taken from its holder; `None` for our own.
pub fn free_at(situation: &Situation, now: Instant) -> Option<Instant> {
    let at_once = situation.free_since.unwrap_or(now);
    match &situation.lease {
        None => Some(at_once),
        Some(lease) if lease.holder.is_empty() => Some(at_once),
        Some(lease) if lease.holder == situation.node => None,
        Some(_) if !situation.holder_alive => Some(at_once),
        Some(lease) => Some(lease.seen_at + lease.duration),
    }
}

pub fn decide(situation: &Situation, now: Instant) -> Step {
    if let Some(lease) = situation.lease.as_ref().filter(|lease| lease.holder == situation.node) {
        let renew_at = lease.seen_at + RENEW_PERIOD;
        return match situation.candidate {
            false => Step::Release,
            true if now >= renew_at => Step::Renew,
            true => Step::WaitUntil(renew_at),
        };
    }
    match free_at(situation, now).filter(|_| situation.candidate) {
        None => Step::Wait,
        Some(free) => {
            let turn = free + STEP * situation.rank;
            if now >= turn { Step::Acquire } else { Step::WaitUntil(turn) }
        }
    }
}

/// The candidates in the order in which they step forward for an address: a different one for each, the same on all nodes.
pub fn ranking(address: std::net::Ipv4Addr, candidates: &[String]) -> Vec<&String> {
    let mut sorted: Vec<_> = candidates.iter().collect();
    sorted.sort_by_key(|node| (mix(address, node), (*node).clone()));
    sorted
}

/// FNV-1a with a final mixing: the same on every machine and version.
fn mix(address: std::net::Ipv4Addr, node: &str) -> u64 {
    let bytes = node.bytes().chain(address.octets());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn situation(lease: Option<(&str, Instant)>) -> Situation {
        let lease =
            lease.map(|(holder, seen_at)| SeenLease { holder: holder.to_owned(), seen_at, duration: LEASE_DURATION });
        Situation { node: "me".to_owned(), candidate: true, rank: 0, lease, holder_alive: true, free_since: None }
    }

    #[test]
    fn the_first_candidate_takes_a_free_lease_at_once_and_the_second_a_little_later() {
        let now = Instant::now();
        assert_eq!(decide(&situation(None), now), Step::Acquire);
        let second = Situation { rank: 1, free_since: Some(now), ..situation(None) };
        assert_eq!(decide(&second, now), Step::WaitUntil(now + STEP));
        assert_eq!(decide(&second, now + STEP), Step::Acquire);
    }

    #[test]
    fn a_lease_of_another_is_taken_the_moment_it_expires() {
        let now = Instant::now();
        let held = situation(Some(("other", now)));
        assert_eq!(decide(&held, now), Step::WaitUntil(now + LEASE_DURATION));
        assert_eq!(decide(&held, now + LEASE_DURATION), Step::Acquire);
        assert!(!announces(&held));
    }

    #[test]
    fn a_holder_whose_node_is_lost_is_not_waited_for() {
        let now = Instant::now();
        let lost = Situation { holder_alive: false, ..situation(Some(("other", now))) };
        assert_eq!(decide(&lost, now), Step::Acquire);
    }

    #[test]
    fn the_holder_renews_and_gives_up_when_it_may_not_hold() {
        let now = Instant::now();
        let mine = situation(Some(("me", now)));
        assert_eq!(decide(&mine, now), Step::WaitUntil(now + RENEW_PERIOD));
        assert_eq!(decide(&mine, now + RENEW_PERIOD), Step::Renew);
        assert!(announces(&mine));
        let barred = Situation { candidate: false, ..mine };
        assert_eq!(decide(&barred, now), Step::Release);
        assert!(!announces(&barred));
    }

    #[test]
    fn who_is_no_candidate_waits() {
        let barred = Situation { candidate: false, ..situation(None) };
        assert_eq!(decide(&barred, Instant::now()), Step::Wait);
    }

    #[test]
    fn addresses_are_spread_over_the_nodes() {
        let nodes: Vec<_> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut first = std::collections::BTreeMap::<&str, u32>::new();
        for last in 0..90 {
            *first.entry(ranking(Ipv4Addr::new(10, 0, 0, last), &nodes)[0]).or_default() += 1;
        }
        assert!(first.len() == 3 && first.values().all(|count| (15..=45).contains(count)), "{first:?}");
    }
}
