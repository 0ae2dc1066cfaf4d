//! JSON text laid out on lines, as it passes by.

/// Lays JSON text out with two spaces a level. The text comes in pieces, cut anywhere.
#[derive(Default)]
pub struct Indenter {
    depth: usize,
    place: Place,
}

/// Where the text was cut.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    /// Behind a brace or bracket that may close at once.
    Opened,
    InText,
    /// Behind a backslash.
    Escaped,
}

impl Indenter {
    pub fn write(&mut self, json: &[u8], out: &mut Vec<u8>) {
        let mut rest = json;
        while let Some((&byte, behind)) = rest.split_first() {
            match self.place {
                Place::InText => {
                    rest = self.text(rest, out);
                    continue;
                }
                Place::Escaped => {
                    out.push(byte);
                    self.place = Place::InText;
                }
                Place::Between | Place::Opened => self.token(byte, out),
            }
            rest = behind;
        }
    }

    /// The text up to its end, a backslash, or the cut; returns what is behind.
    fn text<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Some(at) = memchr::memchr2(b'"', b'\\', rest) else {
            out.extend_from_slice(rest);
            return &[];
        };
        self.place = if rest[at] == b'"' { Place::Between } else { Place::Escaped };
        out.extend_from_slice(&rest[..=at]);
        &rest[at + 1..]
    }

    fn token(&mut self, byte: u8, out: &mut Vec<u8>) {
        let opened = std::mem::take(&mut self.place) == Place::Opened;
        let closes = matches!(byte, b'}' | b']');
        self.depth -= usize::from(closes);
        if opened != closes {
            self.line(out);
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.place = Place::Opened;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.place = Place::InText,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn wherever_it_is_cut_the_lines_are_the_same() {
        let value = json!({
            "a": [], "b": {}, "c": [1, -2.5e3, null, true], "d": {"e": [[], [{}], {"f": "g"}]},
            "h": "{\"i\": [\\\\, \u{1} \u{2028}]}", "": "",
        });
        let (text, wanted) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
        for size in 1..=text.len() {
            let (mut indenter, mut out) = (Indenter::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| indenter.write(piece, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn single_values_stay() {
        for value in [json!("a"), json!(1), Value::Null, json!({}), json!([])] {
            let mut out = Vec::new();
            Indenter::default().write(value.to_string().as_bytes(), &mut out);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
