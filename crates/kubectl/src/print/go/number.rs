//! Numbers as text.

/// `strconv.FormatFloat`: the verbs e, f and g, with a precision or as many digits as are needed.
pub fn float(number: f64, verb: char, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    match (verb, precision) {
        ('e', None) => with_exponent(&format!("{number:e}")),
        ('e', Some(precision)) => with_exponent(&format!("{number:.precision$e}")),
        ('f', None) => format!("{number}"),
        ('f', Some(precision)) => format!("{number:.precision$}"),
        (_, precision) => general(number, precision),
    }
}

/// `g`: with an exponent where the number is far from one, and without zeros at its end.
fn general(number: f64, precision: Option<usize>) -> String {
    let digits = precision.map(|precision| precision.max(1));
    let scientific = match digits {
        None => format!("{number:e}"),
        Some(digits) => format!("{number:.*e}", digits - 1),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = mantissa.trim_end_matches('0').bytes().filter(u8::is_ascii_digit).count().max(1);
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let limit = match digits.and_then(|digits| i32::try_from(digits).ok()) {
        None => 6,
        // Whole numbers are written out as far as they have digits.
        Some(digits) if digits > count && count > exponent => count,
        Some(digits) => digits,
    };
    let trimmed = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    if exponent < -4 || exponent >= limit {
        return with_exponent(&format!("{trimmed}e{exponent}"));
    }
    let places = usize::try_from((count - 1 - exponent).max(0)).unwrap_or(0);
    match digits {
        None => format!("{number}"),
        Some(_) => format!("{number:.places$}"),
    }
}

/// With a sign, and two digits at least.
fn with_exponent(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%x`: the bits, in hexadecimal.
pub fn hexadecimal(number: f64) -> String {
    let bits = number.abs().to_bits();
    let (exponent, mantissa) = (bits >> 52, bits & ((1 << 52) - 1));
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if bits == 0 {
        return format!("{sign}0x0p+00");
    }
    let shift = if exponent == 0 { u64::from(mantissa.leading_zeros()) - 11 } else { 0 };
    let exponent = exponent.max(1).cast_signed() - 1023 - shift.cast_signed();
    let fraction = format!("{:013x}", (mantissa << shift) & ((1 << 52) - 1));
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}0x1{dot}{fraction}p{mark}{:02}", exponent.abs())
}
