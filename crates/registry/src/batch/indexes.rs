//! Sets of indexes as text: `1,3-5,7`.

/// The intervals of the text, or why it is not a set of indexes below `completions`.
pub fn parse(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some((_, previous)) = intervals.last().filter(|(_, previous)| *previous >= first) {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let index = |part: &str| -> Result<i64, String> {
        let index = part.parse().map_err(|_| format!("cannot convert string to integer for index: {part:?}"))?;
        if index >= completions { Err(format!("too large index: {part:?}")) } else { Ok(index) }
    };
    match parts[..] {
        [single] => index(single).map(|index| (index, index)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            match first < last {
                true => Ok((first, last)),
                false => Err(format!("non-increasing order, previous: {first}, current: {last}")),
            }
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        )),
    }
}

/// The first index that is in both sets; parts that are no intervals are passed over.
pub fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let all = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let others = all(other);
    all(one).iter().find_map(|(first, last)| {
        let meets = others.iter().find(|(from, to)| first <= to && from <= last);
        meets.map(|(from, _)| *first.max(from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_numbers_and_intervals_in_order() {
        assert_eq!(parse("", 5), Ok(vec![]));
        assert_eq!(parse("0,2-4", 5), Ok(vec![(0, 0), (2, 4)]));
        for wrong in ["a", "1,", "5", "3,1", "2-2", "1-2-3", "0-9"] {
            assert!(parse(wrong, 5).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sets_meet_where_an_index_is_in_both() {
        assert_eq!(overlap("0-2,7", "3-6", 10), None);
        assert_eq!(overlap("0-3", "2,5", 10), Some(2));
    }
}
