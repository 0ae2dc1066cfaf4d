//! From nodes and an object to what is found.

use std::cmp::Ordering;
use std::sync::LazyLock;

use serde_json::Value;

use super::parse::{Node, Slice};
use crate::print::go_text;

/// Something found: in the object, or written in the template. Both live as long.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a>(&'a Value);

impl<'a> Found<'a> {
    pub fn value(self) -> &'a Value {
        self.0
    }

    pub fn into_value(self) -> Value {
        self.0.clone()
    }
}

type Results<'a> = Result<Vec<Found<'a>>, String>;

/// What each action finds.
pub fn run<'a>(nodes: &'a [Node], object: &'a Value, missing_keys_fail: bool) -> Result<Vec<Vec<Found<'a>>>, String> {
    Walk { missing_keys_fail }.run(nodes, object)
}

/// A walk through an object.
struct Walk {
    missing_keys_fail: bool,
}

impl Walk {
    fn run<'a>(&self, nodes: &'a [Node], object: &'a Value) -> Result<Vec<Vec<Found<'a>>>, String> {
        let mut results = Vec::new();
        for node in nodes {
            match node {
                Node::Range { steps, body } => {
                    let found = self.walk_all(vec![Found(object)], steps)?;
                    if found.is_empty() {
                        // Whatever is wrong with the body is wrong with no element too.
                        self.run(body, &Value::Null).map(drop)?;
                    }
                    for found in found {
                        results.extend(self.run(body, found.0)?);
                    }
                }
                node => results.push(self.walk(vec![Found(object)], node)?),
            }
        }
        Ok(results)
    }

    fn walk_all<'a>(&self, mut found: Vec<Found<'a>>, steps: &'a [Node]) -> Results<'a> {
        for step in steps {
            found = self.walk(found, step)?;
        }
        Ok(found)
    }

    fn walk<'a>(&self, input: Vec<Found<'a>>, node: &'a Node) -> Results<'a> {
        match node {
            Node::List(steps) => self.walk_all(input, steps),
            Node::Literal(value) => Ok(vec![Found(value)]),
            Node::Field(name) => self.field(&input, name),
            Node::Wildcard => Ok(input.iter().flat_map(|found| children(found.0)).map(Found).collect()),
            Node::Recursive => {
                let mut all = Vec::new();
                input.iter().for_each(|found| recurse(found.0, &mut all));
                Ok(all)
            }
            Node::Slice(slice) => each(&input, |value| cut(value, slice)),
            Node::Union(members) => {
                let mut all = Vec::new();
                for member in members {
                    all.extend(self.walk_all(input.clone(), member)?);
                }
                Ok(all)
            }
            Node::Filter { left, operator, right } => {
                let mut all = Vec::new();
                for found in &input {
                    all.extend(self.filter(found.0, left, operator, right)?);
                }
                Ok(all)
            }
            Node::Range { .. } => Err("range may not stand within an action".into()),
            Node::StrayEnd => Err("not in range, nothing to end".into()),
            Node::Identifier(name) => Err(format!("unrecognized identifier {name}")),
        }
    }

    fn field<'a>(&self, input: &[Found<'a>], name: &str) -> Results<'a> {
        let found: Vec<Found<'a>> = input.iter().filter_map(|found| found.0.get(name)).map(Found).collect();
        if found.is_empty() && !input.is_empty() && self.missing_keys_fail {
            return Err(format!("{name} is not found"));
        }
        Ok(found)
    }

    fn filter<'a>(&self, value: &'a Value, left: &'a [Node], operator: &str, right: &'a [Node]) -> Results<'a> {
        let items = value
            .as_array()
            .ok_or_else(|| format!("{} is not array or slice and cannot be filtered", go_text(value)))?;
        let mut passed = Vec::new();
        for item in items {
            let lefts = self.walk_all(vec![Found(item)], left);
            if operator == "exists" {
                passed.extend(lefts.is_ok_and(|lefts| !lefts.is_empty()).then_some(Found(item)));
                continue;
            }
            let lefts = lefts?;
            let rights = if lefts.is_empty() { Vec::new() } else { self.walk_all(vec![Found(item)], right)? };
            match (lefts.as_slice(), rights.as_slice()) {
                ([], _) | ([_], []) => {}
                ([left], [right]) => passed.extend(holds(left.0, operator, right.0)?.then_some(Found(item))),
                _ => return Err("can only compare one element at a time".into()),
            }
        }
        Ok(passed)
    }
}

fn each<'a>(input: &[Found<'a>], step: impl Fn(&'a Value) -> Results<'a>) -> Results<'a> {
    let mut all = Vec::new();
    for found in input.iter().filter(|found| !found.0.is_null()) {
        all.extend(step(found.0)?);
    }
    Ok(all)
}

static BYTES: LazyLock<Vec<Value>> = LazyLock::new(|| (0..=u8::MAX).map(Value::from).collect());

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        // To Go a string is a row of numbers.
        Value::String(text) => text.bytes().map(|byte| &BYTES[usize::from(byte)]).collect(),
        _ => Vec::new(),
    }
}

fn recurse<'a>(value: &'a Value, all: &mut Vec<Found<'a>>) {
    let children = children(value);
    if !children.is_empty() {
        all.push(Found(value));
        children.into_iter().for_each(|child| recurse(child, all));
    }
}

fn cut<'a>(value: &'a Value, slice: &Slice) -> Results<'a> {
    let items = value.as_array().ok_or_else(|| format!("{} is not array or slice", type_name(value)))?;
    let length = i64::try_from(items.len()).map_err(|error| error.to_string())?;
    let from = slice.from.map_or(0, |from| if from < 0 { from + length } else { from });
    let to = slice.to.map_or(length, |to| if to < 0 || (to == 0 && slice.one) { to + length } else { to });
    if from == to {
        return Ok(Vec::new());
    }
    let outside = |index: i64| Err(format!("array index out of bounds: index {index}, length {length}"));
    if !(0..length).contains(&from) {
        return outside(from);
    }
    if !(0..=length).contains(&to) {
        return outside(to - 1);
    }
    if from > to {
        return Err(format!("starting index {from} is greater than ending index {to}"));
    }
    let place = |index: i64| usize::try_from(index).map_err(|error| error.to_string());
    let step = slice.step.unwrap_or(1);
    if step <= 0 {
        return Err("step must be > 0".into());
    }
    Ok(items[place(from)?..place(to)?].iter().step_by(place(step)?).map(Found).collect())
}

fn holds(left: &Value, operator: &str, right: &Value) -> Result<bool, String> {
    let order = match (left, right) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) if a.is_f64() == b.is_f64() => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::Bool(a), Value::Bool(b)) if ["==", "!="].contains(&operator) => a.cmp(b),
        (Value::Bool(_), Value::Bool(_)) | (Value::Array(_) | Value::Object(_) | Value::Null, _) => {
            return Err("invalid type for comparison".into());
        }
        _ => return Err("incompatible types for comparison".into()),
    };
    Ok(match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        _ => return Err(format!("unrecognized filter operator {operator}")),
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
