//! The protobuf messages of every kind that is served: static tables generated from the published schema.
//!
//! [`crate::schema`] says what JSON looks like, this what the wire does. They differ where Go embeds structs.

mod tables;

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

/// A message, e.g. `k8s.io.api.core.v1.PodSpec`.
#[derive(Debug)]
pub struct Message {
    pub name: &'static str,
    first: u16,
    end: u16,
}

impl Message {
    /// In order of their numbers, which is the order on the wire.
    pub fn fields(&self) -> &'static [Field] {
        &tables::FIELDS[usize::from(self.first)..usize::from(self.end)]
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

pub fn messages() -> &'static [Message] {
    &tables::MESSAGES
}

/// The message of a kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Message> {
    let found = tables::KINDS.binary_search_by(|row| (row.0, row.1, row.2).cmp(&(group, version, kind))).ok()?;
    Some(by_index(tables::KINDS[found].3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_wire_order_and_found_by_number() {
        for message in messages() {
            assert!(message.fields().windows(2).all(|pair| pair[0].number < pair[1].number), "{}", message.name);
        }
        let pod = kind("", "v1", "Pod").unwrap();
        assert_eq!(pod.field(2).unwrap().name, "spec");
        assert!(pod.field(9).is_none());
    }

    #[test]
    fn every_field_of_json_is_on_the_wire() {
        for definition in crate::schema::definitions() {
            let name = definition.name.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_");
            let Some(message) = messages().iter().find(|message| message.name == name) else { continue };
            for field in definition.fields().iter().filter(|field| !["apiVersion", "kind"].contains(&field.name)) {
                assert!(is_on_wire(message, field.name), "{}.{}", definition.name, field.name);
            }
        }
    }

    fn is_on_wire(message: &Message, name: &str) -> bool {
        message.fields().iter().any(|field| match field.ty {
            Type::Message(inner) if field.is_embedded() => is_on_wire(by_index(inner), name),
            _ => field.name == name,
        })
    }
}
