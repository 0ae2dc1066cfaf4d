//! No object remembers every program that ever wrote it.

use super::entries::Entry;

/// More updating managers than this are folded.
const UPDATE_MANAGERS_MAX: usize = 10;
const FOLDED: &str = "ancient-changes";

/// Folds the oldest updaters of the same version into one entry while there are too many.
pub fn fold_oldest(entries: Vec<Entry>) -> Vec<Entry> {
    let (mut updaters, mut kept): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| !entry.applied);
    let mut count = updaters.len();
    if count > UPDATE_MANAGERS_MAX {
        updaters.sort_by(|a, b| (&a.time, a.identity()).cmp(&(&b.time, b.identity())));
    }
    let mut folded: Vec<Entry> = Vec::new();
    for entry in updaters {
        let bucket = folded.iter_mut().find(|bucket| bucket.api_version == entry.api_version);
        match bucket {
            Some(bucket) if count > UPDATE_MANAGERS_MAX => {
                bucket.manager = FOLDED.into();
                bucket.subresource = String::new();
                bucket.fields.extend(&entry.fields);
                // The younger one's.
                bucket.time = entry.time;
                count -= 1;
            }
            None if count > UPDATE_MANAGERS_MAX => folded.push(entry),
            _ => kept.push(entry),
        }
    }
    kept.extend(folded);
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::managed_fields::FieldSet;

    fn entry(number: usize, version: &str) -> Entry {
        let fields = FieldSet::from_fields_v1(&json!({format!("f:{number}"): {}})).unwrap();
        let time = Some(format!("2026-01-01T00:00:{number:02}Z"));
        Entry { manager: format!("m{number}"), api_version: version.into(), time, fields, ..Entry::default() }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        let mut names: Vec<&str> = entries.iter().map(|entry| entry.manager.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn ten_stay_and_the_eleventh_folds_the_two_oldest() {
        let ten: Vec<Entry> = (0..10).map(|number| entry(number, "v1")).collect();
        assert_eq!(fold_oldest(ten.clone()).len(), 10);
        let folded = fold_oldest((0..11).map(|number| entry(number, "v1")).collect());
        assert_eq!(names(&folded)[..2], ["ancient-changes", "m10"]);
        assert_eq!(folded.len(), 10);
        let ancient = folded.iter().find(|entry| entry.manager == FOLDED).unwrap();
        assert_eq!(ancient.fields.to_fields_v1(), json!({"f:0": {}, "f:1": {}}));
        assert_eq!(ancient.time.as_deref(), Some("2026-01-01T00:00:01Z"));
    }

    #[test]
    fn only_entries_of_one_version_fold_together() {
        let mut entries: Vec<Entry> = (1..11).map(|number| entry(number, "v1")).collect();
        entries.push(entry(0, "v2"));
        let folded = fold_oldest(entries);
        assert_eq!(folded.len(), 10);
        assert!(names(&folded).contains(&"m0"), "{:?}", names(&folded));
    }
}
