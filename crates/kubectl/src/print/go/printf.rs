//! `fmt.Sprintf`: verbs, flags, widths, precisions, and complaints about them.

use super::Argument;
use super::number::{float, hexadecimal};
use super::quote::{is_printable, quoted_bytes, quoted_character};

/// Larger widths and precisions are refused, as by Go.
const WIDTH_MAX: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`.
    go_syntax: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    rest: &'a [u8],
    arguments: &'a [Argument<'a>],
    next: usize,
    /// An argument was asked for by its number: then nothing is said of those that nobody asked for.
    reordered: bool,
    /// The number of an argument was one.
    good_index: bool,
    out: Vec<u8>,
    flags: Flags,
}

pub fn sprintf(format: &[u8], arguments: &[Argument<'_>]) -> Vec<u8> {
    let mut printer = Printer {
        rest: format,
        arguments,
        next: 0,
        reordered: false,
        good_index: true,
        out: Vec::new(),
        flags: Flags::default(),
    };
    while let Some(percent) = printer.rest.iter().position(|byte| *byte == b'%') {
        printer.out.extend_from_slice(&printer.rest[..percent]);
        printer.rest = &printer.rest[percent + 1..];
        printer.directive();
    }
    printer.out.extend_from_slice(printer.rest);
    printer.extra();
    printer.out
}

impl Printer<'_> {
    fn say(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is = self.rest.first() == Some(&wanted);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    /// What stands behind a percent sign.
    fn directive(&mut self) {
        self.flags = Flags::default();
        self.good_index = true;
        while let Some(flag) = self.rest.first() {
            match flag {
                b'+' => self.flags.plus = true,
                b'-' => self.flags.minus = true,
                b'#' => self.flags.sharp = true,
                b' ' => self.flags.space = true,
                b'0' => self.flags.zero = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        let mut after_index = self.index();
        after_index = self.width(after_index);
        after_index = self.precision(after_index);
        if !after_index {
            self.index();
        }
        self.verb();
    }

    /// `[n]`, the argument's number. Whether there was one.
    fn index(&mut self) -> bool {
        if self.rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        let Some(end) = self.rest.iter().position(|byte| *byte == b']') else {
            self.good_index = false;
            self.rest = &self.rest[1..];
            return false;
        };
        let number = std::str::from_utf8(&self.rest[1..end]).ok().and_then(|text| text.parse::<usize>().ok());
        self.rest = &self.rest[end + 1..];
        match number.filter(|number| (1..=self.arguments.len()).contains(number)) {
            Some(number) => {
                self.next = number - 1;
                true
            }
            None => {
                self.good_index = false;
                true
            }
        }
    }

    fn number(&mut self) -> Option<i64> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(number).filter(|number| *number <= WIDTH_MAX)
    }

    /// The next argument as a width.
    fn starred(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        match argument {
            Argument::Int(number, _) if (-WIDTH_MAX..=WIDTH_MAX).contains(number) => Some(*number),
            _ => None,
        }
    }

    fn width(&mut self, after_index: bool) -> bool {
        if !self.take(b'*') {
            self.flags.width = self.number().and_then(|width| usize::try_from(width).ok());
            if after_index && self.flags.width.is_some() {
                self.good_index = false;
            }
            return after_index;
        }
        match self.starred() {
            Some(width) => {
                if width < 0 {
                    self.flags.minus = true;
                    self.flags.zero = false;
                }
                self.flags.width = usize::try_from(width.unsigned_abs()).ok();
            }
            None => self.say("%!(BADWIDTH)"),
        }
        false
    }

    fn precision(&mut self, after_index: bool) -> bool {
        if !self.take(b'.') {
            return after_index;
        }
        if after_index {
            self.good_index = false;
        }
        let after_index = self.index();
        if !self.take(b'*') {
            self.flags.precision = Some(self.number().and_then(|number| usize::try_from(number).ok()).unwrap_or(0));
            return after_index;
        }
        match self.starred() {
            Some(precision) if precision >= 0 => self.flags.precision = usize::try_from(precision).ok(),
            Some(_) => {}
            None => self.say("%!(BADPREC)"),
        }
        false
    }

    fn verb(&mut self) {
        let text = self.rest.utf8_chunks().next();
        let Some(verb) = text.and_then(|chunk| chunk.valid().chars().next().or(Some(char::REPLACEMENT_CHARACTER)))
        else {
            return self.say("%!(NOVERB)");
        };
        let is_whole = self.rest.starts_with(verb.encode_utf8(&mut [0; 4]).as_bytes());
        self.rest = &self.rest[if is_whole { verb.len_utf8() } else { 1 }..];
        match self.arguments.get(self.next).copied() {
            _ if verb == '%' => self.out.push(b'%'),
            _ if !self.good_index => self.say(&format!("%!{verb}(BADINDEX)")),
            None => self.say(&format!("%!{verb}(MISSING)")),
            Some(argument) => {
                self.next += 1;
                if verb == 'v' {
                    self.flags.go_syntax = std::mem::take(&mut self.flags.sharp);
                    self.flags.plus = false;
                }
                self.argument(argument, verb);
            }
        }
    }

    fn argument(&mut self, argument: Argument<'_>, verb: char) {
        match (argument, verb) {
            (_, 'T') => self.text(argument.type_name().as_bytes()),
            (Argument::Nil, 'v') => self.pad("<nil>"),
            _ => self.value(argument, verb),
        }
    }

    fn value(&mut self, argument: Argument<'_>, verb: char) {
        match argument {
            Argument::Bool(value) if "tv".contains(verb) => self.pad(if value { "true" } else { "false" }),
            Argument::Int(number, name) => self.integer(number, name, verb),
            Argument::Float(number) if "vgGxXfeEF".contains(verb) => self.float(number, verb),
            Argument::Text(text) => match verb {
                'v' if self.flags.go_syntax => self.quoted(text),
                'v' | 's' => self.text(text),
                'x' | 'X' => self.hexadecimal(text, verb),
                'q' => self.quoted(text),
                _ => self.bad_verb(argument, verb),
            },
            Argument::List(items) if verb != 'p' => self.list(items, verb),
            Argument::Map(map) if verb != 'p' => self.map(map, verb),
            _ => self.bad_verb(argument, verb),
        }
    }

    fn bad_verb(&mut self, argument: Argument<'_>, verb: char) {
        self.say(&format!("%!{verb}("));
        if let Argument::Nil = argument {
            self.say("<nil>");
        } else {
            self.say(&format!("{}=", argument.type_name()));
            self.value(argument, 'v');
        }
        self.say(")");
    }

    fn member(&mut self, value: &serde_json::Value, verb: char) {
        match Argument::of_json(value) {
            Argument::Nil if self.flags.go_syntax => self.say("interface {}(nil)"),
            Argument::Nil => self.say("<nil>"),
            argument => self.value(argument, verb),
        }
    }

    fn list(&mut self, items: &[serde_json::Value], verb: char) {
        let (open, separator, close) =
            if self.flags.go_syntax { ("[]interface {}{", ", ", "}") } else { ("[", " ", "]") };
        self.say(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.say(separator);
            }
            self.member(item, verb);
        }
        self.say(close);
    }

    fn map(&mut self, map: &serde_json::Map<String, serde_json::Value>, verb: char) {
        let (open, separator, close) =
            if self.flags.go_syntax { ("map[string]interface {}{", ", ", "}") } else { ("map[", " ", "]") };
        self.say(open);
        for (at, (key, value)) in map.iter().enumerate() {
            if at > 0 {
                self.say(separator);
            }
            self.value(Argument::Text(key.as_bytes()), verb);
            self.say(":");
            self.member(value, verb);
        }
        self.say(close);
    }

    /// Fills up to the width.
    fn pad(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let length: usize = text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.out.resize(self.out.len() + missing, b' ');
        } else {
            let filling = if self.flags.zero { b'0' } else { b' ' };
            self.out.resize(self.out.len() + missing, filling);
            self.out.extend_from_slice(text);
        }
    }

    fn pad_with_spaces(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    /// No more characters than the precision says.
    fn cut<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(precision) = self.flags.precision else { return text };
        let mut left = precision;
        let mut end = 0;
        for chunk in text.utf8_chunks() {
            let lengths = chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1));
            for length in lengths {
                if left == 0 {
                    return &text[..end];
                }
                left -= 1;
                end += length;
            }
        }
        text
    }

    fn text(&mut self, text: &[u8]) {
        let text = self.cut(text);
        self.pad(text);
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.cut(text);
        let plain = std::str::from_utf8(text).ok().filter(|text| can_backquote(text));
        match plain {
            Some(plain) if self.flags.sharp => self.pad(format!("`{plain}`")),
            _ => self.pad(quoted_bytes(text, self.flags.plus)),
        }
    }

    fn hexadecimal(&mut self, text: &[u8], verb: char) {
        let text = &text[..self.flags.precision.unwrap_or(text.len()).min(text.len())];
        let digits = |byte: &u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
        let prefix = if self.flags.sharp && !text.is_empty() { format!("0{verb}") } else { String::new() };
        let bytes: Vec<String> = text.iter().map(digits).collect();
        let separator = if self.flags.space { format!(" {prefix}") } else { String::new() };
        self.pad(format!("{prefix}{}", bytes.join(&separator)));
    }

    fn integer(&mut self, number: i64, name: &'static str, verb: char) {
        match verb {
            'v' if self.flags.go_syntax && name == "uint8" => self.pad(format!("{number:#x}")),
            'v' | 'd' => self.digits(number, format!("{}", number.unsigned_abs()), ""),
            'b' => {
                self.digits(number, format!("{:b}", number.unsigned_abs()), if self.flags.sharp { "0b" } else { "" })
            }
            'o' => {
                let digits = format!("{:o}", number.unsigned_abs());
                let prefix = if self.flags.sharp && !digits.starts_with('0') { "0" } else { "" };
                self.digits(number, digits, prefix);
            }
            'O' => self.digits(number, format!("{:o}", number.unsigned_abs()), "0o"),
            'x' => {
                self.digits(number, format!("{:x}", number.unsigned_abs()), if self.flags.sharp { "0x" } else { "" })
            }
            'X' => {
                self.digits(number, format!("{:X}", number.unsigned_abs()), if self.flags.sharp { "0X" } else { "" })
            }
            'c' => self.pad(character(number).to_string()),
            'q' => self.pad(quoted_character(number, self.flags.plus)),
            'U' => self.unicode(number),
            _ => self.bad_verb(Argument::Int(number, name), verb),
        }
    }

    fn digits(&mut self, number: i64, mut digits: String, prefix: &str) {
        let sign = match (number < 0, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let least = match (self.flags.precision, self.flags.width) {
            (Some(0), _) if number == 0 => {
                return self.pad_with_spaces("");
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.flags.zero && !self.flags.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        self.pad_with_spaces(&format!("{sign}{prefix}{digits}"));
    }

    fn unicode(&mut self, number: i64) {
        let least = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{number:0least$X}");
        let known = u32::try_from(number).ok().and_then(char::from_u32).filter(|known| is_printable(*known));
        if let (true, Some(known)) = (self.flags.sharp, known) {
            text.push_str(&format!(" '{known}'"));
        }
        self.pad_with_spaces(&text);
    }

    fn float(&mut self, number: f64, verb: char) {
        let kind = if verb == 'v' { 'g' } else { verb.to_ascii_lowercase() };
        let precision = self.flags.precision.or_else(|| if "ef".contains(kind) { Some(6) } else { None });
        let mut text = if kind == 'x' { hexadecimal(number) } else { float(number, kind, precision) };
        if "EGX".contains(verb) {
            text.make_ascii_uppercase();
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None if self.flags.plus => ("+", text.trim_start_matches('+')),
            None if self.flags.space => (" ", text.as_str()),
            None => ("", text.as_str()),
        };
        let width = self.flags.width.unwrap_or(0);
        let length = sign.len() + digits.len();
        if self.flags.zero && !self.flags.minus && number.is_finite() && width > length {
            self.say(&format!("{sign}{}{digits}", "0".repeat(width - length)));
        } else {
            self.pad_with_spaces(&format!("{sign}{digits}"));
        }
    }

    /// What was given and not asked for.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.arguments.len() {
            return;
        }
        self.flags = Flags::default();
        self.say("%!(EXTRA ");
        for (at, argument) in self.arguments[self.next..].iter().enumerate() {
            if at > 0 {
                self.say(", ");
            }
            if let Argument::Nil = argument {
                self.say("<nil>");
            } else {
                self.say(&format!("{}=", argument.type_name()));
                self.argument(*argument, 'v');
            }
        }
        self.say(")");
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn can_backquote(text: &str) -> bool {
    text.chars().all(|next| next != '`' && next != '\u{7f}' && next != '\u{feff}' && (next >= ' ' || next == '\t'))
}
