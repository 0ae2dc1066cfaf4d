//! Flags in pflag's dialect: anywhere on the line, `--name value`, `--name=value`, `-n value`, `-nvalue`, `-it`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Switch,
    Text,
    /// Given several times, or with commas.
    List,
    /// Given several times; commas are part of the value.
    Texts,
    Number,
    Duration,
    /// A text; the flag alone means this one.
    Optional(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
}

impl Flag {
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, short: None, kind, default: "", help }
    }

    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { default: "false", ..Self::new(name, Kind::Switch, help) }
    }

    pub const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Text, help)
    }

    pub const fn list(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::List, help)
    }

    pub const fn number(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Number, help).or(default)
    }

    pub const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// What the flag means without a value, if it may stand so.
    fn alone(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Switch => Some("true"),
            Kind::Optional(alone) => Some(alone),
            _ => None,
        }
    }

    fn describe(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let why = match self.kind {
            Kind::Switch => parse_bool(value).err(),
            Kind::Number => {
                value.parse::<i64>().err().map(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
            }
            Kind::Duration => duration::parse(value).err(),
            _ => None,
        };
        match why {
            Some(why) => Err(format!("invalid argument {value:?} for {:?} flag: {why}", self.describe())),
            None => Ok(()),
        }
    }
}

pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A command line taken apart.
#[derive(Debug, Default)]
pub struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// Flags of the command itself that hide a global one of their name.
    hiding: BTreeSet<&'static str>,
    pub arguments: Vec<String>,
    /// How many arguments stood before `--`.
    pub before_dash: Option<usize>,
}

impl Parsed {
    fn known(&self, name: &str) -> &'static str {
        self.defaults.get(name).copied().unwrap_or_else(|| panic!("no flag --{name} in the command's table"))
    }

    /// Whether the flag was given.
    pub fn given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value of a global flag, unless the command has an own flag of that name.
    pub fn global(&self, name: &str) -> Option<&str> {
        if self.hiding.contains(name) { None } else { self.some(name) }
    }

    /// Whether this command has such a flag.
    pub fn has(&self, name: &str) -> bool {
        self.defaults.contains_key(name)
    }

    /// The last value, or the default.
    pub fn text(&self, name: &str) -> &str {
        let default = self.known(name);
        self.values.get(name).and_then(|values| values.last()).map_or(default, String::as_str)
    }

    /// The value, unless it is empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub fn on(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or(false)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().expect("checked when parsed")
    }

    pub fn duration(&self, name: &str) -> Duration {
        Some(self.text(name)).filter(|text| !text.is_empty()).map_or(Duration::ZERO, |text| {
            let nanos = duration::parse(text).expect("checked when parsed");
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
        })
    }

    /// All values, split at commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.texts(name);
        values.iter().flat_map(|value| value.split(',')).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// All values as they were given.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let default = self.known(name);
        match self.values.get(name) {
            Some(values) => values.clone(),
            None if default.is_empty() => Vec::new(),
            None => vec![default.to_owned()],
        }
    }
}

struct Parser<'a> {
    known: &'a [&'a [Flag]],
    parsed: Parsed,
}

/// Takes a command line apart by the flags that its command knows.
pub fn parse(known: &[&[Flag]], line: &[String]) -> Result<Parsed, String> {
    let defaults = known.iter().copied().flatten().map(|flag| (flag.name, flag.default)).collect();
    let (global, own) = known.split_first().map_or((&[] as &[Flag], known), |(global, own)| (*global, own));
    let hides = |flag: &&Flag| global.iter().any(|hidden| hidden.name == flag.name);
    let hiding = own.iter().copied().flatten().filter(hides).map(|flag| flag.name).collect();
    let mut parser = Parser { known, parsed: Parsed { defaults, hiding, ..Parsed::default() } };
    let mut rest = line.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            parser.parsed.before_dash = Some(parser.parsed.arguments.len());
            parser.parsed.arguments.extend(rest.cloned());
            break;
        }
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(long), _) => parser.long(long, &mut rest)?,
            (None, Some(letters)) if !letters.is_empty() => parser.letters(letters, &mut rest)?,
            _ => parser.parsed.arguments.push(word.clone()),
        }
    }
    Ok(parser.parsed)
}

