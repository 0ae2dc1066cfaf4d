//! What becomes of one ServiceCIDR.

use std::net::IpAddr;
use std::sync::Arc;

use api::networkingv1::{IPAddress, ServiceCIDR};
use client::Object;

use super::FINALIZER;
use super::prefix::Prefix;
use crate::pods::is_deleted;

pub(super) const READY: &str = "Ready";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const ALLOCATOR: &str = "ipallocator.k8s.io";
/// Seconds in which every server has heard that a range is to go, and gives no more of its addresses.
const GRACE: i64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: &'static str,
}

const SERVES: Condition = Condition { status: "True", reason: "", message: "Kubernetes Service CIDR is ready" };
const HELD: Condition = Condition {
    status: "False",
    reason: "Terminating",
    message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    /// It stays: whether its finalizer is missing, and what is to be said.
    Serve {
        finalizer: bool,
        condition: Option<Condition>,
    },
    /// It is to go, but addresses need it.
    Hold(Condition),
    /// It is to go in so many seconds.
    Wait(u64),
    Release,
}

/// `addresses`: asked only for what is to go.
pub(super) fn plan(
    cidr: &ServiceCIDR,
    all: &[Arc<ServiceCIDR>],
    addresses: impl FnOnce() -> Vec<Arc<IPAddress>>,
    now: i64,
) -> Step {
    let has = cidr.metadata.finalizers.iter().flatten().any(|own| own == FINALIZER);
    if !is_deleted(&cidr.metadata) {
        let condition = news(cidr, SERVES);
        return if has && condition.is_none() { Step::Keep } else { Step::Serve { finalizer: !has, condition } };
    }
    if !is_covered(cidr, all) && is_needed(cidr, all, &addresses()) {
        return news(cidr, HELD).map_or(Step::Keep, Step::Hold);
    }
    let deleted = cidr.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0.as_second());
    match u64::try_from(deleted + GRACE - now) {
        Ok(left) if left > 0 => Step::Wait(left),
        _ if has => Step::Release,
        _ => Step::Keep,
    }
}

/// The condition, unless it is said already.
fn news(cidr: &ServiceCIDR, condition: Condition) -> Option<Condition> {
    let said = cidr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let same = said.filter(|said| said.type_ == READY).any(|said| {
        said.status == condition.status && said.reason == condition.reason && said.message == condition.message
    });
    (!same).then_some(condition)
}

fn prefixes(cidr: &ServiceCIDR) -> impl Iterator<Item = Prefix> {
    let list = cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    list.filter_map(|text| Prefix::parse(text))
}

fn named(all: &[Arc<ServiceCIDR>], is_meant: impl Fn(&Prefix) -> bool) -> Vec<String> {
    let meant = all.iter().filter(|cidr| prefixes(cidr).any(|prefix| is_meant(&prefix)));
    meant.map(|cidr| cidr.name().to_owned()).collect()
}

/// Names of the ServiceCIDRs that overlap this one, itself among them.
pub(super) fn overlapping(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>]) -> Vec<String> {
    let own: Vec<Prefix> = prefixes(cidr).collect();
    named(all, |prefix| own.iter().any(|own| own.overlaps(prefix)))
}

/// Names of the ServiceCIDRs that give this address.
pub(super) fn containing(address: IpAddr, all: &[Arc<ServiceCIDR>]) -> Vec<String> {
    named(all, |prefix| prefix.contains(address))
}

/// The address of an IPAddress that a Service has by the allocator.
pub(super) fn address(address: &IPAddress) -> Option<IpAddr> {
    let by = address.metadata.labels.as_ref()?.get(MANAGED_BY)?;
    (by == ALLOCATOR).then(|| address.name().parse().ok())?
}

/// Whether other ServiceCIDRs have all its ranges.
fn is_covered(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>]) -> bool {
    prefixes(cidr).all(|own| named(all, |other| other.covers(&own)).iter().any(|name| name != cidr.name()))
}

