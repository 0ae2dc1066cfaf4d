//! YAML as Kubernetes writes it: keys in natural order, lists not indented, folded beyond eighty columns, and quotes where
//! a plain text would be read as something else.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

const WIDTH: usize = 80;
const SIMPLE_KEY_MAX: usize = 128;

pub fn to_yaml(value: &Value) -> String {
    let mut out = Emitter::default();
    match value {
        Value::Object(map) if !map.is_empty() => out.mapping(map, 0, false),
        Value::Array(items) if !items.is_empty() => out.sequence(items, 0, false),
        scalar => {
            out.scalar(scalar, 0, false);
            out.text.push('\n');
        }
    }
    out.text
}

/// A mapping of which one value is a sequence that is written item by item.
pub struct Listing {
    pub before: String,
    pub after: String,
}

impl Listing {
    /// The mapping with the sequence `key`, whose items stand between the two texts.
    pub fn new(map: &Map<String, Value>, key: &str) -> Listing {
        let (mut around, mut listing) = (Emitter::default(), Listing { before: String::new(), after: String::new() });
        for name in sorted_keys(map) {
            if name == key {
                around.string(key, 0, true);
                around.put(":");
                around.text.push('\n');
                listing.before = std::mem::take(&mut around.text);
            } else {
                around.entry(map, name, 0);
            }
        }
        listing.after = around.text;
        listing
    }

    pub fn item(value: &Value) -> String {
        let mut out = Emitter::default();
        out.sequence(std::slice::from_ref(value), 0, false);
        out.text
    }
}

#[derive(Default)]
struct Emitter {
    text: String,
    column: usize,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// `inline`: the first line has its indent already, behind a dash.
    fn mapping(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        for (index, key) in sorted_keys(map).into_iter().enumerate() {
            if index > 0 || !inline {
                self.indent(indent);
            }
            self.entry(map, key, indent);
        }
    }

