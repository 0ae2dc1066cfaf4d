//! The JSONPath of printer columns and selectable fields: steps, indices, slices, wildcards, unions, filters, recursion.
//! Keys that are absent find nothing.

use serde_json::Value;

use crate::checks::go_text;

/// A path, ready to be followed.
#[derive(Debug, PartialEq)]
pub struct JsonPath(Box<[Step]>);

#[derive(Debug, PartialEq)]
enum Step {
    Field(Box<str>),
    Index(i64),
    Slice { from: Option<i64>, to: Option<i64>, by: i64 },
    All,
    Recursive,
    Union(Box<[Step]>),
    Filter { left: Operand, comparison: Option<(Comparison, Operand)> },
}

#[derive(Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// `None` if it cannot be read.
    pub fn parse(path: &str) -> Option<Self> {
        let mut reader = Reader { rest: path.strip_prefix('$').unwrap_or(path) };
        let mut steps = Vec::new();
        while !reader.rest.is_empty() {
            reader.step(&mut steps)?;
        }
        Some(Self(steps.into()))
    }

    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![value], |found, step| found.into_iter().flat_map(|value| step.take(value)).collect())
    }

    /// The first value that lies there.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).into_iter().next()
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest.strip_prefix(prefix);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn step(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        if self.eat("..") {
            steps.push(Step::Recursive);
            if self.rest.starts_with('[') {
                return Some(());
            }
            return self.name(steps);
        }
        if self.eat("[") {
            steps.push(self.bracket()?);
            return Some(());
        }
        self.eat(".");
        if self.rest.is_empty() || self.rest.starts_with('[') {
            return Some(());
        }
        self.name(steps)
    }

    /// A name; a dot can be escaped in it.
    fn name(&mut self, steps: &mut Vec<Step>) -> Option<()> {
        let mut name = String::new();
        loop {
            name.push_str(self.take_while(|c| !['.', '[', '\\'].contains(&c)));
            if !self.eat("\\") {
                break;
            }
            let escaped = self.rest.chars().next()?;
            name.push(escaped);
            self.rest = &self.rest[escaped.len_utf8()..];
        }
        steps.push(if name == "*" { Step::All } else { Step::Field(name.into()) });
        Some(())
    }

    /// What stands in brackets; the opening one is read.
    fn bracket(&mut self) -> Option<Step> {
        if self.eat("?(") {
            return self.filter();
        }
        let mut parts = vec![self.element()?];
        while self.eat(",") {
            parts.push(self.element()?);
        }
        self.eat("]").then_some(())?;
        if parts.len() == 1 { parts.pop() } else { Some(Step::Union(parts.into())) }
    }

    fn element(&mut self) -> Option<Step> {
        self.take_while(char::is_whitespace);
        let element = match self.rest.chars().next()? {
            '*' => {
                self.eat("*");
                Step::All
            }
            quote @ ('\'' | '"') => Step::Field(self.quoted(quote)?.into()),
            _ => self.indices()?,
        };
        self.take_while(char::is_whitespace);
        Some(element)
    }

    fn indices(&mut self) -> Option<Step> {
        let text = self.take_while(|c| c.is_ascii_digit() || c == '-' || c == ':');
        let parts: Vec<&str> = text.split(':').collect();
        let number = |at: usize| parts.get(at).filter(|part| !part.is_empty()).map(|part| part.parse::<i64>().ok());
        if parts.len() == 1 {
            return number(0)?.map(Step::Index);
        }
        let from = number(0).map_or(Some(None), |found| found.map(Some))?;
        let to = number(1).map_or(Some(None), |found| found.map(Some))?;
        let by = number(2).map_or(Some(1), |found| found)?;
        Some(Step::Slice { from, to, by })
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest[quote.len_utf8()..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.push(chars.next()?.1),
                _ if c == quote => {
                    self.rest = &self.rest[at + 2 * quote.len_utf8()..];
                    return Some(text);
                }
                _ => text.push(c),
            }
        }
        None
    }

    /// `@.a == "b")]`, or `@.a)]`.
    fn filter(&mut self) -> Option<Step> {
        let left = self.operand()?;
        let comparison = match self.comparison() {
            Some(comparison) => Some((comparison, self.operand()?)),
            None => None,
        };
        (self.eat(")") && self.eat("]")).then_some(Step::Filter { left, comparison })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let known = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        known.into_iter().find(|(text, _)| self.eat(text)).map(|(_, comparison)| comparison)
    }

    fn operand(&mut self) -> Option<Operand> {
        self.take_while(char::is_whitespace);
        let operand = match self.rest.chars().next()? {
            quote @ ('\'' | '"') => Operand::Literal(self.quoted(quote)?.into()),
            '@' | '$' | '.' => {
                let path = self.path_in_filter();
                Operand::Path(JsonPath::parse(path.trim_start_matches('@'))?)
            }
            _ => {
                let literal = self.take_while(|c| c.is_ascii_alphanumeric() || ['.', '-', '+'].contains(&c));
                Operand::Literal(serde_json::from_str(literal).ok()?)
            }
        };
        self.take_while(char::is_whitespace);
        Some(operand)
    }

    /// Up to a comparison, a space or the closing parenthesis, none of which counts inside brackets.
    fn path_in_filter(&mut self) -> &'a str {
        let mut depth = 0_u32;
        let ends = |c: char| " )=!<>".contains(c);
        let end = self.rest.char_indices().find(|(_, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && ends(*c)
        });
        let (path, rest) = self.rest.split_at(end.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        path
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(&**name).into_iter().collect(),
            Self::Index(index) => at(value, *index).into_iter().collect(),
            Self::Slice { from, to, by } => slice(value, *from, *to, *by),
            Self::All => children(value),
            Self::Recursive => all_below(value),
            Self::Union(steps) => steps.iter().flat_map(|step| step.take(value)).collect(),
            Self::Filter { left, comparison } => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().filter(|item| holds(item, left, comparison.as_ref())).collect()
            }
        }
    }
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let length = i64::try_from(items.len()).ok()?;
    items.get(usize::try_from(if index < 0 { index + length } else { index }).ok()?)
}

