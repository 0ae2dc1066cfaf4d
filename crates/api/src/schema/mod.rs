//! What every field of every kind is: static tables generated from the published schema, and the door through which a
//! schema that is loaded at run time (a CustomResourceDefinition's) enters as the same [`SchemaNode`].

mod key_defaults;
mod node;
pub mod published;
mod tables;

pub use node::{DynamicSchema, ListKind, SchemaNode};

use crate::rows::{self, Span};

/// The type of a field. A number in `Object` is an index into the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    /// Base64 in JSON.
    Bytes,
    Int32,
    Int64,
    Double,
    Bool,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// Any JSON: raw extensions, field sets, JSON schemas.
    Any,
    Object(u16),
    List(&'static Type),
    Map(&'static Type),
}

/// How a field takes part in merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    Plain,
    /// By field, although the definition says atomic.
    Granular,
    Atomic,
    Set,
    Keyed(&'static [&'static str]),
}

/// What Kubernetes writes when the field has Go's zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenEmpty {
    /// The field is a pointer: an empty value that was given is kept, an absent one stays absent.
    Keep,
    /// Empty is absent.
    Omit,
    /// Absent is written as empty.
    Always,
    /// Absent is written as null.
    Null,
}

/// A field of a definition.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub ty: Type,
    merge: Merge,
    pub when_empty: WhenEmpty,
    pub patch_merge: bool,
    pub patch_replace: bool,
    pub patch_retain_keys: bool,
    /// Empty when the list has no merge key.
    pub patch_merge_key: &'static str,
}

impl Field {
    const fn new(name: &'static str, ty: Type) -> Self {
        Self {
            name,
            ty,
            merge: Merge::Plain,
            when_empty: WhenEmpty::Keep,
            patch_merge: false,
            patch_replace: false,
            patch_retain_keys: false,
            patch_merge_key: "",
        }
    }

    const fn atomic(mut self) -> Self {
        self.merge = Merge::Atomic;
        self
    }

    const fn omit_empty(mut self) -> Self {
        self.when_empty = WhenEmpty::Omit;
        self
    }

    const fn null(mut self) -> Self {
        self.when_empty = WhenEmpty::Null;
        self
    }

    const fn always(mut self) -> Self {
        self.when_empty = WhenEmpty::Always;
        self
    }

    const fn granular(mut self) -> Self {
        self.merge = Merge::Granular;
        self
    }

    const fn set(mut self) -> Self {
        self.merge = Merge::Set;
        self
    }

    const fn map_list(mut self, keys: &'static [&'static str]) -> Self {
        self.merge = Merge::Keyed(keys);
        self
    }

    const fn patch(mut self, merge: bool, retain_keys: bool, key: &'static str) -> Self {
        self.patch_merge = merge;
        self.patch_retain_keys = retain_keys;
        self.patch_merge_key = key;
        self
    }

    const fn patch_replace(mut self) -> Self {
        self.patch_replace = true;
        self
    }
}

/// A definition of the schema, e.g. `io.k8s.api.core.v1.PodSpec`.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    fields: Span,
    pub required: &'static [&'static str],
    /// Merges replace the object as a whole.
    pub atomic: bool,
}

impl Definition {
    /// In alphabetical order of the JSON names.
    pub fn fields(&self) -> &'static [Field] {
        self.fields.of(&tables::FIELDS)
    }

    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let fields = self.fields();
        let found = fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
        Some(&fields[found])
    }

    pub fn node(&'static self) -> SchemaNode<'static> {
        SchemaNode::definition(self)
    }
}

/// The definition behind [`Type::Object`].
pub fn by_index(index: u16) -> &'static Definition {
    &tables::DEFINITIONS[usize::from(index)]
}

/// The type of what has that definition.
pub fn type_of(definition: &'static Definition) -> Type {
    let found = definitions().binary_search_by(|other| other.name.cmp(definition.name));
    let index = u16::try_from(found.expect("a definition is in the table it came from")).expect("fits the table");
    Type::Object(index)
}

/// All definitions, in alphabetical order of their names.
pub fn definitions() -> &'static [Definition] {
    &tables::DEFINITIONS
}

/// The definition of that name, e.g. `io.k8s.api.core.v1.Pod`.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let found = tables::DEFINITIONS.binary_search_by(|definition| definition.name.cmp(name)).ok()?;
    Some(&tables::DEFINITIONS[found])
}

/// The kinds that have this definition, as group, version and kind; in that order.
pub fn kinds_of(definition: &'static Definition) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of = move |row: &&rows::KindRow| std::ptr::eq(by_index(row.3), definition);
    tables::KINDS.iter().filter(of).map(|(group, version, kind, _)| (*group, *version, *kind))
}

/// The definition of a kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    rows::kind(&tables::KINDS, group, version, kind).map(by_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_a_field_of_a_pod_is() {
        let pod = kind("", "v1", "Pod").unwrap();
        assert_eq!(pod.name, "io.k8s.api.core.v1.Pod");
        let containers = pod.node().child("spec").unwrap().child("containers").unwrap();
        assert_eq!(containers.list_kind(), ListKind::Map);
        assert_eq!(containers.list_keys(), ["name"]);
        assert_eq!(containers.patch_merge_key(), "name");
        let ports = containers.items().unwrap().child("ports").unwrap();
        assert_eq!(ports.list_keys(), ["containerPort", "protocol"]);
        assert_eq!(ports.items().unwrap().child("hostPort").unwrap().scalar(), Some(Type::Int32));
        assert_eq!(
            pod.node().child("spec").unwrap().child("nodeSelector").unwrap().items().unwrap().scalar(),
            Some(Type::String)
        );
    }

    #[test]
    fn every_reference_and_order_holds() {
        assert!(definitions().windows(2).all(|pair| pair[0].name < pair[1].name));
        for definition in definitions() {
            assert!(definition.fields().windows(2).all(|pair| pair[0].name < pair[1].name), "{}", definition.name);
            assert!(definition.required.iter().all(|name| definition.field(name).is_some()), "{}", definition.name);
        }
    }
}
