//! What definitions and fields mean, in our own words: the tables in `docs/*.txt`, compiled in as they are.
//!
//! A table has sections, `[PodSpec] What it is.`, with lines `field: What it is.`; `[A < B]` takes from B what it does
//! not say itself. One table serves all versions of a group. `shared.txt` speaks for every definition whose name ends
//! like a section's. Nothing is indexed: the text is not even read from the binary before somebody asks for it.

mod tables;

use std::iter::successors;

use tables::{SHARED, TABLES};

/// What a definition, e.g. `io.k8s.api.core.v1.PodSpec`, stands for.
pub fn definition(name: &str) -> Option<&'static str> {
    of(name).definition()
}

/// What a field of a definition stands for.
pub fn field(definition: &str, field: &str) -> Option<&'static str> {
    of(definition).field(field)
}

/// All that is said of one definition. Of one that no table knows, e.g. a custom kind, that is what all kinds share.
pub fn of(name: &str) -> Description {
    let short = name.rsplit_once('.').map_or(name, |(_, short)| short);
    let texts = TABLES.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(&[][..], |(_, texts)| *texts);
    let own = successors(section_of(texts, short), |section| section_of(texts, section.parent?));
    let shared = sections(SHARED).filter(|section| section.covers(short));
    Description { sections: own.chain(shared).collect() }
}

/// The sections that speak of a definition, the most special one first.
pub struct Description {
    sections: Vec<Section>,
}

impl Description {
    pub fn definition(&self) -> Option<&'static str> {
        self.sections.iter().map(|section| section.about).find(|about| !about.is_empty())
    }

    pub fn field(&self, name: &str) -> Option<&'static str> {
        self.sections.iter().find_map(|section| section.field(name))
    }
}

/// A part of a table.
#[derive(Clone, Copy)]
struct Section {
    name: &'static str,
    parent: Option<&'static str>,
    about: &'static str,
    fields: &'static str,
}

impl Section {
    /// From what follows an opening bracket.
    fn read(text: &'static str) -> Section {
        let (head, fields) = text.split_once('\n').unwrap_or((text, ""));
        let (name, about) = head.split_once(']').unwrap_or((head, ""));
        let (name, parent) = name.split_once(" < ").map_or((name, None), |(name, parent)| (name, Some(parent)));
        Section { name, parent, about: about.trim_start(), fields }
    }

    fn lines(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.fields.lines().filter_map(|line| line.split_once(": "))
    }

    fn field(self, name: &str) -> Option<&'static str> {
        self.lines().find_map(|(field, text)| (field == name).then_some(text))
    }

    /// Whether a section of the shared table counts for a definition.
    fn covers(self, short: &str) -> bool {
        self.name.strip_prefix('*').is_some_and(|end| short.ends_with(end))
    }
}

fn sections(text: &'static str) -> impl Iterator<Item = Section> {
    text.split("\n[").skip(1).map(Section::read)
}

fn section_of(texts: &[&'static str], short: &str) -> Option<Section> {
    texts.iter().find_map(|text| sections(text).find(|section| section.name == short))
}

#[cfg(test)]
mod tests;
