//! Quoted text: `%q`.

/// With what cannot be printed escaped.
pub fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes(), false)
}

/// `ascii`: with all beyond ASCII escaped too.
pub fn quoted_bytes(text: &[u8], ascii: bool) -> String {
    let mut quoted = String::from("\"");
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|character| escape(character, '"', ascii, &mut quoted));
        chunk.invalid().iter().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
    }
    quoted + "\""
}

/// A character by its number, in its own quotes.
pub fn quoted_character(number: i64, ascii: bool) -> String {
    let character = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut quoted = String::from("'");
    escape(character, '\'', ascii, &mut quoted);
    quoted + "'"
}

fn escape(character: char, quote: char, ascii: bool, quoted: &mut String) {
    let number = u32::from(character);
    match character {
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{b}' => quoted.push_str("\\v"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\\' => quoted.push_str("\\\\"),
        _ if character == quote => quoted.extend(['\\', quote]),
        ' '..='~' => quoted.push(character),
        '\0'..'\u{80}' => quoted.push_str(&format!("\\x{number:02x}")),
        _ if !ascii && is_printable(character) => quoted.push(character),
        _ if number < 0x1_0000 => quoted.push_str(&format!("\\u{number:04x}")),
        _ => quoted.push_str(&format!("\\U{number:08x}")),
    }
}

/// Rust escapes in its own quotes what cannot be seen, but for combining characters.
pub fn is_printable(character: char) -> bool {
    character == ' ' || (!character.is_whitespace() && format!("x{character}").escape_debug().eq(['x', character]))
}
