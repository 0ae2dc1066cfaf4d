//! Owners of a replica count, seen through the object and through its Scale.

use super::entries::Entry;
use super::field_set::{FieldSet, PathElement};

const SCALE_VERSION: &str = "autoscaling/v1";

/// Translates entries between an object and its Scale.
pub struct ScaleEntries<'a> {
    /// The version that the object is written in.
    pub api_version: &'a str,
    /// Where the replica count is in each version; `None` in a version without a Scale. Entries of other versions are
    /// dropped.
    pub paths: &'a [(&'a str, Option<Vec<PathElement>>)],
}

fn in_scale() -> Vec<PathElement> {
    ["spec", "replicas"].map(|name| PathElement::Field(name.into())).to_vec()
}

fn only(path: &[PathElement]) -> FieldSet {
    let mut set = FieldSet::new();
    set.insert(path);
    set
}

impl ScaleEntries<'_> {
    fn path(&self, api_version: &str) -> Option<Option<&Vec<PathElement>>> {
        self.paths.iter().find(|(version, _)| *version == api_version).map(|(_, path)| path.as_ref())
    }

    /// Who owns the replica count, as entries of the Scale.
    pub fn to_scale(&self, parent: &[Entry]) -> Vec<Entry> {
        let owns =
            |entry: &&Entry| self.path(&entry.api_version).flatten().is_some_and(|path| entry.fields.contains(path));
        let translated =
            |entry: &Entry| Entry { fields: only(&in_scale()), api_version: SCALE_VERSION.into(), ..entry.clone() };
        parent.iter().filter(owns).map(translated).collect()
    }

    /// The object's entries after its Scale was written. A translated updater carries the Scale's version, so owners are
    /// recognised by all but that.
    pub fn to_parent(&self, parent: &[Entry], mut scale: Vec<Entry>) -> Vec<Entry> {
        let mut out = Vec::new();
        for entry in parent {
            let Some(path) = self.path(&entry.api_version) else { continue };
            let Some(path) = path.filter(|path| entry.fields.contains(path)) else {
                out.push(entry.clone());
                continue;
            };
            let translated = Entry { api_version: SCALE_VERSION.into(), ..entry.clone() };
            match scale.iter().position(|own| own.is_of(&translated)) {
                Some(index) => out.push(Entry { time: scale.remove(index).time, ..entry.clone() }),
                None => {
                    let mut rest = entry.clone();
                    rest.fields.subtract(&only(path));
                    out.extend((!rest.fields.is_empty()).then_some(rest));
                }
            }
        }
        let written = self.path(self.api_version).flatten();
        let gained = scale.into_iter().filter(|entry| entry.fields.contains(&in_scale()));
        out.extend(
            gained.filter_map(|entry| {
                Some(Entry { fields: only(written?), api_version: self.api_version.into(), ..entry })
            }),
        );
        out
    }
}
