//! Which labels an object may have, in a few bytes.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// A set of labels that may say that it contains one it does not, but never the reverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSet(u64);

impl LabelSet {
    pub fn may_contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(labels: I) -> Self {
        Self(labels.into_iter().fold(0, |bits, label| bits | mark(label)))
    }
}

/// Two bits of a label: with six labels on each object, one other object in thirty is taken for one that has it.
fn mark(label: (&str, &str)) -> u64 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(label);
    (1 << (hash % 64)) | (1 << (hash / 64 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[(&str, &str)]) -> LabelSet {
        labels.iter().copied().collect()
    }

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let object = set(&[("app", "web"), ("tier", "front")]);
        assert!(object.may_contain(set(&[("app", "web")])) && object.may_contain(set(&[])));
        assert!(object.may_contain(set(&[("tier", "front"), ("app", "web")])));
        let others = (0..1000).map(|number| number.to_string());
        let taken = others.filter(|other| object.may_contain(set(&[("app", other)]))).count();
        assert!(taken < 50, "{taken} of 1000 values are taken for another one");
    }
}
