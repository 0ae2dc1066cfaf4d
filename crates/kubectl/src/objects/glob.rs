//! Patterns in file names, for shells that leave them as they are.

use std::path::{Path, PathBuf};

use regex::Regex;

use crate::failure::{Failure, fail};

const SPECIAL: &[char] = &['*', '?', '[', '\\'];

/// What a name stands for: a file of that name, or else all that match it.
pub fn expand(name: &str) -> Result<Vec<String>, Failure> {
    if Path::new(name).exists() {
        return Ok(vec![name.to_owned()]);
    }
    let Some(parts) = name.split('/').map(matcher).collect::<Option<Vec<_>>>() else {
        return fail!("pattern {name:?} is not valid: syntax error in pattern");
    };
    let mut found = vec![String::new()];
    for (at, (part, matcher)) in name.split('/').zip(parts).enumerate() {
        let last = at == name.split('/').count() - 1;
        found = found.iter().flat_map(|base| beneath(base, at == 0, part, matcher.as_ref(), last)).collect();
    }
    if found.is_empty() { fail!("the path {name:?} does not exist") } else { Ok(found) }
}

/// The expression for a part of a path; none for a plain name.
#[expect(clippy::option_option, reason = "a part may be plain, or not a pattern at all")]
fn matcher(part: &str) -> Option<Option<Regex>> {
    if !part.contains(SPECIAL) {
        return Some(None);
    }
    let mut expression = String::from("(?s)^");
    let mut characters = part.chars();
    while let Some(next) = characters.next() {
        match next {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '\\' => expression.push_str(&regex::escape(&characters.next()?.to_string())),
            '[' => expression.push_str(&class(&mut characters)?),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    Regex::new(&(expression + "$")).ok().map(Some)
}

/// `[a-c]`, `[^a]`.
fn class(characters: &mut std::str::Chars<'_>) -> Option<String> {
    let mut text = String::from("[");
    let mut count = 0;
    loop {
        match characters.next()? {
            '^' if count == 0 && text == "[" => text.push('^'),
            ']' if count > 0 => return Some(text + "]"),
            ']' => return None,
            '-' if count > 0 => text.push('-'),
            '-' => return None,
            '\\' => text.push_str(&regex::escape(&characters.next()?.to_string())),
            other => text.push_str(&regex::escape(&other.to_string())),
        }
        count += 1;
    }
}

/// The paths one part deeper.
fn beneath(base: &str, first: bool, part: &str, matcher: Option<&Regex>, last: bool) -> Vec<String> {
    let joined = |name: &str| if first { name.to_owned() } else { format!("{base}/{name}") };
    let Some(matcher) = matcher else {
        let path = joined(part);
        let is_there = path.is_empty() || Path::new(&path).exists() || (!last && part.is_empty());
        return if is_there { vec![path] } else { Vec::new() };
    };
    let directory = match (first, base) {
        (true, _) => PathBuf::from("."),
        (false, "") => PathBuf::from("/"),
        (false, base) => PathBuf::from(base),
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| matcher.is_match(name));
    names.sort();
    names.iter().map(|name| joined(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.yaml", "b.yaml", "c.json"] {
            std::fs::write(directory.path().join(name), "").expect("written");
        }
        let expanded = |pattern: &str| {
            let found = expand(&format!("{}/{pattern}", directory.path().display()));
            let short = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
            found.map(|found| found.iter().map(short).collect::<Vec<_>>().join(" ")).map_err(|failure| failure.text())
        };
        assert_eq!(expanded("*.yaml").as_deref(), Ok("a.yaml b.yaml"));
        assert_eq!(expanded("[^a].*").as_deref(), Ok("b.yaml c.json"));
        assert_eq!(expanded("?.json").as_deref(), Ok("c.json"));
        assert!(expanded("x*").expect_err("nothing").ends_with("does not exist"));
        assert!(expanded("[").expect_err("no pattern").ends_with("syntax error in pattern"));
    }
}
