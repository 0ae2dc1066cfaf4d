//! Which address a service is to have. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use api::corev1::Service;
use apimachinery::ObjectKey;

use crate::{Pool, is_ours, recorded};

/// Who has which address.
pub type Taken = BTreeMap<Ipv4Addr, ObjectKey>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody else's service, or none that needs anything.
    Leave,
    /// The recorded address is right.
    Keep(Ipv4Addr),
    Assign(Ipv4Addr),
    /// The service is no longer of this type: the record of our address goes.
    Release,
    /// No address now; the user is told why.
    Pending(String),
}

/// Decides for one service. An address once recorded stays while it is asked for and in the pool.
pub fn decide(key: &ObjectKey, service: &Service, taken: &Taken, pool: &Pool) -> Decision {
    let recorded = recorded(service).into_iter().find(|address| pool.contains(*address));
    if !is_ours(service) {
        // A record of ours on a service of another type stays behind when the type changes while nobody watches.
        let other_type = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() != Some("LoadBalancer"));
        return if recorded.is_some() && other_type { Decision::Release } else { Decision::Leave };
    }
    let free = |address: &Ipv4Addr| taken.get(address).is_none_or(|owner| owner == key);
    match requested(service) {
        Some(Err(text)) => Decision::Pending(format!("loadBalancerIP {text:?} is not an IPv4 address")),
        Some(Ok(address)) if !pool.contains(address) => {
            Decision::Pending(format!("{address} is not in the address pool"))
        }
        Some(Ok(address)) if !free(&address) => Decision::Pending(format!("{address} is taken by {}", taken[&address])),
        Some(Ok(address)) if recorded == Some(address) => Decision::Keep(address),
        Some(Ok(address)) => Decision::Assign(address),
        None => match recorded.filter(free) {
            Some(address) => Decision::Keep(address),
            None => any(key, taken, pool),
        },
    }
}

fn any(key: &ObjectKey, taken: &Taken, pool: &Pool) -> Decision {
    // An address that was chosen for this service before, but not recorded since, is taken up again.
    let reserved = taken.iter().find(|(_, owner)| *owner == key).map(|(address, _)| *address);
    match reserved.or_else(|| pool.addresses().find(|address| !taken.contains_key(address))) {
        Some(address) => Decision::Assign(address),
        None => Decision::Pending("no address is left in the pool".to_owned()),
    }
}

fn requested(service: &Service) -> Option<Result<Ipv4Addr, String>> {
    let text = service.spec.as_ref()?.load_balancer_ip.as_deref().filter(|text| !text.is_empty())?;
    Some(text.parse().map_err(|_| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, recorded: &[&str], taken: &[(&str, &str)], expected: Decision) {
        let ingress: Vec<_> = recorded.iter().map(|ip| json!({ "ip": ip })).collect();
        let object = json!({ "metadata": { "namespace": "default", "name": "web" }, "spec": spec,
            "status": { "loadBalancer": { "ingress": ingress } } });
        let service: Service = serde_json::from_value(object).unwrap();
        let taken = taken
            .iter()
            .map(|(address, owner)| (address.parse().unwrap(), ObjectKey::new("default", *owner)))
            .collect();
        let pool = "10.0.0.1-10.0.0.2".parse().unwrap();
        assert_eq!(decide(&ObjectKey::new("default", "web"), &service, &taken, &pool), expected);
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn a_new_service_gets_the_first_free_address_and_keeps_it() {
        let spec = json!({ "type": "LoadBalancer" });
        check(spec.clone(), &[], &[], Decision::Assign(ip(1)));
        check(spec.clone(), &[], &[("10.0.0.1", "other")], Decision::Assign(ip(2)));
        check(spec.clone(), &["10.0.0.2"], &[("10.0.0.2", "web")], Decision::Keep(ip(2)));
        check(spec, &["192.0.2.1"], &[], Decision::Assign(ip(1)));
    }

    #[test]
    fn an_empty_pool_leaves_the_service_pending() {
        let taken = [("10.0.0.1", "a"), ("10.0.0.2", "b")];
        check(
            json!({ "type": "LoadBalancer" }),
            &[],
            &taken,
            Decision::Pending("no address is left in the pool".to_owned()),
        );
    }

    #[test]
    fn a_requested_address_is_given_or_said_to_be_out_of_reach() {
        let spec = |address: &str| json!({ "type": "LoadBalancer", "loadBalancerIP": address });
        check(spec("10.0.0.2"), &["10.0.0.1"], &[("10.0.0.1", "web")], Decision::Assign(ip(2)));
        check(
            spec("10.0.0.2"),
            &[],
            &[("10.0.0.2", "a")],
            Decision::Pending("10.0.0.2 is taken by default/a".to_owned()),
        );
        check(spec("10.0.9.9"), &[], &[], Decision::Pending("10.0.9.9 is not in the address pool".to_owned()));
    }

    #[test]
    fn another_type_gives_the_address_back_and_another_class_is_left_alone() {
        check(json!({ "type": "NodePort" }), &["10.0.0.1"], &[("10.0.0.1", "web")], Decision::Release);
        check(json!({ "type": "NodePort" }), &["10.0.0.1"], &[], Decision::Release);
        check(json!({ "type": "NodePort" }), &[], &[], Decision::Leave);
        check(json!({ "type": "LoadBalancer", "loadBalancerClass": "cloud" }), &["10.0.0.1"], &[], Decision::Leave);
        check(
            json!({ "type": "LoadBalancer", "loadBalancerClass": crate::LOAD_BALANCER_CLASS }),
            &[],
            &[],
            Decision::Assign(ip(1)),
        );
    }
}
