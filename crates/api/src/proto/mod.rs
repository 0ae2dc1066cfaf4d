//! The protobuf messages of every kind that Kubernetes knows, served or not: static tables generated from the published
//! schema.
//!
//! [`crate::schema`] says what JSON looks like, this what the wire does. They differ where Go embeds structs. Messages
//! that look the same are one, so they have no names: `v1beta1` is mostly `v1`.

mod tables;

use crate::rows::{self, Span};

/// The type of a field on the wire.
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
    /// A message that holds JSON text.
    Raw,
    /// A message that holds a list of strings; only the list in JSON.
    Strings,
    Message(u16),
    /// In JSON a schema or a list of schemas.
    SchemaOrArray(u16),
    /// In JSON a schema or a bool.
    SchemaOrBool(u16),
    /// In JSON a schema or a list of strings.
    SchemaOrStrings(u16),
    /// Keys are strings.
    Map(&'static Type),
}

/// How Go declares the field: what is written when it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// Absent is nil, and not written.
    Pointer,
    /// A value: always on the wire; in JSON only if it is not empty, but structs always.
    OmitEmpty,
    /// A value: always on the wire; in JSON only if it is not zero, structs too.
    OmitZero,
    /// A value: always written.
    Always,
    /// Nil is null in JSON, and not on the wire.
    PointerAlways,
}

impl Go {
    pub fn is_pointer(self) -> bool {
        matches!(self, Go::Pointer | Go::PointerAlways)
    }
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    pub number: u16,
    /// In JSON. Empty when the fields of the inner message stand in the outer object.
    pub name: &'static str,
    pub ty: Type,
    pub repeated: bool,
    pub go: Go,
}

impl Field {
    pub fn is_embedded(&self) -> bool {
        self.name.is_empty()
    }
}

/// A message.
#[derive(Debug)]
pub struct Message {
    fields: Span,
}

impl Message {
    /// In order of their numbers, which is the order on the wire.
    pub fn fields(&self) -> &'static [Field] {
        self.fields.of(&tables::FIELDS)
    }

    pub fn field(&self, number: u32) -> Option<&'static Field> {
        let fields = self.fields();
        let found = fields.binary_search_by_key(&number, |field| u32::from(field.number)).ok()?;
        Some(&fields[found])
    }

    pub fn field_named(&self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }
}

/// The message behind a type.
pub fn by_index(index: u16) -> &'static Message {
    &tables::MESSAGES[usize::from(index)]
}

/// The message of a kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Message> {
    rows::kind(&tables::KINDS, group, version, kind).map(by_index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema;

    #[test]
    fn fields_are_in_wire_order_and_found_by_number() {
        for (at, message) in tables::MESSAGES.iter().enumerate() {
            assert!(message.fields().windows(2).all(|pair| pair[0].number < pair[1].number), "message {at}");
        }
        let pod = kind("", "v1", "Pod").unwrap();
        assert_eq!(pod.field(2).unwrap().name, "spec");
        assert!(pod.field(9).is_none());
    }

    #[test]
    fn a_version_that_looks_like_another_has_its_message() {
        let same = |version| std::ptr::from_ref(kind("rbac.authorization.k8s.io", version, "RoleBinding").unwrap());
        assert_eq!(same("v1"), same("v1beta1"));
        assert_ne!(same("v1"), same("v1alpha1"));
    }

    #[test]
    fn every_field_of_json_is_on_the_wire() {
        let mut seen = BTreeSet::new();
        let mut open: Vec<(schema::Type, Type)> = Vec::new();
        for (group, version, name, message) in &tables::KINDS {
            let Some(definition) = schema::kind(group, version, name) else { continue };
            open.push((schema::type_of(definition), Type::Message(*message)));
        }
        while let Some((json, wire)) = open.pop() {
            match (json, wire) {
                (schema::Type::List(json), wire) => open.push((*json, wire)),
                (schema::Type::Map(json), Type::Map(wire)) => open.push((*json, *wire)),
                (schema::Type::Object(definition), Type::Message(message)) if seen.insert((definition, message)) => {
                    let definition = schema::by_index(definition);
                    let fields = definition.fields().iter();
                    for field in fields.filter(|field| !["apiVersion", "kind"].contains(&field.name)) {
                        let on_wire = on_wire(by_index(message), field.name);
                        let on_wire = on_wire.unwrap_or_else(|| panic!("{}.{}", definition.name, field.name));
                        open.push((field.ty, on_wire.ty));
                    }
                }
                _ => {}
            }
        }
        assert!(seen.len() > 500);
    }

    fn on_wire(message: &Message, name: &str) -> Option<&'static Field> {
        message.fields().iter().find_map(|field| match field.ty {
            Type::Message(inner) if field.is_embedded() => on_wire(by_index(inner), name),
            _ => (field.name == name).then_some(field),
        })
    }
}
