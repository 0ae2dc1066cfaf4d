//! IP addresses and networks.

use std::net::IpAddr;

use apimachinery::validation::{parse_cidr, parse_ip};

use super::Answer;
use crate::errors::EvalError;
use crate::value::{Opaque, Value};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::String(text)] => of_text(function, text),
        [Value::Opaque(value)] => match **value {
            Opaque::Ip(ip) => of_ip(function, ip),
            Opaque::Cidr(ip, bits) => of_cidr(function, ip, bits),
            _ => None,
        },
        [Value::Opaque(value), other] => match **value {
            Opaque::Cidr(ip, bits) => contains(function, (ip, bits), other),
            _ => None,
        },
        _ => None,
    }
}

fn of_text<'a>(function: &str, text: &str) -> Answer<'a> {
    Some(match function {
        "ip" => ip(text).map(|ip| Value::opaque(Opaque::Ip(ip))),
        "isIP" => Ok(Value::Bool(ip(text).is_ok())),
        "ip.isCanonical" => ip(text).map(|ip| Value::Bool(ip.to_string() == text)),
        "cidr" => cidr(text).map(|(ip, bits)| Value::opaque(Opaque::Cidr(ip, bits))),
        "isCIDR" => Ok(Value::Bool(cidr(text).is_ok())),
        _ => return None,
    })
}

fn ip(text: &str) -> Result<IpAddr, EvalError> {
    let invalid =
        |why: &str| EvalError::message(format!("IP Address {text:?} parse error during conversion from string: {why}"));
    if text.contains('%') {
        return Err(invalid("IP address with zone value is not allowed"));
    }
    match parse_ip(text) {
        Some(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            Err(invalid("IPv4-mapped IPv6 address is not allowed"))
        }
        Some(ip) => Ok(ip),
        None => Err(invalid("unable to parse IP")),
    }
}

fn cidr(text: &str) -> Result<(IpAddr, u8), EvalError> {
    let invalid =
        |why: &str| EvalError::message(format!("network address parse error during conversion from string: {why}"));
    match parse_cidr(text) {
        Some((IpAddr::V6(ip), _)) if ip.to_ipv4_mapped().is_some() => {
            Err(invalid("IPv4-mapped IPv6 address is not allowed"))
        }
        Some(network) => Ok(network),
        None => Err(invalid(&format!("netip.ParsePrefix({text:?}): unable to parse IP"))),
    }
}

fn of_ip<'a>(function: &str, ip: IpAddr) -> Answer<'a> {
    Some(Ok(match function {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(ip.is_unspecified()),
        "isLoopback" => Value::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Value::Bool(match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        }),
        "isLinkLocalUnicast" => Value::Bool(is_link_local(ip)),
        "isGlobalUnicast" => Value::Bool(is_global(ip)),
        _ => return None,
    }))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Not a special address; private ones are global in this sense.
fn is_global(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip))
}

fn of_cidr<'a>(function: &str, ip: IpAddr, bits: u8) -> Answer<'a> {
    Some(Ok(match function {
        "ip" => Value::opaque(Opaque::Ip(ip)),
        "prefixLength" => Value::Int(i64::from(bits)),
        "masked" => Value::opaque(Opaque::Cidr(masked(ip, bits), bits)),
        _ => return None,
    }))
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(ip) => {
            IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into())
        }
    }
}

fn contains<'a>(function: &str, network: (IpAddr, u8), other: &Value<'a>) -> Answer<'a> {
    let inside = |(ip, bits): (IpAddr, u8)| {
        let (base, length) = network;
        Value::Bool(base.is_ipv4() == ip.is_ipv4() && bits >= length && masked(ip, length) == masked(base, length))
    };
    match (function, other) {
        ("containsIP", Value::String(text)) => Some(ip(text).map(|ip| inside((ip, u8::MAX)))),
        ("containsCIDR", Value::String(text)) => Some(cidr(text).map(inside)),
        (_, Value::Opaque(value)) => match (function, &**value) {
            ("containsIP", Opaque::Ip(ip)) => Some(Ok(inside((*ip, u8::MAX)))),
            ("containsCIDR", Opaque::Cidr(ip, bits)) => Some(Ok(inside((*ip, *bits)))),
            _ => None,
        },
        _ => None,
    }
}
