//! `--sort-by`.

use std::cmp::Ordering;

use apimachinery::Quantity;
use serde_json::Value;

use super::jsonpath::JsonPath;
use crate::failure::{Failure, fail};

/// A path as users write it: braces and the first dot may be missing.
pub fn relaxed(path: &str) -> Result<String, Failure> {
    let inner = path.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(path);
    let inner = inner.strip_prefix('.').unwrap_or(inner);
    if path.is_empty() {
        return Ok(String::new());
    }
    if inner.is_empty() || inner.contains(['{', '}']) {
        return fail!(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or \
             '{{.name1.name2}}'"
        );
    }
    Ok(format!("{{.{inner}}}"))
}

pub struct Sorter {
    template: String,
    path: JsonPath,
}

impl Sorter {
    pub fn parse(field: &str) -> Result<Self, Failure> {
        let template = relaxed(field).unwrap_or_else(|_| field.to_owned());
        let path = JsonPath::parse(&template, true)?;
        Ok(Self { template, path })
    }

    /// Tables of several kinds have no common field.
    pub fn unsortable(&self) -> Result<(), Failure> {
        fail!("couldn't find any field with path {:?} in the list of objects", self.template)
    }

    /// Sorts by the field of what `object` makes of an item. Items without the field come first.
    pub fn sort<T>(&self, items: &mut [T], object: impl Fn(&T) -> &Value) -> Result<(), Failure> {
        let mut keys = Vec::new();
        for (index, item) in items.iter().enumerate() {
            keys.push((self.path.find(object(item))?.into_iter().next(), index));
        }
        if !keys.is_empty() && keys.iter().all(|(key, _)| key.is_none()) {
            return self.unsortable();
        }
        keys.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
        let mut order: Vec<usize> = keys.into_iter().map(|(_, index)| index).collect();
        for place in 0..order.len() {
            let mut from = order[place];
            while from < place {
                from = order[from];
            }
            order[place] = from;
            items.swap(place, from);
        }
        Ok(())
    }
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None, None) | (Some(Value::Null), Some(Value::Null)) => Ordering::Equal,
        (None, _) | (Some(Value::Null), _) => Ordering::Less,
        (_, None | Some(Value::Null)) => Ordering::Greater,
        (Some(Value::String(a)), Some(Value::String(b))) => match (a.parse::<Quantity>(), b.parse::<Quantity>()) {
            (Ok(first), Ok(second)) => first.cmp(&second),
            _ => a.cmp(b),
        },
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0))
        }
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_are_sorted_by_a_field() {
        let mut items = vec![json!({"a": "10"}), json!({"b": 1}), json!({"a": "9"}), json!({"a": "1Ki"})];
        Sorter::parse("a").expect("a path").sort(&mut items, |item| item).expect("sorted");
        assert_eq!(items, [json!({"b": 1}), json!({"a": "9"}), json!({"a": "10"}), json!({"a": "1Ki"})]);
        let message = Sorter::parse(".zz").expect("a path").sort(&mut items, |item| item).expect_err("missing").text();
        assert_eq!(message, "couldn't find any field with path \"{.zz}\" in the list of objects");
    }
}
