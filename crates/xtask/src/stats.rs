//! Sizes of files and functions. Never fails: numbers are for people.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

struct Function {
    name: String,
    path: PathBuf,
    lines: usize,
}

pub fn run() -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(&root().join("crates"), &mut files)?;
    let (mut sizes, mut functions, mut test_lines, mut source_lines) = (Vec::new(), Vec::new(), 0, 0);
    for path in files {
        let text = fs::read_to_string(&path)?;
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        let (source, tests) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((&text, ""));
        test_lines += tests.lines().count() + if is_test { source.lines().count() } else { 0 };
        if is_test {
            continue;
        }
        source_lines += source.lines().count();
        sizes.push(source.lines().count());
        functions.extend(find(source, &path));
    }
    sizes.sort_unstable();
    functions.sort_by_key(|function| std::cmp::Reverse(function.lines));
    let mut lengths: Vec<usize> = functions.iter().map(|function| function.lines).collect();
    lengths.sort_unstable();
    let long = lengths.iter().filter(|lines| **lines > 100).count();
    println!("files      p50 {} p90 {}", percentile(&sizes, 50), percentile(&sizes, 90));
    println!("functions  p50 {} p90 {}", percentile(&lengths, 50), percentile(&lengths, 90));
    println!("over 100   {long} of {} ({:.1} %)", lengths.len(), share(long, lengths.len()));
    println!("test:source {:.2}  ({test_lines}:{source_lines} lines)", share(test_lines, source_lines) / 100.0);
    for function in functions.iter().take(10) {
        println!(
            "{:5}  {} in {}",
            function.lines,
            function.name,
            function.path.strip_prefix(root()).unwrap_or(&function.path).display()
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn percentile(sorted: &[usize], percent: usize) -> usize {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(0)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Functions by the indentation that rustfmt gives them.
fn find(text: &str, path: &Path) -> Vec<Function> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(rest) = trimmed.split_once("fn ").filter(|(before, _)| is_modifiers(before)) else { continue };
        let indent = &line[..line.len() - trimmed.len()];
        let end = lines[start..]
            .iter()
            .position(|line| *line == format!("{indent}}}") || line.ends_with('}') && line.starts_with(trimmed));
        let name = rest.1.split(['(', '<']).next().unwrap_or_default().to_owned();
        found.extend(end.map(|length| Function { name, path: path.to_owned(), lines: length + 1 }));
    }
    found
}

fn is_modifiers(text: &str) -> bool {
    text.split_whitespace()
        .all(|word| matches!(word, "pub" | "async" | "const" | "unsafe" | "pub(crate)" | "pub(super)"))
}
