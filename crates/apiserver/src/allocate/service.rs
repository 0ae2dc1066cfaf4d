//! What a Service gets: a cluster IP unless it is headless or an external name, and node ports for its type.

use std::net::Ipv4Addr;

use apimachinery::field::{ErrorList, Path};
use serde_json::{Value, json};

use super::addresses::{AddressError, Addresses};
use super::pool::{PoolError, PortPool};
use super::{Held, Refused};

fn kind(service: &Value) -> &str {
    service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

fn cluster_ip(service: &Value) -> &str {
    service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default()
}

fn needs_address(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer") && cluster_ip(service) != "None"
}

fn needs_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

fn node_port(port: &Value) -> Option<u16> {
    port.get("nodePort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn health_port(service: &Value) -> Option<u16> {
    let port = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64);
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// What a stored Service holds.
pub fn held(service: &Value) -> Held {
    let address: Option<Ipv4Addr> = cluster_ip(service).parse().ok().filter(|_| kind(service) != "ExternalName");
    let mut numbers: Vec<u16> = ports(service).filter_map(node_port).collect();
    numbers.extend(health_port(service));
    numbers.sort_unstable();
    numbers.dedup();
    Held { addresses: address.into_iter().collect(), ports: numbers }
}

/// What the old state holds and the new one does not.
pub fn no_longer(old: Option<&Value>, new: &Value) -> Held {
    let (Some(old), new) = (old, held(new)) else { return Held::default() };
    let mut gone = held(old);
    gone.addresses.retain(|address| !new.addresses.contains(address));
    gone.ports.retain(|port| !new.ports.contains(port));
    gone
}

/// Takes what the new state needs beyond the old one, and writes it in. `taken` is filled as it goes, so that a
/// failure half-way can be undone.
pub fn allocate(
    addresses: &mut Addresses<'_>,
    pool: &mut PortPool,
    old: Option<&Value>,
    new: &mut Value,
    taken: &mut Held,
) -> Result<(), Refused> {
    let before = old.map(held).unwrap_or_default();
    carry_over(old, new);
    let faults = registry::check_service_addresses(new);
    if !faults.is_empty() {
        return Err(faults.into());
    }
    check_families(new)?;
    if needs_address(new) {
        address(addresses, &before, new, taken)?;
    } else if kind(new) == "ExternalName" && old.is_some() {
        drop_address(new);
    }
    if needs_ports(new) {
        node_ports(pool, &before, new, taken, addresses.dry_run)?;
    } else if old.is_some_and(needs_ports) {
        drop_unwanted_ports(old, new);
    }
    health_check(pool, &before, new, taken)?;
    Ok(())
}

/// An update that leaves out the address or ports means the ones it has.
fn carry_over(old: Option<&Value>, new: &mut Value) {
    let Some(old) = old else { return };
    if needs_address(old) && kind(new) != "ExternalName" && cluster_ip(new).is_empty() && !cluster_ip(old).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.pointer(&format!("/spec/{field}")) {
                new["spec"][field] = value.clone();
            }
        }
    }
    if needs_ports(old) && needs_ports(new) {
        carry_ports(old, new);
    }
    if health_port(new).is_none()
        && wants_health_check(new)
        && wants_health_check(old)
        && let Some(port) = health_port(old)
    {
        new["spec"]["healthCheckNodePort"] = port.into();
    }
}

/// Ports are recognised by name: the client may have changed everything else of them.
fn carry_ports(old: &Value, new: &mut Value) {
    let identity = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_string();
    let used: Vec<u16> = ports(new).filter_map(node_port).collect();
    let known: Vec<_> = ports(old).filter_map(|port| Some((identity(port), node_port(port)?))).collect();
    for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if node_port(port).is_some() {
            continue;
        }
        let same = known.iter().find(|(other, number)| *other == identity(port) && !used.contains(number));
        if let Some((_, number)) = same {
            port["nodePort"] = (*number).into();
        }
    }
}

