//! Label selectors: from query strings and from `LabelSelector` objects.

use std::fmt;

use serde_json::{Map, Value};

use crate::field::{FieldError, Path};
use crate::validation::{is_label_value, is_qualified_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition of a selector. `=` and `==` are `In` with one value, `!=` is `NotIn` with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.has(value)),
            Operator::NotIn => value.is_none_or(|value| !self.has(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |have, want| have > want),
            Operator::LessThan => self.compare(value, |have, want| have < want),
        }
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|wanted| wanted == value)
    }

    fn compare(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let have = value.and_then(|value| value.parse().ok());
        let want = self.values.first().and_then(|value| value.parse().ok());
        have.zip(want).is_some_and(|(have, want)| holds(have, want))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::In if self.values.len() == 1 => write!(f, "{key}={values}"),
            Operator::NotIn if self.values.len() == 1 => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// All requirements must hold. Without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// From a query string: `a=b,c!=d,e in (f,g),h,!i`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = parser.selector().map_err(ParseError)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// From a `LabelSelector`. An absent selector selects nothing, an empty one everything.
    pub fn from_label_selector(selector: Option<&Value>) -> Result<Self, ParseError> {
        let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            requirements.push(requirement(key, Operator::In, vec![value.as_str().unwrap_or_default().into()])?);
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            requirements.push(from_expression(expression)?);
        }
        Ok(Self { requirements, nothing: false })
    }

    /// From a plain map, as of a Service. An absent map selects nothing, an empty one everything.
    pub fn from_map(map: Option<&Value>) -> Self {
        let Some(map) = map.and_then(Value::as_object) else { return Self::nothing() };
        let requirement = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.as_str().unwrap_or_default().into()],
        };
        Self { requirements: map.iter().map(requirement).collect(), nothing: false }
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether the object's labels match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(crate::object::labels(object))
    }

    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.requirements.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

fn from_expression(expression: &Value) -> Result<Requirement, ParseError> {
    let text = |name: &str| expression[name].as_str().unwrap_or_default();
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(ParseError(format!("\"{other}\" is not a valid label selector operator"))),
    };
    let values = expression["values"].as_array().into_iter().flatten();
    let values = values.map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
    requirement(text("key"), operator, values)
}

fn requirement(key: &str, operator: Operator, values: Vec<String>) -> Result<Requirement, ParseError> {
    check(key, operator, &values).map_err(|error| ParseError(error.to_string()))?;
    Ok(Requirement { key: key.into(), operator, values })
}