/// Whether an address would belong to no range without it.
fn is_needed(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>]) -> bool {
    let own: Vec<Prefix> = prefixes(cidr).collect();
    let of_family = |address: &IPAddress| {
        let family = address.metadata.labels.as_ref().and_then(|labels| labels.get(FAMILY));
        family.is_some_and(|family| own.iter().any(|own| own.is_of_family(family)))
    };
    let known = addresses.iter().filter(|address| of_family(address)).filter_map(|object| self::address(object));
    known
        .filter(|address| own.iter().any(|own| own.contains(*address)))
        .any(|address| containing(address, all) == [cidr.name()])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DELETED_AT: &str = "2024-01-01T00:00:00Z";
    const DELETED: i64 = 1_704_067_200;

    fn cidr(name: &str, cidrs: &[&str], metadata: Value, status: Value) -> Arc<ServiceCIDR> {
        let mut object = json!({"metadata": metadata, "spec": {"cidrs": cidrs}, "status": status});
        object["metadata"]["name"] = name.into();
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn ending(name: &str, cidrs: &[&str]) -> Arc<ServiceCIDR> {
        cidr(name, cidrs, json!({"finalizers": [FINALIZER], "deletionTimestamp": DELETED_AT}), json!({}))
    }

    fn serving(name: &str, cidrs: &[&str]) -> Arc<ServiceCIDR> {
        cidr(name, cidrs, json!({"finalizers": [FINALIZER]}), json!({}))
    }

    fn address(name: &str, by: &str) -> Arc<IPAddress> {
        let labels = json!({FAMILY: if name.contains(':') { "IPv6" } else { "IPv4" }, MANAGED_BY: by});
        let parent = json!({"resource": "services", "namespace": "default", "name": "a"});
        let object = json!({"metadata": {"name": name, "labels": labels}, "spec": {"parentRef": parent}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn one_that_serves_has_the_finalizer_and_says_so_once() {
        let unsaid = |cidr: &Arc<ServiceCIDR>| plan(cidr, std::slice::from_ref(cidr), Vec::new, 0);
        let new = cidr("a", &["10.0.0.0/24"], json!({}), json!({}));
        assert_eq!(unsaid(&new), Step::Serve { finalizer: true, condition: Some(SERVES) });
        let said = |message: &str| {
            let condition = json!({"type": READY, "status": "True", "reason": "", "message": message,
                "lastTransitionTime": DELETED_AT});
            let status = json!({"conditions": [condition]});
            cidr("a", &["10.0.0.0/24"], json!({"finalizers": ["x/y", FINALIZER]}), status)
        };
        assert_eq!(unsaid(&said(SERVES.message)), Step::Keep);
        let by_server = unsaid(&said("Kubernetes default Service CIDR is ready"));
        assert_eq!(by_server, Step::Serve { finalizer: false, condition: Some(SERVES) });
    }

    #[test]
    fn one_that_is_to_go_stays_while_an_address_needs_it() {
        let own = ending("a", &["10.0.0.0/24"]);
        let used = || vec![address("10.0.0.7", ALLOCATOR)];
        for (others, addresses, expected) in [
            (vec![], used(), Step::Hold(HELD)),
            (vec![serving("b", &["10.0.1.0/24"])], used(), Step::Hold(HELD)),
            // A wider range, the same range, or one that has this very address.
            (vec![serving("b", &["10.0.0.0/16"])], used(), Step::Release),
            (vec![serving("b", &["10.0.0.0/24"])], used(), Step::Release),
            (vec![serving("b", &["10.0.0.0/28"])], used(), Step::Release),
            (vec![serving("b", &["10.0.0.0/28"])], vec![address("10.0.0.70", ALLOCATOR)], Step::Hold(HELD)),
            (vec![], vec![address("10.0.0.7", "somebody"), address("10.0.1.7", ALLOCATOR)], Step::Release),
            (vec![], vec![], Step::Release),
        ] {
            let mut all = vec![own.clone()];
            all.extend(others);
            assert_eq!(plan(&own, &all, || addresses, DELETED + GRACE), expected, "{all:?}");
        }
    }

    #[test]
    fn both_ranges_of_a_pair_count() {
        let own = ending("a", &["10.0.0.0/24", "fd00::/120"]);
        let all = [own.clone(), serving("b", &["10.0.0.0/16"])];
        let needed = |name: &str| plan(&own, &all, || vec![address(name, ALLOCATOR)], DELETED + GRACE);
        assert_eq!((needed("10.0.0.7"), needed("fd00::7")), (Step::Release, Step::Hold(HELD)));
    }

    #[test]
    fn the_servers_get_time_to_hear_of_it() {
        let own = ending("a", &["10.0.0.0/24"]);
        let at = |now: i64| plan(&own, std::slice::from_ref(&own), Vec::new, DELETED + now);
        assert_eq!((at(0), at(9), at(10)), (Step::Wait(10), Step::Wait(1), Step::Release));
    }

    #[test]
    fn a_change_wakes_the_ranges_that_it_concerns() {
        let all = [serving("a", &["10.0.0.0/16"]), serving("b", &["10.0.3.0/24"]), serving("c", &["10.1.0.0/16"])];
        assert_eq!(overlapping(&all[1], &all), ["a", "b"]);
        assert_eq!(containing("10.0.3.1".parse().unwrap(), &all), ["a", "b"]);
        assert_eq!(super::address(&address("10.0.3.1", "somebody")), None);
    }
}