    fn entry(&mut self, map: &Map<String, Value>, key: &str, indent: usize) {
        if key.len() > SIMPLE_KEY_MAX {
            self.put("? ");
            self.string(key, indent + 2, false);
            self.line(indent);
        } else {
            self.string(key, indent + 2, true);
        }
        self.put(":");
        self.value(&map[key], indent);
    }

    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.text.push('\n');
                self.mapping(map, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                self.text.push('\n');
                self.sequence(items, indent, false);
            }
            scalar => {
                self.put(" ");
                self.scalar(scalar, indent + 2, false);
                self.text.push('\n');
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, inline: bool) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 || !inline {
                self.indent(indent);
            }
            self.put("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.mapping(map, indent + 2, true),
                Value::Array(items) if !items.is_empty() => self.sequence(items, indent + 2, true),
                scalar => {
                    self.scalar(scalar, indent + 2, false);
                    self.text.push('\n');
                }
            }
        }
    }

    /// Without a line end. `indent` is that of further lines.
    fn scalar(&mut self, value: &Value, indent: usize, key: bool) {
        match value {
            Value::String(text) => self.string(text, indent, key),
            Value::Object(_) => self.put("{}"),
            Value::Array(_) => self.put("[]"),
            other => self.put(&other.to_string()),
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        match style(text, key) {
            Style::Plain => self.folded(text, indent, key),
            Style::Single => {
                self.put("'");
                self.folded_single(text, indent, key);
                self.put("'");
            }
            Style::Double => self.double(text, indent, key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn folded(&mut self, text: &str, indent: usize, key: bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (index, character) in characters.iter().enumerate() {
            let next_is_space = characters.get(index + 1) == Some(&' ');
            if *character == ' ' && !key && !spaces && self.column > WIDTH && !next_is_space {
                self.line(indent);
            } else {
                self.put(character.encode_utf8(&mut [0; 4]));
            }
            spaces = *character == ' ';
        }
    }

    fn folded_single(&mut self, text: &str, indent: usize, key: bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (index, character) in characters.iter().enumerate() {
            let inside = index > 0 && index + 1 < characters.len() && characters[index + 1] != ' ';
            if *character == ' ' && !key && !spaces && self.column > WIDTH && inside {
                self.line(indent);
            } else if *character == '\'' {
                self.put("''");
            } else {
                self.put(character.encode_utf8(&mut [0; 4]));
            }
            spaces = *character == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut spaces = false;
        self.put("\"");
        for (index, character) in characters.iter().enumerate() {
            let inside = index > 0 && index + 1 < characters.len();
            if *character == ' ' && !key && !spaces && self.column > WIDTH && inside {
                self.line(indent);
                if characters[index + 1] == ' ' {
                    self.put("\\");
                }
            } else {
                self.put(&escape(*character));
            }
            spaces = *character == ' ';
        }
        self.put("\"");
    }

    /// The caller ends the last line.
    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        let ends = text.len() - text.trim_end_matches('\n').len();
        match ends {
            0 => self.put("-"),
            1 if text != "\n" => {}
            _ => self.put("+"),
        }
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.text.push('\n');
            if !line.is_empty() {
                self.indent(indent);
                self.put(line);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn style(text: &str, key: bool) -> Style {
    let shape = Shape::of(text);
    if text.contains('\n') {
        return if key || !shape.block { Style::Double } else { Style::Literal };
    }
    if !is_text(text) {
        return Style::Double;
    }
    match (shape.plain, shape.single) {
        (true, _) => Style::Plain,
        (false, true) => Style::Single,
        (false, false) => Style::Double,
    }
}

/// Which styles can carry a text.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let is_break = |character: &char| *character == '\n';
        let special = characters.iter().any(|character| !is_printable(*character));
        let pairs = || characters.windows(2).map(|pair| (pair[0], pair[1]));
        let space_break = pairs().any(|(a, b)| a == ' ' && is_break(&b));
        let break_space = pairs().any(|(a, b)| is_break(&a) && b == ' ');
        let trailing_space = characters.last() == Some(&' ');
        let edges = [characters.first(), characters.last()].into_iter().flatten();
        let ragged = edges.into_iter().any(|character| *character == ' ' || is_break(character));
        let lines = characters.iter().any(is_break);
        Self {
            plain: !(special || ragged || lines || has_indicators(&characters)),
            single: !(special || space_break || break_space),
            block: !(special || space_break || trailing_space),
        }
    }
}

/// Whether something in the text would mean more than itself in block context.
fn has_indicators(characters: &[char]) -> bool {
    let blank = |at: usize| characters.get(at).is_none_or(|next| [' ', '\t', '\n', '\r'].contains(next));
    let starts = |text: &str| characters.iter().take(3).eq(text.chars().collect::<Vec<_>>().iter());
    if starts("---") || starts("...") {
        return true;
    }
    characters.iter().enumerate().any(|(index, character)| match (index, character) {
        (0, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`') => true,
        (0, '?' | '-') | (_, ':') => blank(index + 1),
        (_, '#') => index > 0 && blank(index - 1),
        _ => false,
    })
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn escape(character: char) -> String {
    match character {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\0' => "\\0".into(),
        '\u{7}' => "\\a".into(),
        '\u{8}' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\u{b}' => "\\v".into(),
        '\u{c}' => "\\f".into(),
        '\r' => "\\r".into(),
        '\u{1b}' => "\\e".into(),
        '\u{85}' => "\\N".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        _ if is_printable(character) => character.into(),
        _ => match u32::from(character) {
            code @ 0..=0xff => format!("\\x{code:02X}"),
            code @ 0x100..=0xffff => format!("\\u{code:04X}"),
            code => format!("\\U{code:08X}"),
        },
    }
}

/// Whether a plain scalar of this text is read as a text, by old readers too.
fn is_text(text: &str) -> bool {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^(?: [-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
            | [-+]?0[xX][0-9a-fA-F]+ | [-+]?0[oO][0-7]+ | [-+]?0[bB][01]+ )$",
        )
        .expect("a fixed expression")
    });
    static OTHER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^(?: [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
            | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}
              (?:(?:[Tt]|\x20)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?
            | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
            | ~ | null | Null | NULL
            | true | True | TRUE | false | False | FALSE
            | y | Y | yes | Yes | YES | n | N | no | No | NO
            | on | On | ON | off | Off | OFF )$",
        )
        .expect("a fixed expression")
    });
    if text.is_empty() || OTHER.is_match(text) {
        return false;
    }
    let numeric = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    !(numeric && NUMBER.is_match(&text.replace('_', "")))
}

/// In natural order: numbers within keys by their value. The order is not transitive for all keys, which the sorting of
/// the standard library does not forgive; so they are merged here.
fn sorted_keys(map: &Map<String, Value>) -> Vec<&String> {
    merge_sorted(&map.keys().collect::<Vec<_>>())
}

fn merge_sorted<'a>(keys: &[&'a String]) -> Vec<&'a String> {
    if keys.len() < 2 {
        return keys.to_vec();
    }
    let (left, right) = keys.split_at(keys.len() / 2);
    let mut left = merge_sorted(left).into_iter().peekable();
    let mut sorted = Vec::with_capacity(keys.len());
    for key in merge_sorted(right) {
        while let Some(before) = left.next_if(|other| !goes_before(key, other)) {
            sorted.push(before);
        }
        sorted.push(key);
    }
    sorted.extend(left);
    sorted
}

fn goes_before(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = (0..a.len().min(b.len())).find(|index| a[*index] != b[*index]) else {
        return a.len() < b.len();
    };
    let (first, second) = (a[at], b[at]);
    match (first.is_alphabetic(), second.is_alphabetic()) {
        (true, true) => return first < second,
        (false, false) => {}
        (_, second_is_letter) => return second_is_letter,
    }
    // A zero counts for its place only behind another digit.
    let behind_digit = (first == '0' || second == '0')
        && a[..at].iter().rev().take_while(|digit| digit.is_ascii_digit()).any(|digit| *digit != '0');
    let (first_number, first_end) = number(&a, at, behind_digit);
    let (second_number, second_end) = number(&b, at, behind_digit);
    (first_number, first_end, first) < (second_number, second_end, second)
}

fn number(characters: &[char], from: usize, behind_digit: bool) -> (u64, usize) {
    let digits: Vec<u64> =
        characters[from..].iter().map_while(|character| character.to_digit(10).map(u64::from)).collect();
    let start = u64::from(behind_digit);
    let value = digits.iter().fold(start, |value, digit| value.wrapping_mul(10).wrapping_add(*digit));
    (value, from + digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn objects_and_lists_are_laid_out() {
        let value = json!({"b": {"x": []}, "a": [{"n": 1, "m": [2]}, [3], "s"], "c": {}, "d": null});
        expect![[r#"
            a:
            - m:
              - 2
              "n": 1
            - - 3
            - s
            b:
              x: []
            c: {}
            d: null
        "#]]
        .assert_eq(&to_yaml(&value));
    }

    #[test]
    fn a_listing_is_what_the_whole_would_be() {
        let items = [json!({"n": 1, "m": {"x": "a\nb\n"}}), json!([3]), json!("s"), json!({})];
        let whole = json!({"kind": "L", "items": items, "apiVersion": "v1", "metadata": {"v": "1"}});
        let listing = Listing::new(whole.as_object().expect("a map"), "items");
        let items: String = items.iter().map(Listing::item).collect();
        assert_eq!(listing.before + &items + &listing.after, to_yaml(&whole));
    }

    #[test]
    fn texts_are_quoted_where_they_must() {
        let styles = |texts: &[&str], wanted: Style| {
            for text in texts {
                assert_eq!(style(text, false), wanted, "{text:?}");
            }
        };
        styles(
            &["a b", "a:b", ":a", "-x", "?x", "a#b", "1e", "=", "<<", "~/x", "50%", "..", "a\\b", "é"],
            Style::Plain,
        );
        styles(&["a: b", "a:", "- x", "---", "#a", "a #b", " x", "x ", "'a", "@a", "...", "-", " "], Style::Single);
        styles(
            &[
                "",
                "1",
                "1.",
                ".5",
                "0x1F",
                "0o17",
                "08",
                "1_000",
                "1:30",
                "2020-01-01",
                "y",
                "No",
                "~",
                "+.inf",
                "a\tb",
                "😀",
            ],
            Style::Double,
        );
        styles(&["a\n", "a\n b\n", "\n"], Style::Literal);
        styles(&["a \nb", "a\r\nb"], Style::Double);
    }

    #[test]
    fn long_and_many_lined_texts() {
        let value = json!({"l": format!("{}end", "word ".repeat(20)), "m": "a\n\nb\n\n", "n": "\na", "o": "x\n"});
        expect![[r#"
            l: word word word word word word word word word word word word word word word word
              word word word word end
            m: |+
              a

              b

            "n": |2-

              a
            o: |
              x
        "#]]
        .assert_eq(&to_yaml(&value));
    }

    #[test]
    fn keys_are_in_natural_order() {
        let value = json!({"a10": 1, "a9": 1, "a1": 1, "A": 1, "b": 1, "-a": 1, "a01": 1, "z.10": 1, "z.2": 1});
        let keys = sorted_keys(value.as_object().expect("a map"));
        assert_eq!(keys, ["-a", "A", "a1", "a01", "a9", "a10", "b", "z.2", "z.10"]);
    }
}