fn address(addresses: &mut Addresses<'_>, before: &Held, new: &mut Value, taken: &mut Held) -> Result<(), Refused> {
    let asked = cluster_ip(new).to_string();
    let refused = |error| address_error(&asked, &error);
    let address = if asked.is_empty() {
        addresses.take_any().map_err(refused)?
    } else {
        let path = Path::new("spec").child("clusterIPs").index(0);
        let Ok(address) = asked.parse::<Ipv4Addr>() else { return Ok(not_ipv4(&path, &asked)?) };
        if before.addresses.contains(&address) {
            return Ok(());
        }
        addresses.take(address).map_err(refused)?;
        address
    };
    if !addresses.dry_run {
        taken.addresses.push(address);
    }
    let text = address.to_string();
    new["spec"]["clusterIP"] = text.clone().into();
    new["spec"]["clusterIPs"] = json!([text]);
    set_default_families(new);
    Ok(())
}

/// IPv6 is refused here; what is no address at all is refused by the strategy's validation.
fn not_ipv4(path: &Path, asked: &str) -> Result<(), ErrorList> {
    if asked.parse::<std::net::Ipv6Addr>().is_err() {
        return Ok(());
    }
    let mut errors = ErrorList::new();
    errors.invalid(path, asked, "may not use IPv6 on a cluster which is not configured for it");
    Err(errors)
}

fn check_families(new: &Value) -> Result<(), ErrorList> {
    // Without addresses and without pods to find any family will do.
    let selects = new.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
    let unbound = cluster_ip(new) == "None" && !selects;
    if unbound || new.pointer("/spec/ipFamilyPolicy").and_then(Value::as_str) != Some("RequireDualStack") {
        return Ok(());
    }
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("ipFamilyPolicy");
    errors.invalid(&path, "RequireDualStack", "this cluster is not configured for dual-stack services");
    Err(errors)
}

fn set_default_families(new: &mut Value) {
    if new.pointer("/spec/ipFamilies").is_none_or(Value::is_null) {
        new["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    if new.pointer("/spec/ipFamilyPolicy").is_none_or(Value::is_null) {
        new["spec"]["ipFamilyPolicy"] = "SingleStack".into();
    }
}

fn address_error(asked: &str, error: &AddressError) -> Refused {
    if *error == AddressError::Full {
        return Refused::Full;
    }
    let what = if asked.is_empty() { String::new() } else { format!(" {asked}") };
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("clusterIPs");
    errors.invalid(&path, json!([asked]), format!("failed to allocate IP{what}: {error}"));
    Refused::Invalid(errors)
}

pub fn nameless(address: Ipv4Addr) -> ErrorList {
    let mut errors = ErrorList::new();
    let why = format!(
        "failed to allocate IP: IPAddress.networking.k8s.io {:?} is invalid: spec.parentRef.name: Required value",
        address.to_string()
    );
    errors.invalid(&Path::new("spec").child("clusterIPs"), json!([""]), why);
    errors
}

fn drop_address(new: &mut Value) {
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
    }
}

fn node_ports(
    pool: &mut PortPool,
    before: &Held,
    new: &mut Value,
    taken: &mut Held,
    dry_run: bool,
) -> Result<(), ErrorList> {
    let mut assigned: Vec<(u16, String)> = Vec::new();
    let list = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in list.into_iter().flatten().enumerate() {
        let path = Path::new("spec").child("ports").index(index).child("nodePort");
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_string();
        let number = match node_port(port) {
            // One number may serve several protocols of the same Service.
            Some(number) if assigned.iter().any(|(other, used)| *other == number && *used != protocol) => number,
            Some(number) if before.ports.contains(&number) => number,
            // As upstream: only what is really to be taken is looked up in the range.
            Some(number) if dry_run && !pool.range().contains(&number) => number,
            Some(number) => {
                pool.take(number).map_err(|error| port_error(pool, &path, number, error))?;
                taken.ports.push(number);
                number
            }
            None => {
                let number = pool.take_any().map_err(|error| port_error(pool, &path, 0, error))?;
                taken.ports.push(number);
                number
            }
        };
        port["nodePort"] = number.into();
        assigned.push((number, protocol));
    }
    Ok(())
}

fn port_error(pool: &PortPool, path: &Path, number: u16, error: PoolError) -> ErrorList {
    let mut errors = ErrorList::new();
    let range = pool.range();
    match error {
        PoolError::Taken => errors.invalid(path, number, "provided port is already allocated"),
        PoolError::OutOfRange => {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            );
            errors.invalid(path, number, why);
        }
        PoolError::Full => {
            let why = "failed to allocate a nodePort: range is full";
            errors.push(apimachinery::field::FieldError::internal(path, why));
        }
    }
    errors
}

