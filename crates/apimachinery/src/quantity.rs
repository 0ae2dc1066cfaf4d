//! Quantities: `100m`, `1.5Gi`, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde_json::Value;

/// How a quantity is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    #[default]
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// A number with the precision of nano. Compares by value, prints in canonical form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;
/// Upstream caps at the largest signed 64-bit integer.
const MAX: i128 = (i64::MAX as i128) * NANO;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    pub fn from_units(units: i64, format: Format) -> Self {
        Self { nanos: i128::from(units) * NANO, format }
    }

    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nanos: i128::from(milli) * 1_000_000, format }
    }

    /// Of a JSON string or number; anything else is zero.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => text.parse().unwrap_or_default(),
            Value::Number(number) => number.to_string().parse().unwrap_or_default(),
            _ => Self::ZERO,
        }
    }

    pub fn format(self) -> Format {
        self.format
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// In whole units, rounded away from zero.
    pub fn value(self) -> i64 {
        self.scaled(NANO)
    }

    /// In thousandths, rounded away from zero.
    pub fn milli_value(self) -> i64 {
        self.scaled(NANO / 1000)
    }

    pub fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    pub fn as_f64(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "callers ask for an approximation")]
        let nanos = self.nanos as f64;
        nanos / 1e9
    }

    fn scaled(self, unit: i128) -> i64 {
        let rounded = (self.nanos.abs() + unit - 1) / unit * self.nanos.signum();
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

/// The canonical form of a quantity in JSON, as upstream writes what it was sent. `None` if it is no quantity.
pub fn canonical(value: &Value) -> Option<Result<String, ParseError>> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null => "0".into(),
        _ => return None,
    };
    Some(text.parse::<Quantity>().map(|quantity| quantity.to_string()))
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
            None => return Err(ParseError::Format),
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits);
        check_suffix(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || number.is_empty() || number == "." {
            return Err(if fraction.contains('.') { ParseError::Format } else { ParseError::Number });
        }
        let (scale, format) = suffix_scale(suffix).ok_or(ParseError::Suffix)?;
        let nanos = magnitude(whole, fraction, scale).min(MAX);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

fn check_suffix(suffix: &str) -> Result<(), ParseError> {
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = letters.strip_prefix(['+', '-']).unwrap_or(letters);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(ParseError::Format) }
}

#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Format)> {
    let decimal = |power| Some((Scale::Ten(power), Format::DecimalSi));
    let binary = |power| Some((Scale::Two(power), Format::BinarySi));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Some((Scale::Ten(exponent.parse().ok()?), Format::DecimalExponent))
        }
    }
}

/// Nanos, rounded up; saturates well above the cap.
fn magnitude(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let significant = format!("{whole}{fraction}");
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return 0;
    }
    let mut power = 9 - i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    if let Scale::Ten(ten) = scale {
        power = power.saturating_add(ten);
    }
    let kept = significant.len().min(30);
    power = power.saturating_add(i32::try_from(significant.len() - kept).unwrap_or(i32::MAX));
    let mut number: i128 = significant[..kept].parse().expect("up to 30 digits fit");
    let mut inexact = significant[kept..].bytes().any(|byte| byte != b'0');
    if let Scale::Two(two) = scale {
        number = number.checked_shl(two).filter(|n| n >> two == number).unwrap_or(i128::MAX);
    }
    while power > 0 && number < i128::MAX / 10 {
        number *= 10;
        power -= 1;
    }
    while power < 0 && number > 0 {
        inexact |= number % 10 != 0;
        number /= 10;
        power += 1;
    }
    if power > 0 { i128::MAX } else { number.saturating_add(i128::from(inexact)) }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let small = self.nanos.abs() < 1024 * NANO || self.nanos % NANO != 0;
        let (number, suffix) = match self.format {
            Format::BinarySi if !small => binary(nanos / NANO.unsigned_abs()),
            Format::DecimalExponent => exponent(nanos),
            _ => decimal(nanos),
        };
        write!(f, "{sign}{number}{suffix}")
    }
}

fn binary(mut units: u128) -> (u128, String) {
    let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter();
    let mut suffix = suffixes.next().expect("has seven");
    while units.is_multiple_of(1024) {
        let Some(next) = suffixes.next() else { break };
        (units, suffix) = (units / 1024, next);
    }
    (units, (*suffix).to_owned())
}

fn decimal(nanos: u128) -> (u128, String) {
    let (mut number, mut suffix) = (nanos, "n");
    for next in ["u", "m", "", "k", "M", "G", "T", "P", "E"] {
        if !number.is_multiple_of(1000) {
            break;
        }
        (number, suffix) = (number / 1000, next);
    }
    (number, suffix.to_owned())
}

fn exponent(nanos: u128) -> (u128, String) {
    let (mut number, mut power) = (nanos, -9);
    while number.is_multiple_of(1000) {
        (number, power) = (number / 1000, power + 3);
    }
    (number, if power == 0 { String::new() } else { format!("e{power}") })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(self.nanos + other.nanos, other)
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(self.nanos - other.nanos, other)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: -self.nanos, format: self.format }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn prints_the_canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Ki", "1Mi"),
            ("1Gi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1023", "1023"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1000e-3", "1"),
            ("12e6", "12e6"),
            ("1000k", "1M"),
            ("-1.5", "-1500m"),
            ("+3", "3"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("100000000000000000000", "9223372036854775807"),
            ("1.5Gi", "1536Mi"),
            ("100E", "9223372036854775807"),
        ] {
            assert_eq!(print(text), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for (text, error) in [
            ("abc", ParseError::Format),
            ("k", ParseError::Number),
            ("1x", ParseError::Format),
            ("1..2", ParseError::Format),
            ("1kk", ParseError::Suffix),
            ("", ParseError::Format),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn rounds_up_and_adds() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(quantity("1100m").value(), 2);
        assert_eq!(quantity("1100u").milli_value(), 2);
        assert_eq!((quantity("100Mi") + quantity("28Mi")).to_string(), "128Mi");
        assert_eq!((Quantity::ZERO + quantity("1Gi")).to_string(), "1Gi");
        assert!(quantity("1Gi") > quantity("1G"));
    }
}
