//! Any object, field by field.

use serde_json::Value;

use super::page::{Page, map, scalar, text};

const SHOWN_ALREADY: [&str; 5] =
    [".metadata.managedFields", ".metadata.name", ".metadata.namespace", ".metadata.labels", ".metadata.annotations"];

pub fn describe(object: &Value, page: &mut Page) {
    page.head(object);
    content(object, 0, "", page);
}

fn content(object: &Value, level: usize, path: &str, page: &mut Page) {
    for (field, value) in map(object) {
        let path = format!("{path}.{field}");
        if SHOWN_ALREADY.contains(&path.as_str()) {
            continue;
        }
        let label = label(field);
        match value {
            Value::Object(_) => {
                page.line(level, format!("{label}:"));
                content(value, level + 1, &path, page);
            }
            Value::Array(items) => {
                page.line(level, format!("{label}:"));
                for item in items {
                    match item {
                        Value::Object(_) => content(item, level + 1, &path, page),
                        item => page.line(level + 1, scalar(item)),
                    }
                }
            }
            Value::String(_) => page.field(level, &label, text(value)),
            value => page.field(level, &label, scalar(value)),
        }
    }
}

/// `creationTimestamp` as `Creation Timestamp`.
fn label(field: &str) -> String {
    if field.chars().any(|character| !character.is_alphabetic() && character != '-') {
        return field.to_owned();
    }
    let words: Vec<String> = merged(words(field)).into_iter().map(|word| titled(&word)).collect();
    words.join(" ")
}

/// Runs of one case; a capital before small letters belongs to them.
fn words(field: &str) -> Vec<String> {
    let class = |character: char| match character {
        _ if character.is_lowercase() => 1,
        _ if character.is_uppercase() => 2,
        _ => 4,
    };
    let mut runs: Vec<Vec<char>> = Vec::new();
    for character in field.chars() {
        match runs.last_mut() {
            Some(run) if class(run[0]) == class(character) => run.push(character),
            _ => runs.push(vec![character]),
        }
    }
    for index in 1..runs.len() {
        if class(runs[index - 1][0]) == 2 && class(runs[index][0]) == 1 {
            let capital = runs[index - 1].pop().expect("a run is not empty");
            runs[index].insert(0, capital);
        }
    }
    runs.into_iter().filter(|run| !run.is_empty()).map(String::from_iter).collect()
}

/// An acronym stays with the capitalised word behind it.
fn merged(words: Vec<String>) -> Vec<String> {
    let mut merged = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(mut word) = words.next() {
        let acronym =
            word.len() >= 2 && word.chars().all(|character| !character.is_alphabetic() || character.is_uppercase());
        if acronym && let Some(next) = words.next_if(|next| next.starts_with(char::is_uppercase)) {
            word.push_str(&next);
        }
        merged.push(word);
    }
    merged
}

fn titled(word: &str) -> String {
    let upper = word.to_uppercase();
    if ["API", "URL", "UID", "GUID"].contains(&upper.as_str()) {
        return upper;
    }
    if word != word.to_lowercase() {
        return word.to_owned();
    }
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_labels() {
        for (field, wanted) in [
            ("creationTimestamp", "Creation Timestamp"),
            ("apiVersion", "API Version"),
            ("uid", "UID"),
            ("podCIDR", "Pod CIDR"),
            ("clusterIPs", "Cluster I Ps"),
            ("app.kubernetes.io/name", "app.kubernetes.io/name"),
        ] {
            assert_eq!(label(field), wanted);
        }
    }
}