/// A Service that stops having node ports loses the ones it had, unless the client changed them.
fn drop_unwanted_ports(old: Option<&Value>, new: &mut Value) {
    let had: Vec<u16> = old.into_iter().flat_map(ports).filter_map(node_port).collect();
    for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if node_port(port).is_some_and(|number| had.contains(&number))
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}

fn wants_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
        && service.pointer("/spec/externalTrafficPolicy").and_then(Value::as_str) == Some("Local")
}

fn health_check(pool: &mut PortPool, before: &Held, new: &mut Value, taken: &mut Held) -> Result<(), ErrorList> {
    if !wants_health_check(new) {
        if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut)
            && before.ports.iter().any(|port| spec.get("healthCheckNodePort") == Some(&json!(port)))
        {
            spec.remove("healthCheckNodePort");
        }
        return Ok(());
    }
    let path = Path::new("spec").child("healthCheckNodePort");
    match health_port(new) {
        Some(number) if before.ports.contains(&number) => {}
        Some(number) => {
            pool.take(number).map_err(|error| port_error(pool, &path, number, error))?;
            taken.ports.push(number);
        }
        None => {
            let number = pool.take_any().map_err(|error| port_error(pool, &path, 0, error))?;
            taken.ports.push(number);
            new["spec"]["healthCheckNodePort"] = number.into();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::addresses::Range;
    use super::*;

    /// What is taken.
    struct Taken {
        addresses: HashSet<Ipv4Addr>,
        ports: PortPool,
    }

    impl Taken {
        fn none() -> Taken {
            Taken { addresses: HashSet::new(), ports: PortPool::new(30000..=32767) }
        }

        fn allocate(&mut self, old: Option<&Value>, new: &mut Value, taken: &mut Held) -> Result<(), String> {
            let ranges = vec![Range { cidr: "10.96.0.0/12".parse().unwrap(), ready: true }];
            let on_the_way = &mut self.addresses;
            let mut addresses = Addresses { ranges, is_stored: &|_| false, on_the_way, dry_run: false };
            allocate(&mut addresses, &mut self.ports, old, new, taken).map_err(|refused| match refused {
                Refused::Invalid(errors) => errors.to_string(),
                Refused::Full => "full".to_string(),
            })
        }
    }

    fn service(kind: &str, node_port: u16) -> Value {
        let mut port = json!({"port": 80, "protocol": "TCP"});
        if node_port > 0 {
            port["nodePort"] = node_port.into();
        }
        json!({"spec": {"type": kind, "ports": [port]}})
    }

    #[test]
    fn a_change_of_type_keeps_the_address_and_gives_back_the_port() {
        let mut all = Taken::none();
        let mut taken = Held::default();
        let mut old = service("NodePort", 30123);
        all.allocate(None, &mut old, &mut taken).unwrap();
        assert_eq!((taken.addresses.len(), taken.ports.as_slice()), (1, [30123].as_slice()));
        let mut new = service("ClusterIP", 30123);
        let mut more = Held::default();
        all.allocate(Some(&old), &mut new, &mut more).unwrap();
        assert_eq!(more, Held::default());
        assert_eq!(cluster_ip(&new), cluster_ip(&old));
        assert_eq!(no_longer(Some(&old), &new).ports, [30123]);
    }

    #[test]
    fn what_is_taken_or_out_of_range_is_refused_as_upstream_words_it() {
        let mut all = Taken::none();
        all.addresses.insert("10.96.0.9".parse().unwrap());
        all.ports.take(30123).unwrap();
        let mut refused = |mut service: Value| all.allocate(None, &mut service, &mut Held::default()).unwrap_err();
        let mut asked = service("ClusterIP", 0);
        asked["spec"]["clusterIP"] = "10.96.0.9".into();
        asked["spec"]["clusterIPs"] = json!(["10.96.0.9"]);
        assert_eq!(
            refused(asked.clone()),
            r#"spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: provided IP is already allocated"#
        );
        asked["spec"]["clusterIP"] = "192.168.0.1".into();
        asked["spec"]["clusterIPs"] = json!(["192.168.0.1"]);
        assert!(refused(asked).ends_with("192.168.0.1: the provided network does not match the current range"));
        assert_eq!(
            refused(service("NodePort", 30123)),
            "spec.ports[0].nodePort: Invalid value: 30123: provided port is already allocated"
        );
    }
}