fn check(key: &str, operator: Operator, values: &[String]) -> Result<(), FieldError> {
    if let Some(message) = is_qualified_name(key).into_iter().next() {
        return Err(FieldError::invalid(&Path::new("key"), key, message));
    }
    let path = Path::new("values");
    let wrong = |detail: &str| Err(FieldError::invalid(&path, values.to_vec(), detail));
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            return wrong("for 'in', 'notin' operators, values set can't be empty");
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            return wrong("values set must be empty for exists and does not exist");
        }
        Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
            return wrong("for 'Gt', 'Lt' operators, exactly one value is required");
        }
        Operator::GreaterThan | Operator::LessThan if values[0].parse::<i64>().is_err() => {
            let value = path.index(0);
            return Err(FieldError::invalid(
                &value,
                values[0].clone(),
                "for 'Gt', 'Lt' operators, the value must be an integer",
            ));
        }
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(message) = is_label_value(value).into_iter().next() {
            return Err(FieldError::invalid(&path.index(index).key(key), value.clone(), message));
        }
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    Bad(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Bad(text) => text,
            Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

const SYMBOLS: [&str; 9] = ["!=", "==", "=", "!", ",", "(", ")", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let special = rest.find(|c: char| "=!(),><".contains(c) || c.is_ascii_whitespace()).unwrap_or(rest.len());
        if special > 0 {
            found.push(Token::Word(rest[..special].to_owned()));
            rest = rest[special..].trim_start();
            continue;
        }
        let run = rest.find(|c: char| !"=!(),><".contains(c)).unwrap_or(rest.len());
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => {
                found.push(Token::Symbol(symbol));
                rest = rest[symbol.len()..].trim_start();
            }
            None => {
                found.push(Token::Bad(rest[..run].to_owned()));
                rest = rest[run..].trim_start();
            }
        }
    }
    found.push(Token::End);
    found
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn look(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.look().clone();
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        loop {
            match self.look() {
                Token::End => return Ok(all),
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
            }
            all.push(self.requirement().map_err(|error| format!("unable to parse requirement: {error}"))?);
            match self.next() {
                Token::End => return Ok(all),
                Token::Symbol(",") => match self.look() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
                },
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (key, inferred) = self.key()?;
        let (operator, values) = match inferred {
            Some(operator) => (operator, Vec::new()),
            None => self.operation()?,
        };
        requirement(&key, operator, values).map_err(|error| error.0)
    }

    fn key(&mut self) -> Result<(String, Option<Operator>), String> {
        let negated = *self.look() == Token::Symbol("!");
        if negated {
            self.at += 1;
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        if let Some(message) = is_qualified_name(&key).into_iter().next() {
            return Err(FieldError::invalid(&Path::new("<nil>"), key, message).to_string());
        }
        let alone = matches!(self.look(), Token::End | Token::Symbol(","));
        let inferred = match (negated, alone) {
            (true, _) => Some(Operator::DoesNotExist),
            (false, true) => Some(Operator::Exists),
            (false, false) => None,
        };
        Ok((key, inferred))
    }

    fn operation(&mut self) -> Result<(Operator, Vec<String>), String> {
        let token = self.next();
        let operator = match token.text() {
            "in" | "=" | "==" => Operator::In,
            "notin" | "!=" => Operator::NotIn,
            ">" => Operator::GreaterThan,
            "<" => Operator::LessThan,
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = if matches!(token, Token::Word(_)) { self.set()? } else { vec![self.exact_value()?] };
        Ok((operator, values))
    }

    fn exact_value(&mut self) -> Result<String, String> {
        match self.look().clone() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(value) => {
                self.at += 1;
                Ok(value)
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.look().clone() {
                Token::Word(value) => {
                    self.at += 1;
                    value
                }
                Token::Symbol("," | ")") => String::new(),
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            };
            if !values.contains(&value) {
                values.push(value);
            }
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
        values.sort();
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Expect) {
        let printed = Selector::parse(text).map_or_else(|error| error.to_string(), |selector| selector.to_string());
        expected.assert_eq(&printed);
    }

    #[test]
    fn parses_every_operator_and_explains_what_it_cannot() {
        check("", expect![[""]]);
        check("a=b, c!=d,e in (g,f), h,!i", expect![["a=b,c!=d,e in (f,g),h,!i"]]);
        check("a==b,x notin (y),z>5", expect![["a=b,x!=y,z>5"]]);
        check("a=,b", expect![["a=,b"]]);
        check("a in b", expect![["unable to parse requirement: found 'b' expected: '('"]]);
        check("a,", expect![["found '', expected: identifier after ','"]]);
        check("=a", expect![["found '=', expected: !, identifier, or 'end of string'"]]);
        check("a b", expect![["unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"]]);
        check(
            "a_/b=c",
            expect![[
                r#"unable to parse requirement: <nil>: Invalid value: "a_/b": prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#
            ]],
        );
    }

    #[test]
    fn a_missing_key_matches_the_negative_operators() {
        let pod = json!({"metadata": {"labels": {"app": "web", "n": "7"}}});
        for (text, matches) in [
            ("app=web", true),
            ("app!=web", false),
            ("tier!=x", true),
            ("tier notin (x)", true),
            ("!tier", true),
            ("tier", false),
            ("n>6", true),
            ("n<6", false),
            ("app in (a,web)", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches_object(&pod), matches, "{text}");
        }
    }

    #[test]
    fn an_absent_selector_object_selects_nothing_and_an_empty_one_everything() {
        let pod = json!({});
        assert!(!Selector::from_label_selector(None).unwrap().matches_object(&pod));
        assert!(Selector::from_label_selector(Some(&json!({}))).unwrap().matches_object(&pod));
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        assert!(Selector::from_label_selector(Some(&bad)).is_err());
    }
}