fn slice(value: &Value, from: Option<i64>, to: Option<i64>, by: i64) -> Vec<&Value> {
    let Some(items) = value.as_array() else { return Vec::new() };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |index: i64| usize::try_from(if index < 0 { index + length } else { index }.clamp(0, length));
    let (Ok(from), Ok(to)) = (place(from.unwrap_or(0)), place(to.unwrap_or(length))) else { return Vec::new() };
    let by = usize::try_from(by).unwrap_or(1).max(1);
    items.get(from..to.max(from)).unwrap_or_default().iter().step_by(by).collect()
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn all_below(value: &Value) -> Vec<&Value> {
    let below = children(value).into_iter().flat_map(all_below);
    std::iter::once(value).chain(below).collect()
}

fn holds(item: &Value, left: &Operand, comparison: Option<&(Comparison, Operand)>) -> bool {
    let find = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(path) => path.first(item).cloned(),
    };
    let Some((comparison, right)) = comparison else { return find(left).is_some() };
    let (Some(left), Some(right)) = (find(left), find(right)) else { return false };
    let order = order(&left, &right);
    match comparison {
        Comparison::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (left, right) if left == right => Some(std::cmp::Ordering::Equal),
        _ => None,
    }
}

/// A value as text: what is no scalar is JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        scalar => go_text(scalar),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_they_say() {
        let object = json!({"spec": {"n": 3, "l": [1, 2, 3]}, "metadata": {"annotations": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "yes"}]}});
        for (path, expected) in [
            (".spec.n", json!([3])),
            (".spec.l[-1]", json!([3])),
            (".spec.l[0:2]", json!([1, 2])),
            (".spec.l[*]", json!([1, 2, 3])),
            (".spec.l[0,2]", json!([1, 3])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["yes"])),
            (".status.conditions[?(@.type == 'Ready')].status", json!(["yes"])),
            (".status.conditions[?(@.reason)].status", json!([])),
            (".metadata.annotations.a\\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            ("..type", json!(["A", "Ready"])),
            (".nothing.here", json!([])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        assert_eq!(JsonPath::parse(".a["), None);
    }
}