impl Parser<'_> {
    fn find(&self, wanted: impl Fn(&Flag) -> bool) -> Option<Flag> {
        // A command's own flag hides a global one.
        self.known.iter().rev().copied().flatten().find(|flag| wanted(flag)).copied()
    }

    fn set(&mut self, flag: Flag, value: &str) -> Result<(), String> {
        flag.check(value)?;
        self.parsed.values.entry(flag.name).or_default().push(value.to_owned());
        Ok(())
    }

    fn long<'l>(&mut self, text: &str, rest: &mut impl Iterator<Item = &'l String>) -> Result<(), String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: --{text}"));
        }
        let flag = self.find(|flag| flag.name == name).ok_or_else(|| format!("unknown flag: --{name}"))?;
        match (value, flag.alone()) {
            (Some(value), _) | (None, Some(value)) => self.set(flag, value),
            (None, None) => {
                let value = rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?;
                self.set(flag, value)
            }
        }
    }

    /// Letters that need no value may be run together.
    fn letters<'l>(&mut self, letters: &str, rest: &mut impl Iterator<Item = &'l String>) -> Result<(), String> {
        let mut left = letters;
        while let Some(letter) = left.chars().next() {
            left = &left[letter.len_utf8()..];
            let flag = self.find(|flag| flag.short == Some(letter));
            let flag = flag.ok_or_else(|| format!("unknown shorthand flag: {letter:?} in -{letters}"))?;
            if let Some(value) = left.strip_prefix('=') {
                return self.set(flag, value);
            }
            match flag.alone() {
                Some(alone) => self.set(flag, alone)?,
                None if !left.is_empty() => return self.set(flag, left),
                None => {
                    let value = rest.next();
                    let value = value.ok_or_else(|| format!("flag needs an argument: {letter:?} in -{letters}"))?;
                    return self.set(flag, value);
                }
            }
        }
        Ok(())
    }
}

/// The place of the first word that is no flag and no flag's value; only the given flags are known yet.
pub fn first_argument(known: &[&[Flag]], line: &[String]) -> Option<usize> {
    let takes_value = |word: &str| {
        let long = word.strip_prefix("--");
        let mut all = known.iter().copied().flatten();
        match long {
            Some(name) => all.any(|flag| flag.name == name && flag.alone().is_none()),
            None => {
                all.any(|flag| flag.alone().is_none() && flag.short.is_some_and(|short| word == format!("-{short}")))
            }
        }
    };
    let mut at = 0;
    while at < line.len() {
        let word = line[at].as_str();
        if word == "--" {
            return None;
        }
        if !word.starts_with('-') || word == "-" {
            return Some(at);
        }
        at += if takes_value(word) { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[
        Flag::text("namespace", "").short('n'),
        Flag::switch("stdin", "").short('i'),
        Flag::switch("tty", "").short('t'),
        Flag::number("replicas", "1", ""),
        Flag::list("group", ""),
        Flag::new("cascade", Kind::Optional("background"), "").or("background"),
    ];

    fn parsed(line: &str) -> Result<Parsed, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&[KNOWN], &words)
    }

    #[test]
    fn flags_stand_anywhere() {
        let line = parsed("-it pod --group a,b -nprod --group=c --cascade x -- sh -c true").expect("a good line");
        assert!(line.on("stdin") && line.on("tty"));
        assert_eq!((line.text("namespace"), line.text("cascade"), line.number("replicas")), ("prod", "background", 1));
        assert_eq!(line.list("group"), ["a", "b", "c"]);
        assert_eq!((line.arguments.join(" "), line.before_dash), ("pod x sh -c true".into(), Some(2)));
    }

    #[test]
    fn bad_lines_are_told_as_by_pflag() {
        let error = |line: &str| parsed(line).expect_err("a bad line");
        assert_eq!(error("--nope"), "unknown flag: --nope");
        assert_eq!(error("-ix"), "unknown shorthand flag: 'x' in -ix");
        assert_eq!(error("-n"), "flag needs an argument: 'n' in -n");
        assert_eq!(
            error("--replicas=x"),
            "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn the_verb_is_found_behind_global_flags() {
        let line: Vec<String> = "-n prod -i get pods".split(' ').map(str::to_owned).collect();
        assert_eq!(first_argument(&[KNOWN], &line), Some(3));
    }
}
