//! What the engine complains of, in Go's words and with Go's positions.

use gtmpl_ng::{ErrorContext, ExecError, ParseError};
use serde_json::Value;

use super::{NAME, go_quoted};

const KEYWORDS: &[&str] =
    &[".", "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"];

pub fn of_parse(error: &ParseError) -> String {
    match error {
        ParseError::WithContext(place, message) => format!("template: {NAME}:{}: {}", place.line, reworded(message)),
        other => format!("template: {NAME}:1: {other}"),
    }
}

fn reworded(message: &str) -> String {
    if let Some(name) = message.strip_prefix("function ").and_then(|rest| rest.strip_suffix(" not defined")) {
        return format!("function {} not defined", go_quoted(name));
    }
    if let Some(name) = message.strip_prefix("undefined variable ") {
        return format!("undefined variable {}", go_quoted(name));
    }
    match message.strip_prefix("unexpected ").and_then(|rest| rest.rsplit_once(" in ")) {
        Some((token, _)) if token.starts_with("unterminated") => token.to_owned(),
        Some((token, place)) => format!("unexpected {} in {place}", item(token)),
        None => message.to_owned(),
    }
}

/// A token as Go shows it.
fn item(token: &str) -> String {
    if token == "EOF" {
        return token.to_owned();
    }
    if KEYWORDS.contains(&token) {
        return format!("<{token}>");
    }
    let short: String = token.chars().take(10).collect();
    if token.len() > 10 { format!("{}...", go_quoted(&short)) } else { go_quoted(token) }
}

pub fn of_execution(error: &ExecError, template: &str, data: &Value) -> String {
    let Some(structured) = error.as_structured() else {
        return format!("template: {NAME}: {error}");
    };
    let place = &structured.context;
    let mut spot = Spot::of(place, template);
    let message = match structured.message.as_str() {
        "only maps and objects have fields" => {
            spot.move_to_last_field();
            format!("can't evaluate field {} in type interface {{}}", failing_field(&spot.text, data))
        }
        message => match message.strip_prefix("template ").and_then(|rest| rest.strip_suffix(" not defined")) {
            Some(name) => {
                spot.widen_to_action(template);
                format!("template {} not defined", go_quoted(name))
            }
            None => with_literals(message, &spot.text),
        },
    };
    let executing = go_quoted(&place.name);
    format!("template: {NAME}:{}:{}: executing {executing} at <{}>: {message}", place.line, spot.column, spot.text)
}

/// A number that the template itself compares is an `int`, unlike the data's.
fn with_literals(message: &str, command: &str) -> String {
    let is_literal =
        command.split(' ').nth(1).is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    if is_literal { message.replace("comparison: int64 and", "comparison: int and") } else { message.to_owned() }
}

/// A stretch of a template's line.
struct Spot {
    line: usize,
    column: usize,
    text: String,
}

impl Spot {
    fn of(place: &ErrorContext, template: &str) -> Self {
        let column = place.col.saturating_sub(1);
        let start = line_start(template, place.line) + column;
        let text = template.get(start..start + place.len).unwrap_or_default();
        Self { line: place.line, column, text: text.to_owned() }
    }

    /// Go points at the second field of a chain.
    fn move_to_last_field(&mut self) {
        if let Some(second) = self.text.get(1..).and_then(|rest| rest.find('.')) {
            self.column += second + 1;
        }
    }

    fn widen_to_action(&mut self, template: &str) {
        let at = line_start(template, self.line) + self.column;
        let (before, after) = template.split_at(at.min(template.len()));
        if let (Some(start), Some(length)) = (before.rfind("{{"), after.find("}}")) {
            self.text = template[start..at + length + 2].to_owned();
        }
    }
}

fn line_start(template: &str, line: usize) -> usize {
    template.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

/// The field of a chain at which the data has none; the last one if the chain starts elsewhere than at the data.
fn failing_field<'a>(chain: &'a str, data: &Value) -> &'a str {
    let mut fields = chain.split('.').skip(1);
    let mut current = Some(data);
    let last = chain.rsplit('.').next().unwrap_or_default();
    let found = fields.find(|field| {
        let fails = current.is_some_and(|value| !value.is_object() && !value.is_null());
        current = current.and_then(|value| value.get(*field));
        fails
    });
    found.unwrap_or(last)
}
