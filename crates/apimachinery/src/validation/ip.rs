//! Addresses and address ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::{ErrorList, Path};

/// An address without leading zeros and not an IPv4 address in the form of IPv6.
pub fn parse_ip(value: &str) -> Option<IpAddr> {
    value.parse().ok()
}

pub fn is_ipv4(value: &str) -> bool {
    value.parse::<Ipv4Addr>().is_ok()
}

pub fn is_ipv6(value: &str) -> bool {
    value.parse::<Ipv6Addr>().is_ok()
}

/// Address and length of the prefix.
pub fn parse_cidr(value: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let well_formed = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|length| well_formed && *length <= length_max)?;
    Some((address, length))
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

/// Go reads leading zeros; so must we, to tell them from nonsense.
fn without_leading_zeros(value: &str) -> String {
    let part = |part: &str| {
        let trimmed = part.trim_start_matches('0');
        if part.is_empty() || !trimmed.is_empty() { trimmed.to_owned() } else { "0".to_owned() }
    };
    value.split('.').map(part).collect::<Vec<_>>().join(".")
}

pub fn validate_ip(path: &Path, value: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            errors.invalid(path, value, "must not be an IPv4-mapped IPv6 address");
        }
        Ok(_) => {}
        Err(_) if without_leading_zeros(value).parse::<Ipv4Addr>().is_ok() => {
            errors.invalid(path, value, "must not have leading 0s");
        }
        Err(_) => errors.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    }
    errors
}

/// A form of an address that is accepted, but not the one to use.
pub fn ip_warnings(path: &Path, value: &str) -> Option<String> {
    let better = match value.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None if v6.to_string() == value => return None,
            None => {
                return Some(format!(
                    "{path}: IPv6 address {value:?} should be in RFC 5952 canonical format (\"{v6}\")"
                ));
            }
        },
        Ok(IpAddr::V4(_)) => return None,
        Err(_) => without_leading_zeros(value).parse::<Ipv4Addr>().ok()?.to_string(),
    };
    Some(format!("{path}: non-standard IP address {value:?} is invalid: use {better:?}"))
}

/// The same for a range of addresses.
pub fn cidr_warnings(path: &Path, value: &str) -> Option<String> {
    let (address, length) = parse_cidr(value)?;
    let (first, bits) = (masked(address, length), if address.is_ipv4() { 32 } else { 128 });
    if first != address {
        return Some(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be \"{first}/{length}\" or \
             \"{address}/{bits}\"?)"
        ));
    }
    let canonical = format!("{first}/{length}");
    (address.is_ipv6() && canonical != value)
        .then(|| format!("{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

pub fn validate_cidr(path: &Path, value: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    match parse_cidr(value) {
        Some((address, length)) if masked(address, length) != address => {
            errors.invalid(path, value, "must not have bits set beyond the prefix length");
        }
        Some(_) => {}
        None => errors.invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_wrong_with_an_address() {
        let check = |value: &str| validate_ip(&Path::new("ip"), value).to_string();
        assert_eq!(check("10.0.0.1"), "[]");
        assert!(check("010.0.0.1").contains("leading 0s"));
        assert!(check("::ffff:1.2.3.4").contains("mapped"));
        assert!(check("1.2.3").contains("must be a valid IP address"));
        assert!(validate_cidr(&Path::new("c"), "10.0.0.0/8").is_empty());
        assert!(!validate_cidr(&Path::new("c"), "10.0.0.1/8").is_empty());
        assert!(!validate_cidr(&Path::new("c"), "10.0.0.0/33").is_empty());
    }
}
