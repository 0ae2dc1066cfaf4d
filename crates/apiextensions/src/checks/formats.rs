//! The formats of texts that are judged. Others are only remarks.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::pattern;
use crate::structural::Type;

const TEXTS: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Whether the format means something for values of the type.
pub fn is_supported(format: &str, ty: Type) -> bool {
    match ty {
        Type::Unsaid | Type::String => TEXTS.contains(&&*format.replace('-', "")),
        Type::Integer => matches!(format, "int32" | "int64"),
        Type::Number => matches!(format, "float" | "double"),
        Type::Object | Type::Array | Type::Boolean => false,
    }
}

const UUID: &str = "^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
const UUID3: &str = "^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
const UUID4: &str = "^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
const UUID5: &str = "^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
const HOSTNAME: &str = r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$";
const CREDIT_CARD: &str = r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11}|6[27][0-9]{14})$";
const RGB: &str = r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$";
const BASE64: &str = r"^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=|[A-Za-z0-9+\/]{4})$";
const SHORT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LONG_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

pub fn is_valid(format: &str, text: &str) -> bool {
    let lower = || text.to_ascii_lowercase();
    match &*format.replace('-', "") {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "byte" => matches(BASE64, text),
        "cidr" => is_cidr(text),
        "creditcard" => is_credit_card(text),
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => is_email(text),
        "hexcolor" => matches("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", text),
        "hostname" => text.len() <= 255 && text.split('.').all(|part| part.len() <= 63) && matches(HOSTNAME, text),
        "ipv4" => ipv4(text).is_some(),
        "ipv6" => ipv6(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "k8slongname" => text.len() <= 253 && matches(LONG_NAME, text),
        "k8sshortname" => text.len() <= 63 && matches(SHORT_NAME, text),
        "mac" => is_mac(text),
        "rgbcolor" => matches(RGB, text),
        "ssn" => text.len() == 11 && matches(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$", text),
        "uri" => is_request_uri(text),
        "uuid" => matches(UUID, &lower()),
        "uuid3" => matches(UUID3, &lower()),
        "uuid4" => matches(UUID4, &lower()),
        "uuid5" => matches(UUID5, &lower()),
        _ => true,
    }
}

fn matches(expression: &str, text: &str) -> bool {
    pattern::compiled(expression).expect("the expressions above are well-formed").is_match(text)
}

/// Leading zeros are tolerated, as they were in old releases.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let octet = |part: &&str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten().and_then(|octet| u8::try_from(octet).ok())
    };
    let octets: Vec<u8> = parts.iter().filter_map(octet).collect();
    let [a, b, c, d] = octets[..] else { return None };
    (parts.len() == 4).then(|| Ipv4Addr::new(a, b, c, d))
}

fn ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<Ipv6Addr>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let max = if ipv4(address).is_some() { 32 } else { 128 };
    digits && length.parse::<u8>().is_ok_and(|length| length <= max) && (max == 32 || ipv6(address))
}

fn is_mac(text: &str) -> bool {
    let (separator, width) = match text {
        _ if text.contains(':') => (':', 2),
        _ if text.contains('-') => ('-', 2),
        _ => ('.', 4),
    };
    let parts: Vec<&str> = text.split(separator).collect();
    let hex = |part: &&str| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().all(hex) && [6, 8, 20].contains(&(parts.len() * width / 2))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    let form = "^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$";
    is_date(date) && matches(form, time) && &time[0..2] <= "23" && &time[3..5] <= "59" && &time[6..8] <= "59"
}

/// As Go reads durations, or as Scala writes them: `22 ns`, `3 days`.
fn is_duration(text: &str) -> bool {
    const GO: &str = r"^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";
    const UNITS: [&str; 20] = [
        "ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk", "nano", "micro", "milli", "sec", "min", "hour",
        "day", "week", "nanos",
    ];
    const PREFIXES: [&str; 8] = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    if matches(GO, text) {
        return true;
    }
    let words = pattern::compiled(r"([0-9]+)\s*([A-Za-zµ]+)").expect("the expression is well-formed");
    words.captures_iter(text).any(|found| {
        let unit = found[2].to_lowercase();
        UNITS.contains(&&*unit) || PREFIXES.iter().any(|prefix| unit.starts_with(prefix))
    })
}

/// `local@domain`, maybe in angle brackets after a name.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((_, address)) => address,
        None => text,
    };
    const ATOM: &str = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\x{10FFFF}-]+";
    let quoted = r#""([^"\\\r\n]|\\.)*""#;
    let form = format!(r"^(({ATOM}(\.{ATOM})*)|({quoted}))@(({ATOM}(\.{ATOM})*)|(\[[^\[\]]*\]))$");
    matches(&form, address)
}

/// An absolute URI, or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return false;
    }
    let escapes_are_whole = text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    });
    if !escapes_are_whole || text.starts_with('/') {
        return escapes_are_whole;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    if !matches("^[A-Za-z][A-Za-z0-9+.-]*$", scheme) {
        return false;
    }
    rest.strip_prefix("//").is_none_or(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        matches(r"^(\[[0-9A-Fa-f:.%]+\]|[^\[\]\\ <>^{}|]*?)(:[0-9]*)?$", host)
    })
}

fn digits_of(text: &str, length: usize) -> Option<Vec<u32>> {
    let kept: Vec<char> = text.chars().filter(|c| !['-', ' '].contains(c)).collect();
    let value = |(at, c): (usize, &char)| match c {
        'X' | 'x' if length == 10 && at == 9 => Some(10),
        _ => c.to_digit(10),
    };
    (kept.len() == length).then(|| kept.iter().enumerate().map(value).collect()).flatten()
}

fn is_isbn10(text: &str) -> bool {
    let sum = |digits: Vec<u32>| (1..).zip(digits).map(|(weight, digit)| weight * digit).sum::<u32>();
    digits_of(text, 10).map(sum).is_some_and(|sum| sum % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let sum = |digits: Vec<u32>| [1, 3].iter().cycle().zip(digits).map(|(weight, digit)| weight * digit).sum::<u32>();
    digits_of(text, 13).map(sum).is_some_and(|sum| sum % 10 == 0)
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let luhn = |(at, digit): (usize, char)| {
        let value = digit.to_digit(10).unwrap_or_default() * (1 + u32::from(at % 2 == 1));
        value / 10 + value % 10
    };
    matches(CREDIT_CARD, &digits) && digits.chars().rev().enumerate().map(luhn).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn formats_accept_and_refuse() {
        for (format, good, bad) in [
            ("date-time", "2020-01-01T00:00:00Z", "nope"),
            ("date", "2020-02-29", "2021-02-29"),
            ("duration", "1h3m", "soon"),
            ("duration", "22 ns", "22"),
            ("ipv4", "010.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "01:02:03:04:05:06", "01:02"),
            ("uuid", "123E4567-e89b-12d3-a456-426614174000", "123"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("hexcolor", "#fff", "#ffff"),
            ("rgbcolor", "rgb(1,2,255)", "rgb(1,2,256)"),
            ("byte", "AQI=", "AQI"),
            ("hostname", "a.example.com", "a_b.example.com"),
            ("email", "Jo <jo@example.com>", "jo"),
            ("uri", "https://example.com/a?b", "example.com"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b", "A.b"),
        ] {
            assert!(is_valid(format, good), "{format} {good}");
            assert!(!is_valid(format, bad), "{format} {bad}");
        }
    }
}
