//! What the generated tables have in common: the rows of one owner lie side by side, and kinds are in order.

/// The rows of a table that belong to one owner.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub first: u16,
    pub end: u16,
}

impl Span {
    pub fn of<T>(self, table: &'static [T]) -> &'static [T] {
        &table[usize::from(self.first)..usize::from(self.end)]
    }
}

/// Group, version and kind, and the index of what they stand for.
pub type KindRow = (&'static str, &'static str, &'static str, u16);

/// The index that stands for a kind.
pub fn kind(kinds: &[KindRow], group: &str, version: &str, kind: &str) -> Option<u16> {
    let found = kinds.binary_search_by(|row| (row.0, row.1, row.2).cmp(&(group, version, kind))).ok()?;
    Some(kinds[found].3)
}
