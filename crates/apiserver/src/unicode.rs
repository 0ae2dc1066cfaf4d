//! Text as Go reads it: what is no Unicode becomes the replacement character.

use std::borrow::Cow;

use bytes::Bytes;

const REPLACEMENT: &str = "\\ufffd";

/// JSON without bytes that are no UTF-8 and without escapes of half a character.
pub fn repaired(json: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(json);
    match whole_characters(&text) {
        Cow::Borrowed(same) if same.len() == json.len() => Bytes::copy_from_slice(json),
        other => Bytes::from(other.into_owned()),
    }
}

/// Escapes of surrogates stand in pairs; a single one is replaced.
fn whole_characters(text: &str) -> Cow<'_, str> {
    let Some(first) = surrogate_escape(text) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut at) = (text, Some(first));
    while let Some(index) = at {
        let (before, escape) = rest.split_at(index);
        out.push_str(before);
        let pair = is_surrogate(escape, b"89ab") && escape.get(6..).is_some_and(|next| is_surrogate(next, b"cdef"));
        let (kept, length) = if pair { (&escape[..12], 12) } else { (REPLACEMENT, 6) };
        out.push_str(kept);
        rest = &escape[length..];
        at = surrogate_escape(rest);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the next escape of a surrogate begins. A backslash that is itself escaped begins nothing.
fn surrogate_escape(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find('\\') {
        let at = from + found;
        if is_surrogate(&text[at..], b"89abcdef") {
            return Some(at);
        }
        from = text[at..].char_indices().nth(2).map_or(text.len(), |(next, _)| at + next);
    }
    None
}

/// Whether the text begins with `\uDx..` where x is one of `third`.
fn is_surrogate(text: &str, third: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 6
        && bytes.starts_with(b"\\u")
        && bytes[2].eq_ignore_ascii_case(&b'd')
        && third.contains(&bytes[3].to_ascii_lowercase())
        && bytes[4..6].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &[u8]) -> String {
        serde_json::from_slice(&repaired(json)).unwrap()
    }

    #[test]
    fn half_characters_are_replaced_and_whole_ones_kept() {
        assert_eq!(read(br#""a\ud800b""#), "a\u{fffd}b");
        assert_eq!(read(br#""\ude00\uD83D\uDE00""#), "\u{fffd}\u{1f600}");
        assert_eq!(read(br#""\\ud800""#), "\\ud800");
        assert_eq!(read(b"\"a\xffb\""), "a\u{fffd}b");
        assert_eq!(read("\"é\\n\"".as_bytes()), "é\n");
    }
}
