//! A set of completion indexes, as a Job's status writes it: `0,2-4`.

use std::fmt;

/// Disjoint intervals, in order, that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// What the text says, below `completions`. What is no number ends it: only the controller writes the text.
    pub fn parse(text: &str, completions: i32) -> Indexes {
        let mut indexes = Indexes::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { break };
            if first >= completions {
                break;
            }
            indexes.push(first, last.min(completions - 1));
        }
        indexes
    }

    pub fn of(numbers: impl IntoIterator<Item = i32>) -> Indexes {
        let mut numbers: Vec<i32> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let mut indexes = Indexes::default();
        numbers.into_iter().for_each(|number| indexes.push(number, number));
        indexes
    }

    /// Appends an interval that does not begin before the last one.
    fn push(&mut self, first: i32, last: i32) {
        match self.0.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
            _ => self.0.push((first, last)),
        }
    }

    pub fn union(&self, other: &Indexes) -> Indexes {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut union = Indexes::default();
        all.into_iter().for_each(|(first, last)| union.push(first, last));
        union
    }

    pub fn has(&self, index: i32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= index);
        after > 0 && self.0[after - 1].1 >= index
    }

    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many of these are in `other` as well.
    pub fn common(&self, other: &Indexes) -> i32 {
        let overlap = |a: &(i32, i32), b: &(i32, i32)| (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
        self.0.iter().map(|a| other.0.iter().map(|b| overlap(a, b)).sum::<i32>()).sum()
    }

    /// The first `count` numbers below `completions` that are not in the set.
    pub fn first_missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for (first, last) in &self.0 {
            gaps.push(next..(*first).min(completions));
            next = last + 1;
        }
        gaps.push(next..completions);
        gaps.into_iter().flatten().take(count).collect()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_they_are_read() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8"] {
            assert_eq!(Indexes::parse(text, 100).to_string(), text);
        }
        assert_eq!(Indexes::parse("1,3-5,7", 5).to_string(), "1,3,4");
        assert_eq!(Indexes::of([4, 1, 2, 3, 9]).to_string(), "1-4,9");
    }

    #[test]
    fn sets_are_joined_counted_and_filled() {
        let (some, other) = (Indexes::parse("0-2,6", 10), Indexes::parse("2-4", 10));
        assert_eq!(some.union(&other).to_string(), "0-4,6");
        assert_eq!((some.total(), some.common(&other)), (4, 1));
        assert!(some.has(6) && !some.has(5) && !some.has(7));
        assert_eq!(some.first_missing(4, 9), [3, 4, 5, 7]);
        assert_eq!(Indexes::default().first_missing(4, 2), [0, 1]);
    }
}
