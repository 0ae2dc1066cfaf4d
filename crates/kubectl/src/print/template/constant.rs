//! Numbers, characters and strings as Go writes them.

use super::tree::Number;

/// What a number or a character stands for.
pub fn number(text: &str) -> Result<Number, String> {
    if text.starts_with('\'') {
        return match unquote(text).ok().and_then(|text| String::from_utf8(text).ok()) {
            Some(character) if character.chars().count() == 1 => {
                Ok(Number::Int(character.chars().next().map_or(0, |character| i64::from(u32::from(character)))))
            }
            _ if text == "''" => Err(INVALID.into()),
            _ => Err(format!("malformed character constant: {text}")),
        };
    }
    let bad = || format!("bad number syntax: {}", super::go_quoted(text));
    let plain = text.replace('_', "");
    let float = if plain.to_lowercase().contains("0x") { hexadecimal(&plain) } else { plain.parse().ok() };
    let float = float.filter(|float: &f64| float.is_finite() && text.contains(|next: char| next.is_ascii_digit()));
    let is_hex = plain.trim_start_matches(['+', '-']).to_lowercase().starts_with("0x");
    let looks_so = plain.contains(['.', 'p', 'P']) || (!is_hex && plain.contains(['e', 'E']));
    match float {
        Some(float) if looks_so => Ok(Number::Float(float)),
        float => integer(text).ok_or_else(|| match float {
            Some(_) => format!("integer overflow: {}", super::go_quoted(text)),
            None => bad(),
        }),
    }
}

/// `0x1.8p-3`.
fn hexadecimal(text: &str) -> Option<f64> {
    let (negative, digits) = (text.starts_with('-'), text.trim_start_matches(['+', '-']));
    let (mantissa, exponent) = digits.get(2..)?.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let number = digits.chars().try_fold(0.0, |number, digit| Some(number * 16.0 + f64::from(digit.to_digit(16)?)))?;
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let number = number * 2f64.powi(exponent.parse::<i32>().ok()?.checked_sub(places)?);
    Some(if negative { -number } else { number })
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let plain = digits.replace('_', "").to_lowercase();
    let (radix, plain) = match plain.as_bytes() {
        [b'0', b'x', ..] => (16, &plain[2..]),
        [b'0', b'b', ..] => (2, &plain[2..]),
        [b'0', b'o', ..] => (8, &plain[2..]),
        [b'0', _, ..] => (8, &plain[1..]),
        _ => (10, plain.as_str()),
    };
    let number = u128::from_str_radix(plain, radix).ok().and_then(|number| i128::try_from(number).ok())?;
    let number = if negative { -number } else { number };
    match i64::try_from(number) {
        Ok(number) => Some(Number::Int(number)),
        Err(_) => u64::try_from(number).ok().map(|_| Number::TooLarge),
    }
}

const INVALID: &str = "invalid syntax";

/// `strconv.Unquote`, into bytes: escapes may make what is not UTF-8.
pub fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let quote = text.chars().next().ok_or(INVALID)?;
    let inner = text.get(1..text.len().max(2) - 1).ok_or(INVALID)?;
    if quote == '`' {
        return Ok(inner.replace('\r', "").into_bytes());
    }
    let (mut bytes, mut rest) = (Vec::new(), inner.chars());
    while let Some(next) = rest.next() {
        if next == '\\' {
            escape(&mut rest, quote, &mut bytes)?;
        } else {
            push(next, &mut bytes);
        }
    }
    Ok(bytes)
}

fn push(character: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(rest: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
    let next = rest.next().ok_or(INVALID)?;
    let mut code = |first: Option<char>, digits: usize, radix: u32| {
        let text: String = first.into_iter().chain(rest.by_ref().take(digits)).collect();
        let is_whole = text.len() == digits + usize::from(first.is_some());
        u32::from_str_radix(&text, radix).ok().filter(|_| is_whole && !text.starts_with('+')).ok_or(INVALID)
    };
    match next {
        'n' => bytes.push(b'\n'),
        't' => bytes.push(b'\t'),
        'r' => bytes.push(b'\r'),
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        'f' => bytes.push(12),
        'v' => bytes.push(11),
        '\\' => bytes.push(b'\\'),
        next if next == quote => push(quote, bytes),
        'x' => byte(code(None, 2, 16)?, quote, bytes)?,
        '0'..='7' => byte(code(Some(next), 2, 8)?, quote, bytes)?,
        'u' => push(char::from_u32(code(None, 4, 16)?).ok_or(INVALID)?, bytes),
        'U' => push(char::from_u32(code(None, 8, 16)?).ok_or(INVALID)?, bytes),
        _ => return Err(INVALID.into()),
    }
    Ok(())
}

/// A byte of a string, or a character by its number.
fn byte(code: u32, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
    let byte = u8::try_from(code).map_err(|_| INVALID)?;
    if quote == '\'' {
        push(char::from(byte), bytes)
    } else {
        bytes.push(byte)
    }
    Ok(())
}
