//! Lists and sets.

use super::Answer;
use crate::errors::EvalError;
use crate::limits::MAX_RANGE;
use crate::value::{List, Value};

type Items<'a> = Vec<Value<'a>>;

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("lists.range", [Value::Int(count)]) => Some(range(*count)),
        ("sets.contains", [Value::List(a), Value::List(b)]) => Some(sets(a, b, contains_all)),
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            Some(sets(a, b, |a, b| contains_all(a, b) && contains_all(b, a)))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            Some(sets(a, b, |a, b| b.iter().any(|item| a.contains(item))))
        }
        (_, [Value::List(list), rest @ ..]) => on_list(function, list, rest),
        _ => None,
    }
}

fn sets<'a>(a: &List<'a>, b: &List<'a>, test: impl Fn(&Items<'a>, &Items<'a>) -> bool) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(test(&a.to_vec()?, &b.to_vec()?)))
}

fn contains_all<'a>(a: &Items<'a>, b: &Items<'a>) -> bool {
    b.iter().all(|item| a.contains(item))
}

fn on_list<'a>(function: &str, list: &List<'a>, rest: &[Value<'a>]) -> Answer<'a> {
    let known = matches!(
        function,
        "isSorted"
            | "sum"
            | "min"
            | "max"
            | "indexOf"
            | "lastIndexOf"
            | "slice"
            | "flatten"
            | "sort"
            | "reverse"
            | "distinct"
            | "@sortByAssociatedKeys"
    );
    if !known {
        return None;
    }
    let items = match list.to_vec() {
        Ok(items) => items,
        Err(error) => return Some(Err(error)),
    };
    match (function, rest) {
        ("isSorted", []) => Some(Ok(Value::Bool(
            items.windows(2).all(|pair| pair[0].order(&pair[1]).is_some_and(|order| order.is_le())),
        ))),
        ("sum", []) => Some(sum(items)),
        ("min" | "max", []) => Some(extreme(function, items)),
        ("indexOf", [item]) => Some(Ok(position(items.iter().position(|other| other.equals(item))))),
        ("lastIndexOf", [item]) => Some(Ok(position(items.iter().rposition(|other| other.equals(item))))),
        ("slice", [Value::Int(start), Value::Int(end)]) => Some(slice(&items, *start, *end)),
        ("flatten", []) => Some(flattened(items, 1)),
        ("flatten", [Value::Int(depth)]) => Some(flattened(items, *depth)),
        ("sort", []) => Some(sorted(items.clone(), items)),
        ("@sortByAssociatedKeys", [Value::List(keys)]) => Some(keys.to_vec().and_then(|keys| sorted(items, keys))),
        ("reverse", []) => Some(Ok(Value::list(items.into_iter().rev().collect()))),
        ("distinct", []) => Some(Ok(distinct(items))),
        _ => None,
    }
}

fn range<'a>(count: i64) -> Result<Value<'a>, EvalError> {
    if count > MAX_RANGE { Err(EvalError::CallCost) } else { Ok(Value::list((0..count).map(Value::Int).collect())) }
}

/// The sum; that of nothing is the integer 0, since the type of the items is not known here.
fn sum<'a>(items: Items<'a>) -> Result<Value<'a>, EvalError> {
    let mut items = items.into_iter();
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    items.try_fold(first, |total, item| {
        super::operators::consuming("_+_", vec![total, item]).unwrap_or(Err(EvalError::NoSuchOverload))
    })
}

fn extreme<'a>(function: &str, items: Items<'a>) -> Result<Value<'a>, EvalError> {
    let mut items = items.into_iter();
    let Some(mut best) = items.next() else {
        return Err(EvalError::message(format!("{function} called on empty list")));
    };
    for item in items {
        let order = item.order(&best).ok_or(EvalError::NoSuchOverload)?;
        if if function == "min" { order.is_lt() } else { order.is_gt() } {
            best = item;
        }
    }
    Ok(best)
}

fn position<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.and_then(|found| i64::try_from(found).ok()).unwrap_or(-1))
}

fn slice<'a>(items: &[Value<'a>], start: i64, end: i64) -> Result<Value<'a>, EvalError> {
    let fail = |why: String| Err(EvalError::message(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return fail("negative indexes not supported".into());
    };
    if from > to {
        return fail("start index must be less than or equal to end index".into());
    }
    match items.get(from..to) {
        Some(part) => Ok(Value::list(part.to_vec())),
        None => fail(format!("list is length {}", items.len())),
    }
}

fn flattened<'a>(items: Items<'a>, depth: i64) -> Result<Value<'a>, EvalError> {
    if depth < 0 {
        return Err(EvalError::message("level must be non-negative"));
    }
    let mut out = Vec::new();
    flatten(items, depth.min(250), &mut out)?;
    Ok(Value::list(out))
}

fn flatten<'a>(items: Items<'a>, depth: i64, out: &mut Items<'a>) -> Result<(), EvalError> {
    for item in items {
        match item {
            Value::List(list) if depth > 0 => flatten(list.to_vec()?, depth - 1, out)?,
            item => out.push(item),
        }
    }
    Ok(())
}

fn sorted<'a>(items: Items<'a>, keys: Items<'a>) -> Result<Value<'a>, EvalError> {
    if let Some(pair) = keys.windows(2).find(|pair| pair[0].order(&pair[1]).is_none()) {
        let same = pair[0].type_of() == pair[1].type_of();
        return Err(EvalError::message(if same {
            "list elements must be comparable"
        } else {
            "list elements must have the same type"
        }));
    }
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| a.order(b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

fn distinct<'a>(items: Items<'a>) -> Value<'a> {
    let mut unique: Items<'a> = Vec::new();
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    Value::list(unique)
}
